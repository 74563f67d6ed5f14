"""What the CUDA renderer needs of a device, as a protocol, and how it is built from the kernels' sources.

:class:`~kilonerf.kernels.cuda.cupy_device.CupyDevice` is the real one. Tests drive the same renderer over a device that
executes the kernels on the CPU.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

KERNELS = Path(__file__).resolve().parent
INCLUDE_FOLDERS = (KERNELS, KERNELS.parent / "native")
OPTIONS = ("--std=c++17", "--fmad=false")  # without contraction: kernels/native/sampling_rule.h says why

Defines = Mapping[str, str | int | None]


class OutOfDeviceMemoryError(Exception):
    """An allocation on the device failed; the renderer says what it was for."""


class DeviceArray(Protocol):
    """An array in the device's memory; as a kernel's argument it is a pointer."""

    @property
    def pointer(self) -> int:
        """Its address, which may stand in a structure that is passed by value."""
        ...

    @property
    def nbytes(self) -> int:
        """Its size."""
        ...


class DeviceKernel(Protocol):
    """A kernel that can be launched."""

    def blocks_per_multiprocessor(self, threads: int) -> int:
        """How many blocks of ``threads`` threads can be on a multiprocessor at once."""
        ...

    def launch(self, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        """Start it and return; device arrays are passed as pointers, NumPy structures [] by value."""
        ...


class CudaDevice(Protocol):
    """One device. What it is asked to do happens in order; only ``download`` and ``milliseconds`` wait.

    Arrays are those that it made itself, and of no other device.
    """

    index: int  # as CUDA numbers devices
    name: str
    architecture: int  # compute capability times ten: 90 is sm_90
    multiprocessors: int

    def active(self) -> AbstractContextManager[Any]:
        """Make it the calling thread's device; surrounds everything below."""
        ...

    def free_bytes(self) -> int:
        """Memory that could be allocated now."""
        ...

    def upload(self, array: NDArray[Any], name: str) -> DeviceArray:
        """A copy of ``array`` on the device.

        Raises:
            OutOfDeviceMemoryError: out of memory.
        """
        ...

    def allocate(self, shape: tuple[int, ...], dtype: DTypeLike, name: str) -> DeviceArray:
        """An array whose contents are undefined.

        Raises:
            OutOfDeviceMemoryError: out of memory.
        """
        ...

    def clear(self, array: Any) -> None:
        """Set all bytes to zero."""
        ...

    def download(self, arrays: Sequence[Any]) -> list[NDArray[Any]]:
        """Copies on the host, once all work before is done."""
        ...

    def mark(self) -> Any:
        """A point in the device's stream of work, for :meth:`milliseconds`."""
        ...

    def milliseconds(self, begin: Any, end: Any) -> float:
        """Time on the device between two marks, both of which it has passed."""
        ...

    def kernel(self, source: str, name: str, defines: Defines) -> DeviceKernel:
        """A kernel of the file ``source`` in :data:`KERNELS`, compiled if need be.

        Raises:
            BackendError: it cannot be compiled here.
        """
        ...


def sources_digest() -> str:
    """A hash of all kernel sources: compiled kernels are kept under it, so that a changed header is noticed."""
    digest = hashlib.sha256()
    for folder in INCLUDE_FOLDERS:
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".cu", ".cuh", ".h"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def mebibytes(size: int) -> str:
    """A size for people, rounded up: "12 MiB"."""
    return f"{-(-size // (1 << 20))} MiB"


def array_bytes(shape: tuple[int, ...], dtype: DTypeLike) -> int:
    """Size of an array."""
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
