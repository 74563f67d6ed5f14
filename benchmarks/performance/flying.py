"""How a flight looks and feels in the real window, with and without reprojection.

python -m benchmarks.performance.flying --help

Each run flies the same way through the scene, once with reprojection and once without, then lets go and waits for the
final picture. Needs a display; without one: scripts/virtual_screen.sh python -m benchmarks.performance.flying
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from imgui_bundle import imgui
from numpy.typing import NDArray

from kilonerf.kernels import create_renderer
from kilonerf.kernels.measure.machine import program_commit, this_machine
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.model_io import BackendError, Camera
from kilonerf.model_io.files.atomic import write_text
from kilonerf.viewer.app import ViewerApp
from kilonerf.viewer.pacing import AWAKE_SECONDS
from kilonerf.viewer.rendering.worker import RenderResult
from kilonerf.viewer.scene_loading import SceneLoader
from kilonerf.viewer.settings import ViewerSettings

CHAIR = Path(__file__).resolve().parents[2] / "assets" / "chair.knf"
WINDOW = (1280, 800)
SAMPLE_SECONDS = 0.45
"""So often a frame of the flight is kept, to be compared with a true picture of its camera afterwards."""
REST_SECONDS = 2.0
"""So long the resting window's use of the processor is measured."""


@dataclass(frozen=True)
class Leg:
    """A part of the flight.

    Attributes:
        seconds: how long it takes.
        keys: held down meanwhile.
        drag: of the mouse, right and down, heights of the picture per second.
    """

    seconds: float
    keys: tuple[imgui.Key, ...] = ()
    drag: tuple[float, float] = (0.0, 0.0)


FLIGHT = (
    Leg(1.5, drag=(0.20, 0.03)),  # orbit, with the turntable on top: 54 degrees a second
    Leg(1.0, (imgui.Key.d,), (0.25, 0.0)),
    Leg(1.0, (imgui.Key.w,), (-0.1, 0.0)),
    Leg(1.0, (imgui.Key.s, imgui.Key.a), (-0.25, 0.0)),
)


@dataclass(frozen=True)
class Shown:
    """What one frame of the window showed.

    Attributes:
        seconds: when it was shown, from the flight's beginning.
        displayed: the camera whose view it was.
        picture: identity of the picture it was made from.
        scale: of that picture.
        picture_age: seconds since the user steered to that picture's camera.
        view_age: seconds since the user steered to the displayed camera.
    """

    seconds: float
    displayed: Camera
    picture: int
    scale: float
    picture_age: float
    view_age: float


class Pilot:
    """Steers the program, and notes what it shows."""

    def __init__(self, app: ViewerApp) -> None:
        self._app = app
        self._steered: dict[Camera, float] = {}
        self._start = 0.0

    def fly(self) -> tuple[list[Shown], list[tuple[Camera, NDArray[np.uint8]]]]:
        """The whole flight; also some frames of the window with the camera that steered them."""
        frames: list[Shown] = []
        samples: list[tuple[Camera, NDArray[np.uint8]]] = []
        self._steered.clear()
        self._start = time.perf_counter()
        next_sample = SAMPLE_SECONDS
        for index, leg in enumerate(FLIGHT):
            self._hold(leg.keys, True)
            self._app.navigator.set_turntable(index == 0)
            end, last = time.perf_counter() + leg.seconds, time.perf_counter()
            while last < end:
                now = time.perf_counter()
                self._app.navigator.drag(leg.drag[0] * (now - last), leg.drag[1] * (now - last))
                last = now
                sampled = now - self._start >= next_sample
                if sampled:
                    self._app.window.capture_next_frame()
                self._step(frames)
                if sampled:
                    next_sample += SAMPLE_SECONDS
                    samples.append((self._camera(), self._app.window.take_capture()))
            self._hold(leg.keys, False)
        return frames, samples

    def settle(self) -> float:
        """Let go; seconds from the last motion until the final picture is in the window."""
        self._app.navigator.set_turntable(False)
        moved = time.perf_counter()
        while True:
            before = self._app.navigator.matrix()
            self._app.step()
            now = time.perf_counter()
            if not np.array_equal(before, self._app.navigator.matrix()):
                moved = now
            shown = self._app.view.shown
            if shown is not None and shown.request.scale == 1.0 and shown.request.shot.camera == self._camera():
                return now - moved

    def wait(self, seconds: float) -> None:
        """Let the program run without touching it."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self._app.step()

    def _step(self, frames: list[Shown]) -> None:
        self._app.step()
        now = time.perf_counter()
        self._steered[self._camera()] = now
        shown, displayed = self._app.view.shown, self._app.view.displayed
        if shown is not None and displayed is not None:
            ages = [now - self._steered.get(camera, self._start) for camera in (shown.request.shot.camera, displayed)]
            frames.append(Shown(now - self._start, displayed, id(shown), shown.request.scale, *ages))

    def _camera(self) -> Camera:
        """What the user steers to: at the picture's full size."""
        full = newest(self._app).request.shot.camera
        return self._app.navigator.camera(full.width, full.height)

    @staticmethod
    def _hold(keys: Sequence[imgui.Key], down: bool) -> None:
        for key in keys:
            imgui.get_io().add_key_event(key, down)


def newest(app: ViewerApp) -> RenderResult:
    """The picture that the window shows; there is one once the program has settled."""
    if app.view.shown is None:
        raise BackendError(f"no picture could be made: {app.notices.log[-1].text}")
    return app.view.shown


def figures(frames: Sequence[Shown], settling: float, psnrs: Sequence[float]) -> dict[str, float]:
    """The figures of one flight."""
    seconds = frames[-1].seconds - frames[0].seconds
    intervals = np.diff([frame.seconds for frame in frames])
    scales = [frame.scale for frame in frames]
    pictures = _changes([frame.picture for frame in frames])
    return {
        "window_per_second": len(intervals) / seconds,
        "window_interval_p95_ms": 1000.0 * float(np.percentile(intervals, 95)),
        "views_per_second": _changes([frame.displayed for frame in frames]) / seconds,
        "pictures_per_second": pictures / seconds,
        "mean_scale": statistics.fmean(scales),
        "scale_changes_per_second": _changes(scales) / seconds,
        "picture_age_ms": 1000.0 * statistics.median(frame.picture_age for frame in frames),
        "view_age_ms": 1000.0 * statistics.median(frame.view_age for frame in frames),
        "psnr_db": statistics.fmean(psnrs),
        "settling_ms": 1000.0 * settling,
    }


def _changes(values: Sequence[object]) -> int:
    return sum(a != b for a, b in pairwise(values))


def compared_with_truth(app: ViewerApp, samples: Sequence[tuple[Camera, NDArray[np.uint8]]]) -> list[float]:
    """PSNR in dB of each sampled frame's picture against a full picture of the camera that steered it."""
    view = newest(app).request.shot
    renderer = create_renderer(view.scene, view.backend)
    values = []
    for camera, window in samples:
        truth = renderer.render(camera, view.options).to_rgb8()
        picture = window[-camera.height :, : camera.width]
        values.append(psnr(picture.astype(np.float32) / 255.0, truth.astype(np.float32) / 255.0))
    return values


def measure(app: ViewerApp, runs: int) -> dict[str, list[dict[str, float]]]:
    """``runs`` flights of each kind, in turns."""
    results: dict[str, list[dict[str, float]]] = {"reprojection": [], "none": []}
    app.settings.show_help = False
    pilot = Pilot(app)
    app.step()
    while not app.settled:
        app.step()
    for _ in range(runs):
        for name, flights in results.items():
            app.settings.reprojection = name == "reprojection"
            app.navigator.reset(0.0)
            pilot.settle()
            frames, samples = pilot.fly()
            settling = pilot.settle()
            pilot.wait(AWAKE_SECONDS)
            cpu, start = time.process_time(), time.perf_counter()
            pilot.wait(REST_SECONDS)
            used = (time.process_time() - cpu) / (time.perf_counter() - start)
            flights.append({**figures(frames, settling, compared_with_truth(app, samples)), "cores_at_rest": used})
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", nargs="?", type=Path, default=CHAIR, help="a .knf file")
    parser.add_argument("--runs", type=int, default=5, help="flights of each kind")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--target-fps", type=float, default=ViewerSettings().target_fps)
    parser.add_argument("-o", "--output", type=Path, help="also write the JSON to this file")
    options = parser.parse_args()
    loader = SceneLoader()
    loader.load(options.scene)
    settings = ViewerSettings(backend=options.backend, target_fps=options.target_fps)
    with tempfile.TemporaryDirectory() as folder:
        app = ViewerApp(settings, WINDOW, Path(folder), loader)
        try:
            flights = measure(app, options.runs)
            shown = newest(app)
            document: dict[str, Any] = {
                "scene": options.scene.name,
                "backend": shown.backend,
                "device": shown.device,
                "opengl": app.window.ctx.info["GL_RENDERER"],
                "window": list(WINDOW),
                "picture": [shown.request.camera.width, shown.request.camera.height],
                "target_fps": options.target_fps,
                "medians": {name: medians(runs) for name, runs in flights.items()},
                "runs": flights,
                "commit": program_commit(),
                "machine": dataclasses.asdict(this_machine()),
            }
        finally:
            app.close()
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    if options.output is not None:
        write_text(options.output, text)
    print_table(document["medians"])


def medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Each figure's median over the flights."""
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}


def print_table(results: dict[str, dict[str, float]]) -> None:
    """The medians for people."""
    width = 26
    print(" " * width + "".join(f"{name:>14}" for name in results))
    for figure in next(iter(results.values())):
        print(f"{figure:{width}}" + "".join(f"{result[figure]:14.2f}" for result in results.values()))


if __name__ == "__main__":
    main()
