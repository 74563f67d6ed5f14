"""What a script asks of the window: leave after some seconds, with a picture of it, with a recorded video."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kilonerf.model_io import BackendError, OutputError

from .app import ViewerApp
from .scene_loading import SceneLoader

Stage = Literal["waiting", "running", "rendering", "settling"]


@dataclass
class ScriptedRun:
    """Steps the program until it is done.

    Attributes:
        app: the program.
        exit_after: leave this many seconds after the first picture; None: when the user closes the window.
        screenshot: where to save the whole window when leaving.
        record: where to render the flight, recorded from the first picture on, before leaving.
        loader: what is not whole of the scene at a URL is an error, too.
        options: how a person asked for what :attr:`LivePicture.gave_up` names, for messages.
    """

    app: ViewerApp
    exit_after: float | None = None
    screenshot: Path | None = None
    record: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    loader: SceneLoader | None = None

    def run(self) -> None:
        """Run the program to its end.

        Raises:
            KiloNeRFError: the first scene cannot be loaded, no picture of it can be made, or an output cannot be
            written.
        """
        app, stage = self.app, "waiting"
        leave_at = float("inf")
        while True:
            app.step()
            if stage == "waiting" and (app.view.shown is not None or app.settled):
                stage = "running"
                leave_at = app.now + self.exit_after if self.exit_after is not None else leave_at
                if self.record is not None:
                    app.toggle_recording()
            leaving = app.leaving() or app.now >= leave_at
            if stage in ("waiting", "running") and leaving:
                stage = self._begin_to_leave()
            elif stage == "rendering" and app.window.should_close:
                app.abort_video()
            if stage == "rendering" and not app.recording.rendering:
                stage = "settling"
            if stage == "settling" and (app.settled or app.window.should_close):
                break
        if self.screenshot is not None:
            from .recording.picture_files import write_png

            app.window.capture_next_frame()
            app.step()
            write_png(self.screenshot, app.window.take_capture())
        if self.exit_after is not None and app.scene is not None and app.view.shown is None:
            raise BackendError(f"no picture could be made: {app.notices.log[-1].text}")
        streamed = None if self.loader is None else self.loader.streamed
        if self.exit_after is not None and streamed is not None and streamed.error is not None:
            raise streamed.error
        if self.exit_after is not None and app.picture.gave_up:
            what, why = app.picture.gave_up[0]
            raise BackendError(f"{self.options.get(what, what)}: {why}")
        if self.exit_after is not None and app.compare.comparison.gave_up:
            raise BackendError(f"{self.options.get('compare', 'compare')}: {app.compare.comparison.gave_up}")
        if self.record is not None and app.recording.failed:
            raise OutputError(f"{self.record}: the video was not finished: {app.notices.log[-1].text}")

    def _begin_to_leave(self) -> Stage:
        app = self.app
        app.navigator.set_turntable(False)
        if self.record is not None and app.scene is not None and app.recording.stage == "recording":
            app.window.ask_to_close(False)  # the video comes first; a second wish to close aborts it
            app.recording.finish(app.scene, app.now, self.record)
            return "rendering"
        return "settling"
