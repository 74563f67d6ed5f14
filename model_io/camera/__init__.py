"""Cameras, and how they move: the pinhole camera, paths through keyframes, turntables."""
