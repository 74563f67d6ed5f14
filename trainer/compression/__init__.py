"""Scenes of few bytes: how finely each network is rounded, and fine-tuning through the rounding."""
