"""MODE: full PyTensor functions that run on jaxlink."""
