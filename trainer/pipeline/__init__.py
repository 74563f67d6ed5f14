"""A whole training from photos to a scene, and what a user sees of it meanwhile."""
