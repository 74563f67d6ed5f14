"""Measurements made in the window: plots, a benchmark along cameras, its table and its file."""
