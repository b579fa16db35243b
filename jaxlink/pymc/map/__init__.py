"""The mode of a posterior."""
