"""A part of the window."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rectangle:
    """A part of the window in ImGui's units."""

    x: float
    y: float
    width: float
    height: float

    def contains(self, x: float, y: float) -> bool:
        """Whether the point lies inside."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height
