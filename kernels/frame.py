"""What a renderer gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

OPAQUE = 0.5
"""A pixel hides what is drawn behind it if the scene there is at least this opaque."""


@dataclass(frozen=True)
class FrameStatistics:
    """The work that one frame took.

    Attributes:
        samples: samples that count for the picture: exact per sample, so equal for every backend up to
            rounding at the early-termination threshold.
        evaluations: network evaluations made; may exceed ``samples`` where a backend evaluates a few of a
            ray's samples together and the ray ends among them.
        rays: rays of the picture (width * height).
        rays_hit: rays with at least one sample.
        total_ms: wall time of the whole frame in milliseconds.
        stages_ms: wall time by stage, in the order in which the stages run; sums to about ``total_ms``.
        threads: threads that made the frame.
    """

    samples: int = 0
    evaluations: int = 0
    rays: int = 0
    rays_hit: int = 0
    total_ms: float = 0.0
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    threads: int = 1

    @property
    def samples_per_ray(self) -> float:
        """Mean number of samples over all rays of the picture."""
        return self.samples / self.rays if self.rays else 0.0

    @property
    def samples_per_hit_ray(self) -> float:
        """Mean number of samples over the rays that have any."""
        return self.samples / self.rays_hit if self.rays_hit else 0.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture.

    Attributes:
        rgb: float32 [H, W, 3], background included, nominally in [0, 1], not clipped, no gamma applied.
        alpha: float32 [H, W], opacity of the scene before the background.
        depth: float32 [H, W], z-depth as the mean of the samples' t weighted by their contribution; +inf where
            ``alpha`` is 0.
        statistics: the work it took.
        samples: int32 [H, W], samples that each ray took; None unless asked for (``render_per_ray``).
        network: int32 [H, W], the network of each ray's first sample, -1 for none; None unless asked for.
    """

    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32]
    depth: NDArray[np.float32]
    statistics: FrameStatistics
    samples: NDArray[np.int32] | None = None
    network: NDArray[np.int32] | None = None

    def to_rgb8(self) -> NDArray[np.uint8]:
        """The picture as uint8 [H, W, 3]: 255 * clip(rgb, 0, 1), rounded to nearest."""
        return (np.clip(self.rgb, 0.0, 1.0) * np.float32(255.0) + np.float32(0.5)).astype(np.uint8)
