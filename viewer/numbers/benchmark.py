"""A benchmark in a thread of its own: a few cameras, one or four modes, at a size that takes no minutes."""

import csv
import io
import math
import statistics
import threading
from collections.abc import Callable
from dataclasses import dataclass

from kilonerf.kernels import BackendChoice, CancelToken, RenderCancelled, Renderer, RenderOptions
from kilonerf.kernels.measure.benchmark import Protocol, Timing, measure
from kilonerf.model_io import Camera, KiloNeRFError, Scene

from ..camera.navigator import scaled_camera
from ..rendering.worker import RendererFactory

PROTOCOL = Protocol(frames=3, dropped=1, cooldown=0.0)
LONGEST_SECONDS = 60.0
"""A benchmark that would take longer is made with smaller pictures."""
PROBE_SCALES = (0.125, 0.25, 0.5)
"""Linear scales of the pictures that tell how long the full ones would take: small ones overrate it."""
PROBE_SECONDS = 4.0
"""A larger probe that would take longer is left out."""
SMALLER = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125)
"""Linear scales that it may be made at."""


@dataclass(frozen=True)
class BenchmarkPlan:
    """What is to be measured.

    Attributes:
        scene: the scene.
        name: of the scene.
        backend: what renders.
        cameras: the poses, all of one size in pixels.
        source: where they come from, for people.
        modes: how frames are made.
    """

    scene: Scene
    name: str
    backend: BackendChoice
    cameras: tuple[Camera, ...]
    source: str
    modes: tuple[RenderOptions, ...]


@dataclass(frozen=True, eq=False)
class BenchmarkResult:
    """What was measured.

    Attributes:
        plan: what was to be.
        timings: of each mode, in the plan's order.
        device: what made the pictures.
        scale: linear scale of the pictures against the plan's.
        full_seconds: how long it would have taken at the plan's size; 0 if it was made at that.
    """

    plan: BenchmarkPlan
    timings: tuple[Timing, ...]
    device: str
    scale: float = 1.0
    full_seconds: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures."""
        camera = scaled_camera(self.plan.cameras[0], self.scale)
        return camera.width, camera.height

    def csv(self) -> str:
        """One line for each camera and mode, after a line of names; times in milliseconds, counts of one frame."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        width, height = self.size
        for timing in self.timings:
            options = timing.options
            for number, pose in enumerate(timing.poses, start=1):
                found = pose.statistics
                rows.writerow(
                    [
                        *(self.plan.name, self.device, self.plan.source, number, width, height),
                        *(int(options.ess), int(options.ert), options.ert_threshold, options.precision),
                        *(f"{ms:.3f}" for ms in (statistics.median(pose.ms), min(pose.ms), max(pose.ms))),
                        *(found.samples, found.evaluations, found.rays, found.rays_hit),
                    ]
                )
        return text.getvalue()


COLUMNS = (
    *("scene", "device", "cameras", "camera", "width", "height", "ess", "ert", "ert_threshold", "precision"),
    *("ms_median", "ms_min", "ms_max", "samples", "evaluations", "rays", "rays_hit"),
)


def mode_name(options: RenderOptions) -> str:
    """A mode as the rows of the paper's tables name it."""
    names = {(True, True): "ESS + ERT", (True, False): "ESS only", (False, True): "ERT only", (False, False): "Neither"}
    return names[options.ess, options.ert]


def affordable_scale(full_seconds: float, longest: float = LONGEST_SECONDS) -> float:
    """The largest of :data:`SMALLER` at which a benchmark takes at most ``longest`` seconds, else the smallest."""
    wanted = math.sqrt(longest / max(full_seconds, 1e-9))
    return next((scale for scale in SMALLER if scale <= wanted), SMALLER[-1])


class BenchmarkRun:
    """One benchmark under way, in a thread of its own.

    Args:
        plan: what to measure.
        make_renderer: makes the renderer, which is of this run alone.
        wake: called when it is done.
    """

    def __init__(self, plan: BenchmarkPlan, make_renderer: RendererFactory, wake: Callable[[], None]) -> None:
        self._plan, self._make_renderer, self._wake = plan, make_renderer, wake
        self._cancel = CancelToken()
        self.total = len(plan.cameras) * len(plan.modes) * (PROTOCOL.frames + PROTOCOL.dropped)
        self.done = 0
        self.outcome: BenchmarkResult | str | None = None
        """The result, what went wrong, or "" after a cancellation; None while it runs."""
        self._thread = threading.Thread(target=self._work, name="kilonerf-benchmark", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop soon."""
        self._cancel.cancel()

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join(10.0)

    def _work(self) -> None:
        outcome: BenchmarkResult | str
        try:
            outcome = self._measured()
        except RenderCancelled:
            outcome = ""
        except KiloNeRFError as error:
            outcome = str(error)
        except Exception as error:  # whatever a backend raises must become a message
            outcome = f"{type(error).__name__}: {' '.join(str(error).split())}"
        self.outcome = outcome
        self._wake()

    def _measured(self) -> BenchmarkResult:
        plan = self._plan
        renderer = self._make_renderer(plan.scene, plan.backend)
        full_seconds = self._probed(renderer)
        scale = affordable_scale(full_seconds)
        cameras = [scaled_camera(camera, scale) for camera in plan.cameras]
        timings = measure(renderer, cameras, plan.modes, PROTOCOL, on_frame=self._frame_done, cancel=self._cancel)
        return BenchmarkResult(plan, tuple(timings), renderer.device, scale, full_seconds if scale < 1.0 else 0.0)

    def _probed(self, renderer: Renderer) -> float:
        """Seconds that the benchmark would take at full size, by smaller pictures of its first camera."""
        plan, probe = self._plan, Protocol(2, 0, 0.0)
        frames = len(plan.cameras) * (PROTOCOL.frames + PROTOCOL.dropped)
        seconds = 0.0
        for scale in PROBE_SCALES:
            camera = scaled_camera(plan.cameras[0], scale)
            timings = measure(renderer, [camera], plan.modes, probe, cancel=self._cancel)
            seconds = sum(min(timing.ms) for timing in timings) / 1000.0 / scale**2
            larger = seconds * probe.frames * (2.0 * scale) ** 2
            if frames * seconds <= LONGEST_SECONDS or larger > PROBE_SECONDS:
                break
        return frames * seconds

    def _frame_done(self) -> None:
        self.done += 1
