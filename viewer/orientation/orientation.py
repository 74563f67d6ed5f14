"""Composes what tells the user where they are and brings them elsewhere."""

from ..camera.depth_in_view import depth_in_view
from ..camera.navigator import Navigator
from ..notices import Notices
from ..rendering.worker import RenderResult
from ..settings import ViewerSettings

DEVICE_SECONDS = 0.25
"""How often a picture that stays on a GPU is looked at: each look copies it to the host."""


class Orientation:
    """Told of each frame of the window by the program.

    Args:
        navigator: the camera.
        settings: what is switched on.
        notices: is told what went wrong.
    """

    def __init__(self, navigator: Navigator, settings: ViewerSettings, notices: Notices) -> None:
        self._navigator, self._settings, self._notices = navigator, settings, notices
        self._measured: RenderResult | None = None
        self._measured_at = 0.0

    def update(self, shown: RenderResult | None, now: float) -> None:
        """Take note of the picture on the screen."""
        self._measure(shown, now)

    def _measure(self, shown: RenderResult | None, now: float) -> None:
        """Let the camera's speed and pivot know how far away what it sees is."""
        if shown is None or shown is self._measured or shown.frame is None:
            return
        if shown.frame.resident is not None and now - self._measured_at < DEVICE_SECONDS:
            return
        self._measured, self._measured_at = shown, now
        frame = shown.host_frame()
        if frame is not None:
            self._navigator.see(depth_in_view(frame))
