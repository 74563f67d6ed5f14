"""The SIMT host as a device of the CUDA renderer: the renderer's own launches, executed on the CPU."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kilonerf.kernels.cuda.device import INCLUDE_FOLDERS, KERNELS, Defines, OutOfDeviceMemoryError
from simt.simt_host import DeviceArray, SimtModule


@cache
def module(source: str, defines: tuple[tuple[str, str | int | None], ...], checked: bool) -> SimtModule:
    """A kernel source, compiled once for all tests."""
    return SimtModule(KERNELS / source, defines=dict(defines), include_dirs=INCLUDE_FOLDERS, checked=checked)


class SimtArray(DeviceArray):
    """Memory that the SIMT host watches."""

    @property
    def pointer(self) -> int:
        return self.data.ptr


class SimtKernel:
    """A kernel, and a record of how it was launched."""

    def __init__(self, device: "SimtDevice", compiled: SimtModule, name: str) -> None:
        self._device, self._module, self._name = device, compiled, name

    def blocks_per_multiprocessor(self, threads: int) -> int:
        assert threads == 256
        return self._device.blocks_per_multiprocessor

    def launch(self, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        self._device.launches.append((self._name, blocks))
        self._module.launch(self._name, (blocks,), (threads,), arguments, order=self._device.order)


class SimtDevice:
    """Behaves like a device of compute capability ``architecture / 10``.

    Args:
        architecture: 70, 75, 80...
        blocks: blocks that run at once on all its multiprocessors.
        checked: whether races and bounds are checked.
        order: in which threads run, as in :meth:`SimtModule.launch`.
        memory: bytes that it claims to have.
        honest: whether ``free_bytes`` tells how much is left; else allocations fail unannounced.
    """

    index = 0
    name = "SIMT host"

    def __init__(
        self,
        architecture: int = 80,
        *,
        blocks: int = 3,
        checked: bool = False,
        order: str | int = "ascending",
        memory: int = 1 << 40,
        honest: bool = True,
    ) -> None:
        self.architecture = architecture
        self.multiprocessors, self.blocks_per_multiprocessor = blocks, 1
        self.checked, self.order = checked, order
        self.memory, self.honest = memory, honest
        self.launches: list[tuple[str, int]] = []
        self.uploads: list[str] = []
        self.allocations: list[str] = []

    def active(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def free_bytes(self) -> int:
        return self.memory if self.honest else 1 << 40

    def upload(self, array: NDArray[Any], name: str) -> SimtArray:
        self._take(array.nbytes)
        self.uploads.append(name)
        # A kernel may write to its counters only; the scene is const.
        return SimtArray(np.ascontiguousarray(array), name, writeable=name.endswith("counters"))

    def allocate(self, shape: tuple[int, ...], dtype: DTypeLike, name: str) -> SimtArray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._take(size)
        self.allocations.append(name)
        return SimtArray(np.full(size, 0xFB, np.uint8).view(dtype).reshape(shape), name)  # garbage, NaN as a float

    def clear(self, array: SimtArray) -> None:
        array.set(np.zeros(array.shape, array.dtype))

    def download(self, arrays: Sequence[SimtArray]) -> list[NDArray[Any]]:
        return [array.get() for array in arrays]

    def mark(self) -> float:
        return time.perf_counter()

    def milliseconds(self, begin: float, end: float) -> float:
        return 1000.0 * (end - begin)

    def kernel(self, source: str, name: str, defines: Defines) -> SimtKernel:
        macros = {"KNF_SIMT_HOST": 10 * self.architecture, **defines}
        return SimtKernel(self, module(source, tuple(sorted(macros.items())), self.checked), name)

    def _take(self, size: int) -> None:
        if size > self.memory:
            raise OutOfDeviceMemoryError
        self.memory -= size
