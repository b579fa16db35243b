"""The objects a user holds: compiled functions, signatures, programs and data."""
