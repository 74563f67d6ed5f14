"""Runs CUDA kernels on the CPU, thread by thread, and says what is wrong with them. For tests only.

How it works. g++ compiles a ``.cu`` file as C++ with ``host/simt_host.h`` in place of CUDA's headers. Each thread of a
block is a fibre with a stack of its own; it runs until it meets a barrier or a warp-wide operation (vote, shuffle,
``mma``), and the last to arrive completes it for all. Blocks run one after another. ``__shared__`` variables are the
library's TLS segment, filled with garbage (NaN, large negative integers) before each block. ``cp.async`` leaves garbage
too, until its thread waits for it. ``mma`` gathers the fragments of 32 lanes by the PTX ISA's tables.

What it finds, as exceptions that name thread, variable, file and line:

- always: a rendezvous to which not all threads come (:class:`DeadlockError`); writes outside of an array
  (:class:`MemoryAccessError`, by guard zones around each array, or exactly for atomics, cp.async and surfaces);
- with ``checked=True`` also every access outside of arrays and shared variables, to another thread's local memory,
  array indices out of bounds (also inside structs and local arrays) and misaligned accesses
  (:class:`MemoryAccessError`), data races (:class:`RaceError`), and reads of shared memory that the block never wrote
  (:class:`UninitialisedError`).

A race is found by happens-before, whatever the order in which threads ran: two accesses to a byte by two threads, one
of them a write, not both atomic, with no ``__syncthreads`` or ``__syncwarp`` that orders them. As CUDA documents,
votes, shuffles and products order no memory. Threads of different blocks are ordered by ``__threadfence``, an atomic of
the one, an atomic of the other on the same address, ``__threadfence``, and by nothing else. Two threads that write the
same value race as well. The compiler's hooks for ThreadSanitizer report each access; its library is not used, so
nothing has to be preloaded. At most two readers of a byte are remembered, so a race may escape one order of threads:
try several.

Not modelled: caches and weak memory order, blocks that wait for one another (they would wait for ever), warps in
lockstep (nothing may rely on them), races on ``__device__`` variables, and the exact rounding of tensor cores.

Launching follows CuPy's ``RawKernel``: arrays are pointers, NumPy scalars and structured scalars go by value.
"""

import ctypes
import re
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from simt.compilation import build_library, shared_variables, source_place

GUARD = 4096  # bytes on either side of an array
GUARD_BYTE = 0xA5
ORDERS = {"ascending": 0, "descending": -1}


class SimtError(RuntimeError):
    """A kernel did what CUDA does not allow."""


class DeadlockError(SimtError):
    """Threads wait for others that never come."""


class MemoryAccessError(SimtError):
    """An access outside of the kernel's memory, or misaligned, or to read-only memory."""


class RaceError(SimtError):
    """Two threads use the same memory, and nothing orders them; or an asynchronous copy was not waited for."""


class UninitialisedError(SimtError):
    """A read of shared memory that no thread of the block wrote."""


class TrapError(SimtError):
    """The kernel called ``__trap``."""


FAULTS = {1: DeadlockError, 2: MemoryAccessError, 3: RaceError, 4: UninitialisedError, 5: TrapError}


class _ArrayArgument(ctypes.Structure):
    _fields_ = (
        ("begin", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
        ("writable", ctypes.c_int),
        ("name", ctypes.c_char_p),
    )


class _SharedVariable(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_size_t), ("bytes", ctypes.c_size_t), ("name", ctypes.c_char_p))


class _LaunchSettings(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("dynamic_shared_bytes", ctypes.c_size_t),
        ("order", ctypes.c_longlong),
        ("checked", ctypes.c_int),
        ("error_scale", ctypes.c_float),
        ("array", ctypes.POINTER(_ArrayArgument)),
        ("arrays", ctypes.c_int),
        ("variable", ctypes.POINTER(_SharedVariable)),
        ("variables", ctypes.c_int),
    )


class _Surface(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("width_bytes", ctypes.c_int),
        ("height", ctypes.c_int),
        ("magic", ctypes.c_uint),
    )


class _Memory:
    """What CuPy calls ``array.data``."""

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr


class DeviceArray:
    """An array as a kernel sees it, between two guard zones; stays while it is referred to.

    Its address (``data.ptr``) may stand in a struct that is passed by value.
    """

    _alive: ClassVar["weakref.WeakSet[DeviceArray]"] = weakref.WeakSet()

    def __init__(self, array: NDArray[Any], name: str | None = None, writeable: bool = True) -> None:
        self.shape, self.dtype, self.nbytes = array.shape, array.dtype, array.nbytes
        self.name = name or f"array {array.dtype}{list(array.shape)}"
        self.writeable = writeable
        self._memory = np.full(self.nbytes + 2 * GUARD + 256, GUARD_BYTE, np.uint8)
        self._start = GUARD + (-(self._memory.ctypes.data + GUARD)) % 256  # as cudaMalloc aligns
        self.data = _Memory(self._memory.ctypes.data + self._start)
        self.set(array)
        DeviceArray._alive.add(self)

    def _bytes(self) -> NDArray[np.uint8]:
        return self._memory[self._start : self._start + self.nbytes]

    def set(self, array: NDArray[Any]) -> None:
        """Copy from the host."""
        if array.shape != self.shape or array.dtype != self.dtype:
            raise ValueError(f"{self.name}: expected {self.dtype}{self.shape}, got {array.dtype}{array.shape}")
        self._bytes()[:] = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)

    def get(self) -> NDArray[Any]:
        """A copy for the host."""
        return np.frombuffer(self._bytes().tobytes(), self.dtype).reshape(self.shape).copy()

    def check_guards(self) -> None:
        """Raise MemoryAccessError if something was written beside the array."""
        for begin, end in ((0, self._start), (self._start + self.nbytes, self._memory.size)):
            changed = np.flatnonzero(self._memory[begin:end] != GUARD_BYTE)
            if changed.size:
                offset = begin + int(changed[0]) - self._start
                self._memory[begin:end] = GUARD_BYTE
                raise MemoryAccessError(
                    f"out of bounds: the kernel wrote at offset {offset} of {self.name}, which has {self.nbytes} bytes"
                )


class Surface:
    """A 2D array to which kernels write by ``surf2Dwrite``: ``pixels`` [height, width, channels].

    ``handle`` is its ``cudaSurfaceObject_t``, to be passed by value.
    """

    def __init__(self, height: int, width: int, channels: int = 4, dtype: type[np.generic] = np.uint8) -> None:
        row = width * channels * np.dtype(dtype).itemsize
        self._array = DeviceArray(np.zeros((height, width, channels), dtype), f"surface {width}x{height}")
        self._description = _Surface(self._array.data.ptr, row, height, 0x53555246)
        self.handle = np.uint64(ctypes.addressof(self._description))

    @property
    def pixels(self) -> NDArray[Any]:
        """A copy of what is there now."""
        return self._array.get()


class SimtKernel:
    """One kernel of a module, called like CuPy's ``RawKernel``."""

    def __init__(self, module: "SimtModule", name: str) -> None:
        self._module, self.name = module, name

    def __call__(
        self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0, **how: Any
    ) -> None:
        """See :meth:`SimtModule.launch`."""
        self._module.launch(self.name, grid, block, args, shared_mem=shared_mem, **how)


class SimtModule:
    """A compiled ``.cu`` file.

    Args:
        source: the file; its ``extern "C" __global__`` functions can be launched.
        defines: macros; KNF_SIMT_HOST is 800 (the compute capability to behave like, times ten) unless given.
        include_dirs: folders for ``#include``, after the source's own.
        checked: whether every access is checked (about ten times slower).
    """

    def __init__(
        self,
        source: Path,
        *,
        defines: Mapping[str, str | int | None] | None = None,
        include_dirs: Sequence[Path] = (),
        checked: bool = False,
    ) -> None:
        self.checked = checked
        self._library_path = build_library(source.resolve(), defines or {}, include_dirs, checked)
        self._library = ctypes.CDLL(str(self._library_path))
        self._library.simt_module_begin.restype = ctypes.c_size_t
        self._variables = [
            _SharedVariable(offset, size, name.encode()) for offset, size, name in shared_variables(self._library_path)
        ]
        self._kernels = self._describe_kernels()

    @property
    def kernels(self) -> list[str]:
        """Names of all kernels."""
        return list(self._kernels)

    @property
    def static_shared_bytes(self) -> int:
        """Bytes of all ``__shared__`` variables of the module."""
        return sum(variable.bytes for variable in self._variables)

    def get_function(self, name: str) -> SimtKernel:
        """A kernel by name."""
        return SimtKernel(self, name)

    def get_global(self, name: str, dtype: Any, shape: int | tuple[int, ...]) -> NDArray[Any]:
        """A ``__constant__`` or ``__device__`` variable of external linkage, as an array to read and write."""
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        variable = (ctypes.c_ubyte * nbytes).in_dll(self._library, name)
        return np.ctypeslib.as_array(variable).view(np.uint8).view(dtype).reshape(shape)

    def launch(
        self,
        kernel: str,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        order: str | int = "ascending",
        intrinsic_error: float = 1.0,
    ) -> None:
        """Run a kernel to its end.

        Args:
            kernel: its name.
            grid: blocks along x, y, z; missing ones are 1.
            block: threads of a block, likewise.
            args: as for CuPy: NumPy arrays and :class:`DeviceArray` are pointers (NumPy arrays are copied in and out,
                those that are not writeable may only be read), None is a null pointer, NumPy scalars and structured
                scalars go by value.
            shared_mem: bytes of dynamic shared memory.
            order: in which threads are resumed: "ascending", "descending", or the seed (> 0) of a random order.
            intrinsic_error: 1: fast intrinsics (``__sinf``) err by up to what CUDA documents; 0: not at all.

        Raises:
            SimtError: the kernel did something wrong; the first such thing.
            TypeError: ``args`` are not what the kernel takes.
        """
        if kernel not in self._kernels:
            raise KeyError(f"kernel {kernel!r}: expected one of {', '.join(self._kernels)}")
        index, sizes, pointers = self._kernels[kernel]
        arguments = _Arguments(kernel, args, sizes, pointers)
        arrays = [
            _ArrayArgument(array.data.ptr, array.nbytes, array.writeable, array.name.encode())
            for array in DeviceArray._alive
        ]
        settings = _LaunchSettings(
            _three(grid),
            _three(block),
            shared_mem,
            ORDERS[order] if isinstance(order, str) else order,
            self.checked,
            intrinsic_error,
            (_ArrayArgument * len(arrays))(*arrays),
            len(arrays),
            (_SharedVariable * len(self._variables))(*self._variables),
            len(self._variables),
        )
        message = ctypes.create_string_buffer(1 << 16)
        fault = self._library.simt_launch(index, ctypes.byref(settings), arguments.pointers, message, len(message))
        if fault:
            raise FAULTS[fault](f"{kernel}: {self._with_places(message.value.decode())}")
        for array in list(DeviceArray._alive):
            array.check_guards()
        arguments.copy_back()

    def _with_places(self, message: str) -> str:
        begin = self._library.simt_module_begin()
        return re.sub(
            r"\{(0x[0-9a-f]+)\}", lambda found: source_place(self._library_path, int(found[1], 16) - begin), message
        )

    def _describe_kernels(self) -> dict[str, tuple[int, list[int], list[bool]]]:
        """By name: index, sizes of the parameters, which are pointers."""
        name, sizes, pointers = ctypes.c_char_p(), ctypes.POINTER(ctypes.c_size_t)(), ctypes.POINTER(ctypes.c_ubyte)()
        found: dict[str, tuple[int, list[int], list[bool]]] = {}
        while True:
            index = len(found)
            count = self._library.simt_describe(index, ctypes.byref(name), ctypes.byref(sizes), ctypes.byref(pointers))
            if count < 0 or name.value is None:
                return found
            found[name.value.decode()] = (index, list(sizes[:count]), [bool(flag) for flag in pointers[:count]])


def _three(counts: Sequence[int]) -> Any:
    return (ctypes.c_uint * 3)(*counts, *([1] * (3 - len(counts))))


class _Arguments:
    """The bytes of a kernel's arguments, checked against its parameters."""

    def __init__(self, kernel: str, args: Sequence[Any], sizes: Sequence[int], pointers: Sequence[bool]) -> None:
        if len(args) != len(sizes):
            raise TypeError(f"{kernel}: expected {len(sizes)} arguments, got {len(args)}")
        self._copies: dict[int, tuple[NDArray[Any], DeviceArray]] = {}
        self._bytes = []
        for i, (value, size, pointer) in enumerate(zip(args, sizes, pointers, strict=True)):
            raw = self._raw(value, i)
            is_address = (
                value is None or isinstance(value, DeviceArray) or (isinstance(value, np.ndarray) and value.ndim)
            )
            if len(raw) != size or (is_address and not pointer):
                raise TypeError(
                    f"{kernel}: argument {i}: expected {'a pointer' if pointer else f'{size} bytes by value'}, "
                    f"got {type(value).__name__} ({len(raw)} bytes)"
                )
            # As a kernel's parameters are aligned at most.
            block = np.zeros(len(raw) + 32, np.uint8)
            start = -block.ctypes.data % 16
            block[start : start + len(raw)] = np.frombuffer(raw, np.uint8)
            self._bytes.append((block, block.ctypes.data + start))
        self.pointers = (ctypes.c_void_p * len(args))(*[address for _, address in self._bytes])

    def _raw(self, value: Any, index: int) -> bytes:
        if value is None:
            return bytes(8)
        if isinstance(value, DeviceArray):
            return np.uint64(value.data.ptr).tobytes()
        if isinstance(value, np.ndarray) and value.ndim:
            if id(value) not in self._copies:
                self._copies[id(value)] = (value, DeviceArray(value, f"argument {index}", value.flags.writeable))
            return np.uint64(self._copies[id(value)][1].data.ptr).tobytes()
        if isinstance(value, np.generic | np.ndarray):
            return value.tobytes()
        raise TypeError(f"argument {index}: expected a NumPy array or scalar, got {type(value).__name__}")

    def copy_back(self) -> Self:
        """Into the NumPy arrays that were passed as pointers."""
        for array, copy in self._copies.values():
            if array.flags.writeable:
                array[...] = copy.get()
        return self
