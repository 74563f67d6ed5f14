"""A fly-through from the first key press to the finished video: record, save the path, render beside the window."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kilonerf.model_io import Camera, KiloNeRFError, Scene

from ..notices import Notices
from ..rendering.priority import VIDEO_NICENESS, start_with_lower_priority
from ..settings import ViewerSettings
from .flight_recorder import FlightRecorder
from .output_files import next_free_name

if TYPE_CHECKING:  # the video library takes a while to import, and most runs never record
    from .render_job import JobProgress, RenderJob

Stage = Literal["idle", "recording", "rendering"]


class Recording:
    """One flight at a time: idle, recording, rendering, idle again.

    Args:
        settings: how a flight is rendered, as they are when it ends.
        folder: where numbered files go.
        notices: is told what became of each flight.

    Attributes:
        output: the video of the newest job.
        failed: whether the newest job did not end well.
    """

    def __init__(self, settings: ViewerSettings, folder: Path, notices: Notices) -> None:
        self._settings, self._folder, self._notices = settings, folder, notices
        self._recorder = FlightRecorder()
        self._job: RenderJob | None = None
        self._warned = False  # that leaving aborts the video
        self.output: Path | None = None
        self.failed = False

    @property
    def stage(self) -> Stage:
        """What goes on."""
        if self._recorder.recording:
            return "recording"
        return "idle" if self._job is None else "rendering"

    @property
    def seconds(self) -> float:
        """Length of the flight so far."""
        return self._recorder.seconds

    @property
    def progress(self) -> "JobProgress | None":
        """Of the video that is being rendered."""
        return None if self._job is None else self._job.progress

    def toggle(self, scene: Scene, camera: Camera, now: float) -> None:
        """Begin to record at ``camera``, or end the recording and render it; not while a video is being rendered."""
        if self.stage == "rendering":
            self._notices.add("A video is being rendered; abort it or wait for it first", "info", now)
        elif self.stage == "recording":
            self.finish(scene, now)
        else:
            self._recorder.start(now)
            self._recorder.add(camera, now)

    def add(self, camera: Camera, now: float) -> None:
        """Show the camera of this moment; ignored unless recording."""
        self._recorder.add(camera, now)

    def finish(self, scene: Scene, now: float, output: Path | None = None) -> None:
        """End the recording, save its path and begin to render it.

        Args:
            scene: what was flown through.
            now: the time, for the message.
            output: the video's name; the path's JSON then has the same one. None: the next free name.
        """
        try:
            json_file = self._begin_to_render(scene, output)
        except KiloNeRFError as error:
            self._notices.add(str(error), "error", now)
        else:
            self._warned = False
            self._notices.add(f"Camera path saved: {json_file}; rendering {self.output}", "info", now)

    def _begin_to_render(self, scene: Scene, output: Path | None) -> Path:
        from .render_job import RenderJob

        path = self._recorder.stop()
        self.failed = True
        settings, video = self._settings, self._settings.video
        if output is None:
            output = next_free_name(self._folder, "flight", (f".{video.format}", ".mp4", ".webm", ".json"))
        json_file = output.with_suffix(".json")
        path.save(json_file)
        options, size = settings.render_options(scene), (video.width, video.height)
        job = RenderJob(scene, path, options, output, *size, video.fps, backend=settings.backend)
        start_with_lower_priority(job.start, VIDEO_NICENESS)
        self._job, self.output, self.failed = job, output, False
        return json_file

    def abort(self) -> None:
        """Stop rendering; the unfinished video is removed, the path stays."""
        if self._job is not None:
            self._job.abort()

    def may_leave(self, now: float) -> bool:
        """Whether the program may end; while a video is being rendered, only if that is asked twice."""
        if self.stage != "rendering" or self._warned:
            return True
        self._warned = True
        self._notices.add("A video is being rendered; close the window again to abort it", "info", now)
        return False

    def poll(self, now: float) -> None:
        """Report the job once it is over."""
        job = self._job
        if job is None or job.state in ("ready", "running"):
            return
        self._job = None
        if job.state == "finished":
            self._notices.add(f"Video saved: {self.output} ({job.progress.total} pictures)", "good", now)
            return
        self.failed = True
        if job.state == "aborted":
            self._notices.add("Video aborted; the camera path is kept", "info", now)
            return
        error = job.error
        text = str(error) if isinstance(error, KiloNeRFError) else f"{type(error).__name__}: {error}"
        self._notices.add(f"Video failed: {text}", "error", now)

    def close(self) -> None:
        """Abort a job and wait for it; of a flight that is being recorded, save the path under the next free name.

        Raises:
            OutputError: the path cannot be written.
        """
        if self._job is not None:
            self._job.abort()
            self._job.wait(10.0)
        if self._recorder.recording:
            path = self._recorder.stop()
            path.save(next_free_name(self._folder, "flight", (".json", ".mp4", ".webm")))
