"""When to make which picture, at what size: pure decisions, told the time, so that tests need no clock."""

import math
import statistics
from collections import deque
from dataclasses import dataclass

from kilonerf.kernels import BackendChoice, RenderOptions
from kilonerf.model_io import Camera, Scene

from .heat_maps import HeatMap, HeatScale

SMALLEST_SCALE = 1.0 / 16.0
REST_SECONDS = 0.05
"""A view that has not changed for this long is refined to full size: the window is redrawn twice in it. A refinement
that comes too early costs little, as the next smaller picture cancels it."""
MEMORY = 5
"""The speed is the median over so many pictures: on a busy machine one alone may take twice as long as the next."""
QUICK_REFINEMENT_MS = 1500.0
"""Up to this expected time the full picture is made in one go; above, its size doubles step by step."""
OVERDUE = 4.0
"""A frame that runs for this many target times is too slow: the next one is made smaller."""


class ResolutionController:
    """Chooses the linear scale of a moving picture so that it meets a target frame rate.

    As in instant-ngp: ``factor = sqrt(pixel_ratio / ms * 1000 / target_fps)``, clamped to 1/16..1, and taken over
    only if it differs from the current scale by more than a fifth. Here ``ms / pixel_ratio`` is the median over the
    last pictures, so that the size does not flicker.

    Attributes:
        target_fps: pictures per second to aim at.
        scale: linear scale of a moving picture, 1/16..1.
    """

    def __init__(self, target_fps: float = 20.0, scale: float = 0.25) -> None:
        self.target_fps = target_fps
        self.scale = scale
        self._ms_per_full_picture: deque[float] = deque(maxlen=MEMORY)

    def frame_done(self, pixel_ratio: float, milliseconds: float) -> None:
        """Learn from a finished frame.

        Args:
            pixel_ratio: its pixels as a share of the full picture's.
            milliseconds: how long it took.
        """
        self._ms_per_full_picture.append(max(milliseconds, 1e-3) / pixel_ratio)
        factor = self._factor(1.0, statistics.median(self._ms_per_full_picture))
        if not 0.8 <= factor / self.scale <= 1.2:
            self.scale = factor

    def still_running(self, pixel_ratio: float, milliseconds: float) -> None:
        """Learn from a frame that is not done yet after ``milliseconds``: it takes at least that long."""
        if milliseconds * self.target_fps <= OVERDUE * 1000.0:
            return
        self.scale = min(self.scale, self._factor(pixel_ratio, milliseconds))

    def forget(self) -> None:
        """Start over from a small picture: the backend, and with it the speed, has changed."""
        self.scale = SMALLEST_SCALE
        self._ms_per_full_picture.clear()

    @property
    def full_ms(self) -> float | None:
        """What a picture of full size takes, by the newest ones; None before the first."""
        return statistics.median(self._ms_per_full_picture) if self._ms_per_full_picture else None

    def refined(self, scale: float) -> float:
        """The scale to make next of a resting view whose newest picture has ``scale``."""
        full_ms = self._ms_per_full_picture
        if not full_ms or statistics.median(full_ms) <= QUICK_REFINEMENT_MS:
            return 1.0
        return min(1.0, 2.0 * scale)

    def _factor(self, pixel_ratio: float, milliseconds: float) -> float:
        factor = math.sqrt(pixel_ratio / milliseconds * 1000.0 / self.target_fps)
        return max(SMALLEST_SCALE, min(1.0, factor))


@dataclass(frozen=True)
class Shot:
    """Everything that decides a picture but its size; ``camera`` has the window's full size."""

    scene: Scene
    backend: BackendChoice
    camera: Camera
    options: RenderOptions
    heat_map: HeatMap = "off"
    heat_scale: HeatScale = "fixed"


class FrameScheduler:
    """Decides, each time the window is redrawn, at which scale the current view should be made next, if at all.

    Attributes:
        resolution: the controller that automatic mode asks.
        fixed_scale: None: automatic; else every picture has this scale.
    """

    def __init__(self, resolution: ResolutionController) -> None:
        self.resolution = resolution
        self.fixed_scale: float | None = None
        self._shot: Shot | None = None
        self._changed_at = -math.inf
        self._done_shot: Shot | None = None
        self._done_scale = 0.0
        self._done_samples = 0.0

    def next_scale(self, shot: Shot, now: float) -> float | None:
        """The scale to make ``shot`` at, or None if the newest picture will do.

        Args:
            shot: what the window should show.
            now: seconds, from any clock that only grows.
        """
        if shot != self._shot:
            if self._shot is not None and (shot.backend, shot.scene) != (self._shot.backend, self._shot.scene):
                self.resolution.forget()
            self._shot, self._changed_at = shot, now
        done = self._done_scale if shot == self._done_shot else 0.0
        if self.fixed_scale is not None:
            return None if done == self.fixed_scale else self.fixed_scale
        if done == 0.0:
            return self.resolution.scale
        if done >= 1.0 or now - self._changed_at < REST_SECONDS:
            return None
        return self.resolution.refined(done)

    def next_samples(self, now: float, wanted: int) -> int | None:
        """How many samples of each pixel to make next of the view that :meth:`next_scale` was asked for; None: none.

        They double, so that a picture that takes long gets better soon, and one that does not is seldom redrawn.

        Args:
            now: as of :meth:`next_scale`.
            wanted: at rest.
        """
        if not self.lacks_samples(wanted) or now - self._changed_at < REST_SECONDS:
            return None
        return wanted if wanted < self._done_samples else min(wanted, 2 * int(self._done_samples))

    def lacks_samples(self, wanted: int) -> bool:
        """Whether the current view is there at its final size, with another number of samples than ``wanted``."""
        there = self._shot is not None and not self.refining
        return there and self._done_samples not in (wanted, math.inf)

    def samples_done(self, shot: Shot, samples: int) -> None:
        """Take note of a picture with several samples for each pixel."""
        if shot == self._done_shot:
            self._done_samples = samples

    def frame_done(self, shot: Shot, scale: float, milliseconds: float | None) -> None:
        """Take note of a finished picture; ``milliseconds`` None: it failed, and will not be tried again as it is."""
        self._done_samples = 1 if milliseconds is not None else math.inf
        self._done_shot, self._done_scale = shot, (scale if milliseconds is not None else math.inf)
        if self.fixed_scale is not None and milliseconds is None:
            self._done_scale = self.fixed_scale
        if milliseconds is not None:
            self.resolution.frame_done(scale * scale, milliseconds)

    @property
    def refining(self) -> bool:
        """Whether the current view still lacks its final picture."""
        final = 1.0 if self.fixed_scale is None else self.fixed_scale
        return self._shot is not None and (self._shot != self._done_shot or self._done_scale < final)
