"""Ops of our own, which rewrites put into graphs and dispatch gives a meaning."""
