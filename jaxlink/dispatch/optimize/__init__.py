"""Minima and roots."""
