"""What the status bar and the window's title say, gathered from the program's parts."""

from ..actions import CANCEL, Program
from ..camera.navigator import Navigator
from ..live_statistics import LiveStatistics
from ..orientation.orientation import Orientation
from ..recording.recording import Recording
from ..recording.screenshots import Screenshots
from ..rectangle import Rectangle
from ..rendering.worker import RenderResult
from ..settings import ViewerSettings
from .status_bar import StatusBar, progress_text

SPEED_SECONDS = 1.5
"""How long a new fly speed is shown."""


class StatusLine:
    """Draws the status bar; :meth:`title` is the window's.

    Args:
        name: of the program.
        settings: what is switched on.
        navigator: how the camera moves.
        statistics: how many pictures are made.
        recording: its progress is shown.
        screenshots: whether one is being rendered.
        orientation: its hints are shown.
        program: does what the buttons say.
    """

    def __init__(
        self,
        name: str,
        settings: ViewerSettings,
        navigator: Navigator,
        statistics: LiveStatistics,
        recording: Recording,
        screenshots: Screenshots,
        orientation: Orientation,
        program: Program,
    ) -> None:
        self._name, self._navigator, self._statistics = name, navigator, statistics
        self._recording, self._screenshots, self._orientation = recording, screenshots, orientation
        self._program = program
        self._bar = StatusBar(settings, recording, program)
        self._speed = (navigator.speed, 0.0)  # and until when to say so

    def draw(
        self,
        area: Rectangle,
        shown: RenderResult | None,
        now: float,
        *,
        resting: bool,
        under_way: str = "",
        progress: str = "",
    ) -> None:
        """Draw it.

        Args:
            area: where.
            shown: the picture on the screen.
            now: the time.
            resting: whether nothing moves.
            under_way: what is measured.
            progress: how far the picture is refined; said where there is nothing else to say.
        """
        size = None if shown is None else (shown.request.camera.width, shown.request.camera.height)
        mode = "Orbit" if self._navigator.mode == "orbit" else f"Fly {self._navigator.speed:.2f} x"
        rate = 0.0 if resting else self._statistics.picture_rate.rate(now)
        making = "; ".join(text for text in (self._video, self._program.making.status) if text)
        message = self._hint(now) or under_way or making or progress
        self._bar.draw(area, mode=mode, size=size, rate=rate, message=message)

    def title(self, scene: str) -> str:
        """Of the window; ``scene`` is the file's name, "" if there is none."""
        title = f"{scene} - {self._name}" if scene else self._name
        making = self._video.removeprefix("Video ") or self._program.making.status  # a taskbar shows the beginning
        return f"{making} - {title}" if making else title

    @property
    def _video(self) -> str:
        """How far the videos are, if any are rendered."""
        progress = self._recording.progress
        if progress is None:
            return ""
        return f"Video {progress_text(progress.done, progress.total, progress.seconds_left, progress.waiting)}"

    def _hint(self, now: float) -> str:
        """What is under way beside videos."""
        if self._navigator.speed != self._speed[0]:
            self._speed = (self._navigator.speed, now + SPEED_SECONDS)
        if self._screenshots.rendering:
            return f"Rendering the screenshot ...  {CANCEL.shown} cancels"
        if now < self._speed[1]:
            return f"Fly speed {self._speed[0]:.2f} x"
        return self._orientation.hint
