"""What a user holds: a compiled function, its signature, its program and its data."""
