"""Renders a flight to a video or to PNG files in its own thread, while the program goes on."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import BackendChoice, CancelToken, RenderCancelled, Renderer, RenderOptions, create_renderer
from kilonerf.model_io import Camera, CameraPath, Scene

from ..rendering.accumulation import LinearMean, to_bytes
from .depth_files import DepthSequence, check_depth_output, farthest_depth, fitting_unit
from .film import NO_BLUR, Film, path_cameras, path_exposures, still_exposures
from .frame_rate import exact_rate
from .picture_files import FrameSink, check_output, open_sink
from .video import DEFAULT_QUALITY, VideoCodec

__all__ = ["JobProgress", "JobState", "MakePicture", "RenderJob", "path_cameras"]

MakePicture = Callable[[Renderer, Camera, CancelToken], NDArray[Any]]
JobState = Literal["ready", "running", "finished", "aborted", "failed"]


@dataclass(frozen=True)
class JobProgress:
    """How far a job is.

    Attributes:
        done: frames that are written (or were already there).
        total: frames of the whole job.
        seconds_left: estimate from the frames rendered so far; None before the first.
    """

    done: int
    total: int
    seconds_left: float | None


class RenderJob:
    """One flight being rendered by a renderer of its own.

    Args:
        scene: what to render.
        path: the flight, or its cameras frame by frame.
        options: how each frame is made.
        output: ``.mp4`` or ``.webm``, or PNG files as in ``frame_%04d.png``; see :class:`VideoWriter` and
            :class:`PngSequence`.
        width: width of the pictures in pixels.
        height: their height.
        fps: frames per second of the video, and of the path; 29.97 is 30000/1001.
        backend: what renders.
        quality: of a video, 0 to 100.
        codec: of a video.
        frames: which frames to render, as numbers of the whole flight; None: all.
        resume: leave out PNG files that are already there.
        make_picture: makes each picture, float32 [H, W, 3] from 0 to 1, or uint8; None: ``options`` do.
        film: samples per pixel and blur; pictures are then the mean of several.
        panorama: the pictures show all directions, and their files say so.
        depth: write z-depth, as ``make_picture`` gives it, float32 [H, W]; see :class:`DepthSequence`.
        clock: a steady clock in seconds.

    Raises:
        OutputError: the output's ending is unknown, or one plain PNG is named for many frames.
    """

    def __init__(
        self,
        scene: Scene,
        path: CameraPath | Sequence[Camera],
        options: RenderOptions,
        output: Path,
        width: int,
        height: int,
        fps: float | Fraction,
        *,
        backend: BackendChoice | str = "auto",
        quality: int = DEFAULT_QUALITY,
        codec: VideoCodec = "auto",
        frames: range | None = None,
        resume: bool = False,
        make_picture: MakePicture | None = None,
        film: Film = NO_BLUR,
        panorama: bool = False,
        depth: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = exact_rate(fps)
        if isinstance(path, CameraPath):
            self._exposures = path_exposures(path, width, height, self._rate, film)
        else:
            self._exposures = still_exposures([camera.resized(width, height) for camera in path], film)
        self._numbers = range(len(self._exposures)) if frames is None else frames
        if depth:
            check_depth_output(output, len(self._numbers))
        else:
            check_output(output, len(self._numbers), codec)
        self._depth, self._panorama = depth, panorama
        self.output = output
        self.error: Exception | None = None
        self.device = ""  # what renders, for people; known once the job runs
        self.fallback = ""  # why that is not the GPU that seemed to be there; likewise
        self._scene, self._options = scene, options
        self._size = width, height
        self._quality = quality
        self._codec: VideoCodec = codec
        self._backend = backend
        self._resume = resume
        self._make_picture: MakePicture = make_picture or self._plain_picture
        self._clock = clock
        self._cancel = CancelToken()
        self._state: JobState = "ready"
        self._done = 0
        self._rendered = 0
        self._rendering_seconds = 0.0
        self._opened = threading.Event()
        self._over = threading.Event()
        self._open_error: Exception | None = None

    @property
    def state(self) -> JobState:
        """Ready before :meth:`start`, running, then finished, aborted or failed."""
        return self._state

    @property
    def progress(self) -> JobProgress:
        """How far the job is; from any thread."""
        total, done, rendered = len(self._numbers), self._done, self._rendered
        left = self._rendering_seconds / rendered * (total - done) if rendered else None
        return JobProgress(done, total, left)

    def start(self) -> None:
        """Open the output and start rendering in another thread.

        Raises:
            OutputError: the output cannot be written; nothing was rendered.
            RuntimeError: the job was started before.
        """
        if self._state != "ready":
            raise RuntimeError("RenderJob: started twice")
        self._state = "running"
        threading.Thread(target=self._run, name="render job", daemon=True).start()
        # Opened there, because Ctrl-C strikes in the main thread: a file cannot be left behind by a half-run line.
        self._opened.wait()
        if self._open_error is not None:
            raise self._open_error

    def abort(self) -> None:
        """Stop soon, also in the middle of a frame. An unfinished video is removed; finished PNG files stay."""
        self._cancel.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the job is over, or for ``timeout`` seconds; whether it is over."""
        # Not Thread.join: in Python 3.11 a join that Ctrl-C interrupts takes the thread for stopped.
        return self._state != "ready" and self._over.wait(timeout)

    def _run(self) -> None:
        try:
            self._open_and_render()
        finally:
            self._over.set()

    def _open_and_render(self) -> None:
        try:
            sink = self._open_sink()
        except Exception as error:
            self.error = self._open_error = error
            self._state = "failed"
            return
        finally:
            self._opened.set()
        try:
            self._render(sink)
        except RenderCancelled:
            sink.abort()
            self._state = "aborted"
        except Exception as error:  # whatever it is, it belongs to whoever waits for the job
            sink.abort()
            self.error = error
            self._state = "failed"
        else:
            self._state = "finished"

    def _render(self, sink: FrameSink) -> None:
        renderer = create_renderer(self._scene, self._backend)
        self.device, self.fallback = renderer.device, renderer.fallback
        began = self._clock()
        for number in self._numbers:
            if self._cancel.cancelled:
                raise RenderCancelled
            if not (self._resume and sink.has(number)):
                sink.write(number, self._exposed(renderer, self._exposures[number]))
                self._rendered += 1
                self._rendering_seconds = self._clock() - began
            self._done += 1
        sink.close()

    def _open_sink(self) -> FrameSink:
        if self._depth:
            unit = fitting_unit(farthest_depth(self._scene, [cameras[0] for cameras in self._exposures]))
            return DepthSequence(self.output, unit)
        return open_sink(
            self.output,
            *self._size,
            self._rate,
            quality=self._quality,
            codec=self._codec,
            spherical=self._panorama,
        )

    def _exposed(self, renderer: Renderer, cameras: tuple[Camera, ...]) -> NDArray[Any]:
        """The picture of one camera, or the mean of several."""
        if len(cameras) == 1:
            picture = self._make_picture(renderer, cameras[0], self._cancel)
            return picture if self._depth else to_bytes(picture)
        mean = LinearMean()
        for camera in cameras:
            if self._cancel.cancelled:
                raise RenderCancelled
            mean.add(self._make_picture(renderer, camera, self._cancel))
        return mean.picture()

    def _plain_picture(self, renderer: Renderer, camera: Camera, cancel: CancelToken) -> NDArray[np.float32]:
        return renderer.render(camera, self._options, cancel=cancel).rgb
