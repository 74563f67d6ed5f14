"""A fly-through from the first key press to the finished video: record, save the path, render beside the window."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kilonerf.kernels import BackendChoice, RenderOptions
from kilonerf.model_io import Camera, KiloNeRFError, Scene

from ..notices import Kind
from ..rendering.priority import VIDEO_NICENESS, start_standing_back
from ..settings import VideoSettings
from .flight_recorder import FlightRecorder
from .output_files import next_free_name

if TYPE_CHECKING:  # the video library takes a while to import, and most runs never record
    from .render_job import JobProgress, RenderJob

Stage = Literal["idle", "recording", "rendering"]


@dataclass(frozen=True)
class VideoOrder:
    """What to render a recorded flight with.

    Attributes:
        scene: the scene that was flown through.
        options: how each picture is made.
        backend: what renders them.
        video: size, rate and format.
        folder: where numbered files go.
        output: the video's name, if it is given; the path's JSON then has the same name.
    """

    scene: Scene
    options: RenderOptions
    backend: BackendChoice
    video: VideoSettings
    folder: Path
    output: Path | None = None


class Recording:
    """One flight at a time: idle, recording, rendering, idle again.

    Attributes:
        output: the video of the newest job.
        failed: whether the newest job did not end well.
    """

    def __init__(self) -> None:
        self._recorder = FlightRecorder()
        self._job: RenderJob | None = None
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

    def start(self, now: float) -> None:
        """Begin to record at ``now``."""
        self._recorder.start(now)

    def add(self, camera: Camera, now: float) -> None:
        """Show the camera of this moment; ignored unless recording."""
        self._recorder.add(camera, now)

    def stop(self, order: VideoOrder) -> Path:
        """End the recording, save the path and begin to render the video.

        Returns:
            The path's JSON file.

        Raises:
            KiloNeRFError: the path or the video cannot be written.
        """
        from .render_job import RenderJob

        path = self._recorder.stop()
        self.failed = True
        output = order.output
        if output is None:
            output = next_free_name(order.folder, "flight", (f".{order.video.format}", ".mp4", ".webm", ".json"))
        json_file = output.with_suffix(".json")
        path.save(json_file)
        video = order.video
        job = RenderJob(
            order.scene,
            path,
            order.options,
            output,
            video.width,
            video.height,
            video.fps,
            backend=order.backend,
        )
        start_standing_back(job.start, VIDEO_NICENESS)
        self._job, self.output, self.failed = job, output, False
        return json_file

    def abort(self) -> None:
        """Stop rendering; the unfinished video is removed, the path stays."""
        if self._job is not None:
            self._job.abort()

    def poll(self) -> tuple[str, Kind] | None:
        """A message once the job is over."""
        job = self._job
        if job is None or job.state in ("ready", "running"):
            return None
        self._job = None
        if job.state == "finished":
            return f"Video saved: {self.output} ({job.progress.total} pictures)", "good"
        self.failed = True
        if job.state == "aborted":
            return "Video aborted; the camera path is kept", "info"
        error = job.error
        text = str(error) if isinstance(error, KiloNeRFError) else f"{type(error).__name__}: {error}"
        return f"Video failed: {text}", "error"

    def close(self, folder: Path) -> None:
        """Abort a job and wait for it; of a flight that is being recorded, save the path under the next free name.

        Raises:
            OutputError: the path cannot be written.
        """
        if self._job is not None:
            self._job.abort()
            self._job.wait(10.0)
        if self._recorder.recording:
            path = self._recorder.stop()
            path.save(next_free_name(folder, "flight", (".json", ".mp4", ".webm")))
