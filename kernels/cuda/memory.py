"""Memory on a device, and the one line that says what it is too small for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kilonerf.model_io import BackendError

from .device import CudaDevice, DeviceArray, OutOfDeviceMemoryError, array_bytes, mebibytes


def pointers(arrays: Sequence[DeviceArray]) -> NDArray[np.void]:
    """A structure of pointers to arrays, to be passed by value: a 0-dimensional array."""
    return np.array(
        tuple(array.pointer for array in arrays), [(f"array{number}", "<u8") for number in range(len(arrays))]
    )


class DeviceMemory:
    """Copies and allocates on one device.

    Args:
        device: whose memory.
    """

    def __init__(self, device: CudaDevice) -> None:
        self._device = device

    def require(self, need: int, what: str) -> None:
        """Complain before anything is allocated if it cannot fit.

        Raises:
            BackendError: fewer than ``need`` bytes are free.
        """
        if need > self._device.free_bytes():
            raise self._too_small(need, what)

    def upload(self, array: NDArray[Any], name: str) -> DeviceArray:
        """A copy of ``array`` on the device.

        Raises:
            BackendError: out of memory.
        """
        try:
            return self._device.upload(array, name)
        except OutOfDeviceMemoryError:
            raise self._too_small(array.nbytes, name, " but refuses it") from None

    def allocate(self, shape: tuple[int, ...], dtype: DTypeLike, name: str) -> DeviceArray:
        """An array whose contents are undefined.

        Raises:
            BackendError: out of memory.
        """
        try:
            return self._device.allocate(shape, dtype, name)
        except OutOfDeviceMemoryError:
            raise self._too_small(array_bytes(shape, dtype), name, " but refuses it") from None

    def _too_small(self, need: int, what: str, and_yet: str = "") -> BackendError:
        return BackendError(
            f"backend 'cuda': {what} needs {mebibytes(need)}, {self._device.name} has "
            f"{mebibytes(self._device.free_bytes())} free{and_yet}: close other programs, or use --backend cpu"
        )
