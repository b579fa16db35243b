"""Predictive draws, and log densities and deterministics at each sample of a trace."""
