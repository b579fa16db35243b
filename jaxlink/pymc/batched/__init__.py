"""Evaluating a function at many samples: chunks, memory, and stores on disk."""
