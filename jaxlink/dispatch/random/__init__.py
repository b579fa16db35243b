"""Random variables, and the streams of keys that they draw with."""
