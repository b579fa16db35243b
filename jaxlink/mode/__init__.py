"""MODE: PyTensor functions, with all that they do, on jaxlink."""
