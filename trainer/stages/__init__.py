"""The stages of a training, and the scene while it is trained."""
