"""What panels may ask the program to do."""

from pathlib import Path
from typing import Protocol


class Actions(Protocol):
    """Implemented by the program; panels and keys call it."""

    def browse(self) -> None:
        """Open the file dialog."""
        ...

    def open_scene(self, path: Path) -> None:
        """Load a scene beside the interface."""
        ...

    def toggle_recording(self) -> None:
        """Begin to record the flight, or end it and render the video."""
        ...

    def abort_video(self) -> None:
        """Stop rendering the video."""
        ...

    def take_screenshot(self) -> None:
        """Save the picture at full size."""
        ...
