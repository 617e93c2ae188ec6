"""Compressed traces to training rows: the command `build`."""
