"""What is shown to a user who has named no scene: a chair, recent files, and what can be dropped."""

from pathlib import Path

CHAIR = Path(__file__).parent / "chair.knf"
"""Made by scripts/make_welcome_scene.py."""
