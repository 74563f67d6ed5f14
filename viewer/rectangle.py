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

    def fitted(self, aspect: float) -> "Rectangle":
        """The largest rectangle with this width by height in the middle of this one."""
        width, height = min(self.width, self.height * aspect), min(self.height, self.width / aspect)
        return Rectangle(self.x + 0.5 * (self.width - width), self.y + 0.5 * (self.height - height), width, height)
