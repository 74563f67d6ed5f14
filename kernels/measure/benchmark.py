"""Measures how long frames take: the protocol of ``kilonerf-bench``."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from kilonerf.model_io import Camera

from .. import CancelToken, FrameStatistics, Renderer, RenderOptions


@dataclass(frozen=True)
class Protocol:
    """How frames are measured.

    Attributes:
        frames: frames that count, per pose.
        dropped: frames before them that do not: caches and clocks settle.
        cooldown: seconds of rest before each pose, so that every pose finds the processor equally cool.
    """

    frames: int = 5
    dropped: int = 2
    cooldown: float = 3.0


@dataclass(frozen=True)
class PoseTiming:
    """The frames of one pose: wall times in milliseconds, the last frame's statistics, each stage's median."""

    ms: tuple[float, ...]
    stages_ms: dict[str, float]
    statistics: FrameStatistics


@dataclass(frozen=True)
class Timing:
    """One mode of rendering over all poses.

    Attributes:
        options: the mode.
        poses: what each pose took.
    """

    options: RenderOptions
    poses: tuple[PoseTiming, ...]

    @property
    def ms(self) -> list[float]:
        """Wall times of all frames that count, in milliseconds."""
        return [ms for pose in self.poses for ms in pose.ms]

    @property
    def ms_median(self) -> float:
        """Median over all frames of all poses."""
        return statistics.median(self.ms)

    @property
    def samples(self) -> float:
        """Samples per frame that count for the picture, mean over the poses."""
        return statistics.fmean(pose.statistics.samples for pose in self.poses)

    @property
    def evaluations(self) -> float:
        """Network evaluations per frame, mean over the poses."""
        return statistics.fmean(pose.statistics.evaluations for pose in self.poses)

    @property
    def evaluations_by_level(self) -> list[float]:
        """The same by level, the innermost first."""
        levels = zip(*(pose.statistics.evaluations_by_level for pose in self.poses), strict=True)
        return [statistics.fmean(level) for level in levels]

    @property
    def samples_per_ray(self) -> float:
        """Samples per ray of the picture, mean over the poses."""
        return statistics.fmean(pose.statistics.samples_per_ray for pose in self.poses)

    @property
    def stages_ms(self) -> dict[str, float]:
        """Milliseconds of each stage: mean over the poses of each pose's median."""
        names = dict.fromkeys(name for pose in self.poses for name in pose.stages_ms)
        return {name: statistics.fmean(pose.stages_ms.get(name, 0.0) for pose in self.poses) for name in names}


def all_modes(options: RenderOptions) -> list[RenderOptions]:
    """The four combinations of empty-space skipping and early ray termination, the fastest first."""
    return [replace(options, ess=ess, ert=ert) for ess in (True, False) for ert in (True, False)]


def measure(
    renderer: Renderer,
    cameras: Sequence[Camera],
    modes: Sequence[RenderOptions],
    protocol: Protocol,
    *,
    on_frame: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
    cancel: CancelToken | None = None,
) -> list[Timing]:
    """Time every mode at every pose; the modes of a pose follow each other, so that all see the same machine.

    Args:
        renderer: what is measured.
        cameras: the poses.
        modes: how frames are made.
        protocol: frames, dropped frames and rests.
        on_frame: called after each frame, outside of the times.
        clock: a steady clock in seconds.
        sleep: rests for some seconds.
        cancel: stops it from another thread.

    Raises:
        RenderCancelled: ``cancel`` was used.
    """
    timings: list[list[PoseTiming]] = [[] for _ in modes]
    for camera in cameras:
        for mode, poses in zip(modes, timings, strict=True):
            sleep(protocol.cooldown)
            poses.append(_measure_pose(renderer, camera, mode, protocol, on_frame, clock, cancel))
    return [Timing(mode, tuple(poses)) for mode, poses in zip(modes, timings, strict=True)]


def _measure_pose(
    renderer: Renderer,
    camera: Camera,
    options: RenderOptions,
    protocol: Protocol,
    on_frame: Callable[[], None],
    clock: Callable[[], float],
    cancel: CancelToken | None,
) -> PoseTiming:
    render = renderer.render if cancel is None else partial(renderer.render, cancel=cancel)
    times: list[float] = []
    stages: list[Mapping[str, float]] = []
    last = FrameStatistics()
    for number in range(protocol.dropped + protocol.frames):
        began = clock()
        frame = render(camera, options)
        ms = 1000.0 * (clock() - began)
        on_frame()
        if number >= protocol.dropped:
            times.append(ms)
            last = frame.statistics
            stages.append(last.stages_ms)
    medians = {name: statistics.median(stage[name] for stage in stages) for name in stages[-1]}
    return PoseTiming(tuple(times), medians, last)
