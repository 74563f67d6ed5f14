"""The benchmark of the window: what is chosen, what runs, what was measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from kilonerf.kernels.measure.benchmark import all_modes
from kilonerf.kernels.measure.poses import evenly_chosen
from kilonerf.model_io import Camera, KiloNeRFError, Scene
from kilonerf.model_io.camera.turntable import turntable_cameras
from kilonerf.model_io.files.atomic import write_text
from kilonerf.model_io.streaming.address import Location

from ..camera_path.editor import PathEditor
from ..notices import Notices
from ..orientation.photo_cameras import PhotoCameras
from ..recording.output_files import next_free_name
from ..recording.recording import Recording
from ..rendering.worker import RendererFactory
from ..settings import ViewerSettings
from .benchmark import BenchmarkPlan, BenchmarkResult, BenchmarkRun

Source = Literal["view", "turntable", "photos", "path"]
SOURCES: dict[Source, str] = {
    "view": "This view",
    "turntable": "Turntable",
    "photos": "Cameras of the photos",
    "path": "Camera path",
}
MODES = {True: "ESS and ERT, on and off", False: "As set above"}
SIZES: dict[str, tuple[int, int] | None] = {
    "As in the window": None,
    "800 x 800": (800, 800),
    "1280 x 720": (1280, 720),
    "1920 x 1080": (1920, 1080),
}
LARGEST_COUNT = 60


class NumbersTool:
    """Starts benchmarks and takes their results.

    Args:
        settings: how pictures are made.
        notices: is told what went wrong.
        make_renderer: makes the renderers.
        wake: wakes the window's thread.
        photos: the cameras of the photos.
        editor: has the camera path.
        recording: has the folder for files.

    Attributes:
        source: where the cameras come from.
        count: how many, where there is a choice.
        all_modes: whether ESS and ERT are measured on and off.
        size: a key of :data:`SIZES`.
        run: what is under way.
        result: the newest result.
    """

    def __init__(
        self,
        settings: ViewerSettings,
        notices: Notices,
        make_renderer: RendererFactory,
        wake: Callable[[], None],
        photos: PhotoCameras,
        editor: PathEditor,
        recording: Recording,
    ) -> None:
        self._settings, self._notices = settings, notices
        self._make_renderer, self._wake = make_renderer, wake
        self._photos, self._editor, self._recording = photos, editor, recording
        self.source: Source = "view"
        self.count = 12
        self.all_modes = True
        self.size = next(iter(SIZES))
        self.run: BenchmarkRun | None = None
        self.result: BenchmarkResult | None = None
        self._wanted = False
        self._now = 0.0

    @property
    def running(self) -> bool:
        """Whether one is under way or about to begin: the window then makes no pictures."""
        return self.run is not None or self._wanted

    @property
    def target_fps(self) -> float | None:
        """Pictures per second to aim at; None if pictures are of a fixed size."""
        return self._settings.target_fps if self._settings.automatic_resolution else None

    @property
    def hint(self) -> str:
        """What is under way, for the status bar; "" for nothing."""
        if self.run is None:
            return ""
        return f"Measuring {self.run.done} of {self.run.total}, other pictures wait ...  Esc cancels"

    def start(self) -> None:
        """Begin with the next frame of the window."""
        self._wanted = not self.running

    def cancel(self) -> None:
        """Stop what is under way."""
        self._wanted = False
        if self.run is not None:
            self.run.cancel()

    def save(self) -> None:
        """Save the newest result as CSV under the next free name."""
        if self.result is None:
            return
        try:
            file = next_free_name(self._recording.folder, "benchmark", (".csv",))
            write_text(file, self.result.csv())
        except KiloNeRFError as error:
            self._notices.add(f"Cannot save the benchmark: {error}", "error", self._now)
            return
        self._notices.add(f"Benchmark saved: {file}", "good", self._now)

    def update(self, scene: Scene | None, file: Location | None, camera: Camera, now: float, *, idle: bool) -> None:
        """A frame of the window begins: start what is wanted, take what is done.

        Args:
            scene: what is measured.
            file: its file.
            camera: the window's, with its size in pixels.
            now: seconds.
            idle: whether the window's own renderer is at rest.
        """
        self._now = now
        self._wanted = self._wanted and scene is not None
        if self._wanted and scene is not None and idle:
            self._wanted = False
            plan = self.plan(scene, file, camera)
            if plan is None:
                missing = "photos" if self.source == "photos" else "path of two keys or more"
                self._notices.add(f"Cannot measure: there is no {missing}", "error", now)
            else:
                self.run = BenchmarkRun(plan, self._make_renderer, self._wake)
        if self.run is None or self.run.outcome is None:
            return
        outcome, self.run = self.run.outcome, None
        if isinstance(outcome, BenchmarkResult):
            self.result = outcome
        else:
            self._notices.add(f"Cannot measure: {outcome}" if outcome else "Measuring cancelled", "info", now)

    def plan(self, scene: Scene, file: Location | None, camera: Camera) -> BenchmarkPlan | None:
        """What is to be measured; None if the cameras that were chosen do not exist."""
        width, height = SIZES[self.size] or (camera.width, camera.height)
        cameras: list[Camera] = [camera.resized(width, height)]
        if self.source == "turntable":
            cameras = turntable_cameras(scene, self.count, width, height)
        elif self.source == "photos":
            photos = [one.camera for one in self._photos.all]
            cameras = [one.resized(width, height) for one in evenly_chosen(photos, self.count)]
        elif self.source == "path":
            path = self._editor.path
            cameras = []
            if path is not None and path.duration > 0.0:
                times = path.start + np.linspace(0.0, path.duration, self.count)
                cameras = [path.camera_at(float(time), width, height) for time in times]
        if not cameras:
            return None
        options = self._settings.render_options(scene)
        modes = all_modes(options) if self.all_modes else [options]
        name = "scene" if file is None else Path(file.name).stem
        source = SOURCES[self.source].lower()
        return BenchmarkPlan(scene, name, self._settings.backend, tuple(cameras), source, tuple(modes))

    def close(self) -> None:
        """Stop what is under way."""
        self.cancel()
        if self.run is not None:
            self.run.join()
