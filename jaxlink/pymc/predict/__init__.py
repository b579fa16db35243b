"""Predictive draws, and what a model says about each sample of a trace."""
