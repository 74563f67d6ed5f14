"""Scenes made from inside the window: checkpoints are imported and photos trained, by this program's own commands."""
