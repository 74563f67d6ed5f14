"""Octree fields on CUDA: how they are evaluated, and how they are laid out for it."""
