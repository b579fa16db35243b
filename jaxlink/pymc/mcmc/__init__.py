"""NUTS: one loop over the kernels of several libraries."""
