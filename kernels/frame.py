"""What a renderer gives back."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

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
        evaluations_by_level: evaluations by the level of their cell, the innermost first.
    """

    samples: int = 0
    evaluations: int = 0
    rays: int = 0
    rays_hit: int = 0
    total_ms: float = 0.0
    stages_ms: Mapping[str, float] = field(default_factory=dict[str, float])
    threads: int = 1
    evaluations_by_level: tuple[int, ...] = ()

    @property
    def samples_per_ray(self) -> float:
        """Mean number of samples over all rays of the picture."""
        return self.samples / self.rays if self.rays else 0.0

    @property
    def samples_per_hit_ray(self) -> float:
        """Mean number of samples over the rays that have any."""
        return self.samples / self.rays_hit if self.rays_hit else 0.0


class DevicePicture(Protocol):
    """A picture in the memory of a device; the memory is its own as long as this object lives."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        ...

    @property
    def device_index(self) -> int:
        """Whose memory it is in, as CUDA numbers devices."""
        ...

    def pointer(self, name: str) -> int:
        """Address of an array: float32 ``rgbz`` [H, W, 4], ``alpha`` [H, W] or ``depth`` [H, W].

        The fourth component of ``rgbz`` is the depth, +inf where alpha is below :data:`OPAQUE`.
        """
        ...

    def download(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Copies of colour [H, W, 3], alpha [H, W] and depth [H, W] on the host.

        Raises:
            BackendError: the device failed.
        """
        ...


class Frame:
    """One picture, on the host or still on the device that made it.

    Attributes:
        rgb: float32 [H, W, 3], background included, nominally in [0, 1], not clipped, no gamma applied.
        alpha: float32 [H, W], opacity of the scene before the background.
        depth: float32 [H, W], z-depth as the mean of the samples' t weighted by their contribution; +inf where
            ``alpha`` is 0.
        statistics: the work it took.
        samples: int32 [H, W], samples that each ray took; None unless asked for.
        network: int32 [H, W], the network of each ray's first sample, -1 for none; None unless asked for.
        lookups: int32 [H, W], sample positions of each ray whose occupancy voxel was looked at; None unless asked for.
        resident: the picture on its device; None if it was made on the host. ``rgb``, ``alpha`` and ``depth`` are then
            copied to the host when one of them is first asked for, by any thread.
    """

    def __init__(
        self,
        rgb: NDArray[np.float32],
        alpha: NDArray[np.float32],
        depth: NDArray[np.float32],
        statistics: FrameStatistics,
        samples: NDArray[np.int32] | None = None,
        network: NDArray[np.int32] | None = None,
        lookups: NDArray[np.int32] | None = None,
    ) -> None:
        self._arrays: tuple[NDArray[np.float32], ...] | None = (rgb, alpha, depth)
        self.statistics, self.samples, self.network = statistics, samples, network
        self.lookups = lookups
        self.resident: DevicePicture | None = None
        self.size = (depth.shape[1], depth.shape[0])  # width, height
        self._lock = threading.Lock()

    @classmethod
    def on_device(cls, resident: DevicePicture, statistics: FrameStatistics) -> "Frame":
        """A frame whose picture stays on its device until somebody asks for it."""
        frame = cls.__new__(cls)
        frame._arrays, frame._lock = None, threading.Lock()
        frame.statistics, frame.samples, frame.network = statistics, None, None
        frame.lookups = None
        frame.resident, frame.size = resident, resident.size
        return frame

    def host(self) -> "Frame":
        """This frame with its picture on the host, copied there at the first call.

        Raises:
            BackendError: the device failed.
        """
        with self._lock:
            if self._arrays is None and self.resident is not None:
                self._arrays = self.resident.download()
        return self

    @property
    def rgb(self) -> NDArray[np.float32]:
        """Colour."""
        return self._host_array(0)

    @property
    def alpha(self) -> NDArray[np.float32]:
        """Opacity."""
        return self._host_array(1)

    @property
    def depth(self) -> NDArray[np.float32]:
        """z-depth."""
        return self._host_array(2)

    def with_colors(self, rgb: NDArray[np.float32]) -> "Frame":
        """The same picture in other colours, float32 [H, W, 3]; on the host."""
        return Frame(rgb, self.alpha, self.depth, self.statistics, self.samples, self.network, self.lookups)

    def to_rgb8(self) -> NDArray[np.uint8]:
        """The picture as uint8 [H, W, 3]: 255 * clip(rgb, 0, 1), rounded to nearest."""
        return (np.clip(self.rgb, 0.0, 1.0) * np.float32(255.0) + np.float32(0.5)).astype(np.uint8)

    def _host_array(self, which: int) -> NDArray[np.float32]:
        arrays = self._arrays or self.host()._arrays
        assert arrays is not None  # noqa: S101 - a frame is on the host or on a device
        return arrays[which]
