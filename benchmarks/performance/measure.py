"""How the CPU benchmark measures: everything that is compared is run in turns, so that all see the same machine."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kilonerf.kernels import Renderer, RenderOptions
from kilonerf.kernels.measure.poses import scene_poses
from kilonerf.model_io import Camera, KiloNeRFScene

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class SectionSkipped(Exception):  # noqa: N818 - an outcome, not an error
    """A section cannot run here; the text says why."""


@dataclass(frozen=True)
class Setup:
    """What every section is given.

    Attributes:
        scene_path: the scene's file.
        scene: the same, loaded.
        threads: threads of a frame where nothing else is said.
        views: poses of the scene that are rendered, evenly chosen.
        rounds: turns that count; one more before them does not.
        size: width and height of a frame where nothing else is said.
        progress: called after every single measurement.
    """

    scene_path: Path
    scene: KiloNeRFScene
    threads: int
    views: int = 5
    rounds: int = 7
    size: int = 800
    progress: Callable[[], None] = lambda: None

    def cameras(self, size: int | None = None, views: int | None = None) -> list[Camera]:
        """Square cameras: of the scene's training poses, else on a ring around it."""
        size = size or self.size
        return scene_poses(self.scene, views or self.views, size, size)[1]

    def take_turns(
        self, jobs: Mapping[Key, Callable[[], Result]], rounds: int | None = None
    ) -> dict[Key, list[Result]]:
        """Run all jobs one after the other, again and again; the first turn warms up and does not count."""
        results: dict[Key, list[Result]] = {key: [] for key in jobs}
        for turn in range(1 + (rounds or self.rounds)):
            for key, job in jobs.items():
                result = job()
                self.progress()
                if turn:
                    results[key].append(result)
        return results


@dataclass(frozen=True)
class FrameTime:
    """One frame: its wall time as a caller sees it, that of its stages, and the work."""

    ms: float
    stages_ms: Mapping[str, float]
    evaluations: int
    samples: int


def frame_job(renderer: Renderer, camera: Camera, options: RenderOptions) -> Callable[[], FrameTime]:
    """A job that renders one frame."""

    def render() -> FrameTime:
        began = time.perf_counter()
        work = renderer.render(camera, options).statistics
        return FrameTime(1000.0 * (time.perf_counter() - began), work.stages_ms, work.evaluations, work.samples)

    return render


def summary(views: Sequence[Sequence[FrameTime]]) -> dict[str, Any]:
    """One configuration's frames, turn by turn for each view: the mean over the views of each view's median."""

    def mean(value: Callable[[FrameTime], float], middle: Callable[[list[float]], float] = statistics.median) -> float:
        return statistics.fmean(middle([value(frame) for frame in frames]) for frames in views)

    return {
        "ms": mean(lambda frame: frame.ms),
        "ms_min": mean(lambda frame: frame.ms, min),
        "ms_max": mean(lambda frame: frame.ms, max),
        "stages_ms": {name: mean(lambda frame: frame.stages_ms[name]) for name in views[0][0].stages_ms},  # noqa: B023
        "evaluations": mean(lambda frame: frame.evaluations),
        "samples": mean(lambda frame: frame.samples),
    }


def measure_frames(
    setup: Setup,
    configurations: Mapping[Key, tuple[Renderer, RenderOptions, Sequence[Camera]]],
    others: Mapping[str, Callable[[], float]] | None = None,
    rounds: int | None = None,
) -> tuple[dict[Key, dict[str, Any]], dict[str, list[float]]]:
    """The frames of some configurations in turns, with other measurements among them.

    Returns:
        Each configuration's :func:`summary`, and what each other measurement gave, turn by turn.
    """
    jobs: dict[Any, Callable[[], Any]] = {
        ("frame", key, number): frame_job(renderer, camera, options)
        for key, (renderer, options, cameras) in configurations.items()
        for number, camera in enumerate(cameras)
    }
    jobs |= {("other", name): job for name, job in (others or {}).items()}
    times = setup.take_turns(jobs, rounds)
    frames = {
        key: summary([times["frame", key, number] for number in range(len(cameras))])
        for key, (_, _, cameras) in configurations.items()
    }
    return frames, {name: times["other", name] for name in others or {}}
