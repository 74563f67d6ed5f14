"""What is shown to a user who has named no scene: a chair, recent files, and what can be dropped."""

from pathlib import Path

CHAIR = Path(__file__).parent / "chair.knf"
"""Made of assets/chair.knf by ``kilonerf-compress --size 2MB --steps 0 --coarse-size 0 --photos DATA/chair``."""
