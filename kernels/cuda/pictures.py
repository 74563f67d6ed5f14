"""Frames in a device's memory: what the kernel writes of one, and what the window takes it from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera

from ..renderer import Output
from .device import CudaDevice, DeviceArray

HOST: dict[Output, tuple[tuple[int, ...], type]] = {
    "rgb": ((3,), np.float32),
    "alpha": ((), np.float32),
    "depth": ((), np.float32),
    "samples": ((), np.int32),
    "network": ((), np.int32),
}
ON_DEVICE = {"rgbz": ((4,), np.float32), "alpha": ((), np.float32), "depth": ((), np.float32)}


@dataclass(frozen=True, eq=False)
class LaunchedFrame:
    """A frame that is, or will soon be, in the device's memory: the host has not synchronized yet.

    Its arrays are its own as long as it lives; then the renderer makes another frame in them.

    Attributes:
        camera: what it shows.
        arrays: by the names of the kernel's outputs, [H, W, ...].
        marks: before and after the kernel.
    """

    camera: Camera
    arrays: Mapping[str, DeviceArray]
    marks: tuple[Any, Any]


@dataclass(frozen=True, eq=False)
class CudaPicture:
    """A finished picture in the device's memory: :class:`~kilonerf.kernels.frame.DevicePicture`.

    Attributes:
        launched: its arrays: ``rgbz``, ``alpha``, ``depth``.
        device: whose memory it is in.
    """

    launched: LaunchedFrame
    device: CudaDevice

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.launched.camera.width, self.launched.camera.height

    @property
    def device_index(self) -> int:
        """As CUDA numbers devices."""
        return self.device.index

    def pointer(self, name: str) -> int:
        """Address of ``rgbz``, ``alpha`` or ``depth``."""
        return self.launched.arrays[name].pointer

    def download(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Copies of colour, alpha and depth on the host."""
        with self.device.active():
            arrays = self.launched.arrays
            rgbz, alpha, depth = self.device.download([arrays[name] for name in ("rgbz", "alpha", "depth")])
        return np.ascontiguousarray(rgbz[..., :3]), alpha, depth
