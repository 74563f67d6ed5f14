"""A CUDA device through CuPy, and in one line each what can be in the way of one."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kilonerf.model_io import BackendError

from .device import INCLUDE_FOLDERS, KERNELS, OPTIONS, Defines, OutOfDeviceMemoryError, sources_digest

OTHER_CUDA = "pip uninstall cupy-cuda13x, then pip install 'kilonerf-view[cuda12]'"
INSTALL = "pip install 'kilonerf-view[cuda]', or '[cuda12]' for drivers older than 580 and for V100"
OLDEST = (7, 0)  # compute capability
OLDEST_OF_CUDA_13 = (7, 5)
NO_DEVICE, INSUFFICIENT_DRIVER = 100, 35  # cudaError_t
DEVICE_FILES = Path("/dev")
FAILURES = (RuntimeError, MemoryError, OSError)  # what CuPy's errors are: runtime, driver, compiler, memory, libraries


def cupy_is_installed() -> bool:
    """Whether there is a CuPy to try; imports nothing."""
    return "cupy" in sys.modules or importlib.util.find_spec("cupy") is not None


class CupyArray:
    """Memory on the device, with the shape and type that its contents have on the host."""

    def __init__(self, memory: Any, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.memory = memory  # cupy uint8 [bytes]: CuPy need not know the structures in it
        self.shape, self.dtype = shape, np.dtype(dtype)

    @property
    def pointer(self) -> int:
        """See :class:`~kilonerf.kernels.cuda.device.DeviceArray`."""
        return int(self.memory.data.ptr)

    @property
    def nbytes(self) -> int:
        """See :class:`~kilonerf.kernels.cuda.device.DeviceArray`."""
        return int(self.memory.nbytes)


class CupyKernel:
    """A function of a ``cupy.RawModule``."""

    def __init__(self, cupy: Any, function: Any) -> None:
        self._cupy = cupy
        self._function = function
        self._blocks: dict[int, int] = {}

    def blocks_per_multiprocessor(self, threads: int) -> int:
        """See :class:`~kilonerf.kernels.cuda.device.DeviceKernel`."""
        if threads not in self._blocks:
            query = self._cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor
            self._blocks[threads] = int(query(self._function.kernel.ptr, threads, 0))
        return self._blocks[threads]

    def launch(self, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        """See :class:`~kilonerf.kernels.cuda.device.DeviceKernel`."""
        plain = tuple(value.memory if isinstance(value, CupyArray) else value for value in arguments)
        try:
            self._function((blocks,), (threads,), plain)
        except self._cupy.cuda.driver.CUDADriverError as error:
            raise BackendError(f"backend 'cuda': the launch failed: {_line(error)}") from error


class CupyDevice:
    """One CUDA device, with a stream of its own.

    Args:
        index: which, as CUDA numbers them; None: the first.

    Raises:
        BackendError: CuPy or the driver is missing or too old, there is no such device, it may not be used, or it is
            too old; which of these, and what to do.
    """

    def __init__(self, index: int | None = None) -> None:
        self._cupy = cupy = _import_cupy()
        runtime = cupy.cuda.runtime
        count = _device_count(runtime)
        self.index = 0 if index is None else index
        if not 0 <= self.index < count:
            raise BackendError(
                f"backend 'cuda': device {self.index}: expected 0 to {count - 1}: {_names(runtime, count)}"
            )
        try:
            properties = runtime.getDeviceProperties(self.index)
            self.name = properties["name"].decode()
            capability = (int(properties["major"]), int(properties["minor"]))
            if capability < OLDEST:
                raise BackendError(
                    f"backend 'cuda': {self.name} has compute capability {capability[0]}.{capability[1]}, "
                    f"expected {OLDEST[0]}.{OLDEST[1]} or newer: use --backend cpu"
                )
            if capability < OLDEST_OF_CUDA_13 and int(runtime.runtimeGetVersion()) >= 13000:
                raise BackendError(
                    f"backend 'cuda': {self.name} has compute capability {capability[0]}.{capability[1]}, "
                    f"CUDA 13 expects {OLDEST_OF_CUDA_13[0]}.{OLDEST_OF_CUDA_13[1]} or newer: {OTHER_CUDA}"
                )
            self.architecture = 10 * capability[0] + capability[1]
            self.multiprocessors = int(properties["multiProcessorCount"])
            with cupy.cuda.Device(self.index):
                self._stream = cupy.cuda.Stream(non_blocking=True)
        except FAILURES as error:  # busy, of exclusive use, in a bad state
            raise BackendError(f"backend 'cuda': device {self.index} cannot be used: {_line(error)}") from error

    def active(self) -> ExitStack:
        """See :class:`~kilonerf.kernels.cuda.device.CudaDevice`."""
        stack = ExitStack()
        stack.push(self._raise_backend_error)
        try:
            stack.enter_context(self._cupy.cuda.Device(self.index))
            stack.enter_context(self._stream)
        except FAILURES as error:
            raise self._failed(error) from error
        return stack

    def _raise_backend_error(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """On the way out of :meth:`active`: what CUDA raised in it becomes the error that callers know."""
        if isinstance(error, FAILURES):
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> BackendError:
        return BackendError(f"backend 'cuda': {self.name} failed: {type(error).__name__}: {_line(error)}")

    def free_bytes(self) -> int:
        """See :class:`~kilonerf.kernels.cuda.device.CudaDevice`."""
        free, _ = self._cupy.cuda.runtime.memGetInfo()
        return int(free) + int(self._cupy.get_default_memory_pool().free_bytes())

    def upload(self, array: NDArray[Any], name: str) -> CupyArray:
        """See :class:`~kilonerf.kernels.cuda.device.CudaDevice`."""
        there = self.allocate(array.shape, array.dtype, name)
        if there.nbytes:
            there.memory.set(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        return there

    def allocate(self, shape: tuple[int, ...], dtype: DTypeLike, name: str) -> CupyArray:
        """See :class:`~kilonerf.kernels.cuda.device.CudaDevice`."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        try:
            return CupyArray(self._cupy.empty(size, np.uint8), shape, dtype)
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            raise OutOfDeviceMemoryError(name) from error

    def clear(self, array: CupyArray) -> None:
        """See :class:`~kilonerf.kernels.cuda.device.CudaDevice`."""
        array.memory.data.memset_async(0, array.nbytes, self._stream)

    def download(self, arrays: Sequence[CupyArray]) -> list[NDArray[Any]]:
        """See :class:`~kilonerf.kernels.cuda.device.CudaDevice`; into pinned memory, which CuPy keeps for the next."""
        copies: list[NDArray[Any]] = []
        try:
            for array in arrays:
                if array.nbytes:
                    pinned = self._cupy.cuda.alloc_pinned_memory(array.nbytes)
                    copy = np.frombuffer(pinned, np.uint8, array.nbytes)
                    array.memory.get(stream=self._stream, out=copy, blocking=False)
                else:
                    copy = np.empty(0, np.uint8)
                copies.append(copy.view(array.dtype).reshape(array.shape))
            self._stream.synchronize()
        except self._cupy.cuda.runtime.CUDARuntimeError as error:
            raise BackendError(f"backend 'cuda': {self.name} failed: {_line(error)}") from error
        return copies

    def mark(self) -> Any:
        """See :class:`~kilonerf.kernels.cuda.device.CudaDevice`: an event."""
        event = self._cupy.cuda.Event()
        event.record(self._stream)
        return event

    def milliseconds(self, begin: Any, end: Any) -> float:
        """See :class:`~kilonerf.kernels.cuda.device.CudaDevice`."""
        end.synchronize()
        return float(self._cupy.cuda.get_elapsed_time(begin, end))

    def kernel(self, source: str, name: str, defines: Defines) -> CupyKernel:
        """See :class:`~kilonerf.kernels.cuda.device.CudaDevice`: compiled by NVRTC, kept in CuPy's cache on disk."""
        options = (
            *OPTIONS,
            *(f"-D{key}" if value is None else f"-D{key}={value}" for key, value in defines.items()),
            # CuPy's cache looks at the options and at the one source, not at what it includes.
            f"-DKNF_SOURCES={sources_digest()}",
            *(f"-I{folder}" for folder in [*INCLUDE_FOLDERS, *toolkit_headers()]),
        )
        try:
            module = self._cupy.RawModule(code=(KERNELS / source).read_text(), options=options)
            kernel = CupyKernel(self._cupy, module.get_function(name))
            kernel.blocks_per_multiprocessor(1)  # compiles and loads it
        except self._cupy.cuda.compiler.CompileException as error:
            raise BackendError(f"backend 'cuda': {source} does not compile: {_line(error)}: {INSTALL}") from error
        except (ImportError, OSError, RuntimeError) as error:  # NVRTC or a library that it loads is not there
            raise BackendError(f"backend 'cuda': {source} cannot be compiled: {_line(error)}: {INSTALL}") from error
        return kernel


def toolkit_headers() -> list[Path]:
    """The folder with cuda_fp16.h: of a wheel, or of a toolkit that is installed; empty if CuPy must know."""
    candidates: list[Path] = []
    for package, folder in (("nvidia.cuda_runtime", "include"), ("nvidia.cu13", "include")):
        try:
            spec = importlib.util.find_spec(package)
        except ImportError:
            continue
        places = spec.submodule_search_locations if spec is not None else None
        candidates.extend(Path(place) / folder for place in places or [])
    toolkits = [os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    candidates.extend(Path(toolkit) / "include" for toolkit in toolkits if toolkit)
    return [folder for folder in candidates if (folder / "cuda_fp16.h").is_file()][:1]


def _import_cupy() -> Any:
    if not cupy_is_installed():
        raise BackendError(f"backend 'cuda': CuPy is not installed: {INSTALL}")
    try:
        return importlib.import_module("cupy")
    except Exception as error:  # its libraries are loaded here, and fail in many ways
        raise BackendError(f"backend 'cuda': CuPy does not load: {_line(error)}: {INSTALL}") from error


def _device_count(runtime: Any) -> int:
    """How many devices there are, at least 1.

    Raises:
        BackendError: none can be used, and why.
    """
    try:
        count = int(runtime.getDeviceCount())
    except runtime.CUDARuntimeError as error:
        forbidden = _forbidden_device()
        if forbidden is not None:
            raise BackendError(
                f"backend 'cuda': no permission to use {forbidden}: add your user to the group that owns it"
            ) from error
        if error.status == INSUFFICIENT_DRIVER:
            raise BackendError(_driver_message(runtime)) from error
        if error.status != NO_DEVICE:
            raise BackendError(f"backend 'cuda': {_line(error)}: does nvidia-smi work?") from error
        count = 0
    if count == 0:
        raise BackendError(
            "backend 'cuda': no NVIDIA GPU is visible: see nvidia-smi and CUDA_VISIBLE_DEVICES, or use --backend cpu"
        )
    return count


def _driver_message(runtime: Any) -> str:
    needed, found = int(runtime.runtimeGetVersion()) // 1000, int(runtime.driverGetVersion())
    if found == 0:
        return "backend 'cuda': no NVIDIA driver is loaded: install one (nvidia-smi then lists the GPU)"
    cure = f", or {OTHER_CUDA}" if needed == 13 and found >= 12000 else ""
    return (
        f"backend 'cuda': the NVIDIA driver is too old: it is for CUDA {found // 1000}.{found % 1000 // 10}, "
        f"CuPy needs {needed}.0 or newer: update the driver{cure}"
    )


def _forbidden_device() -> Path | None:
    """A device file of the driver that this user may not open, or None."""
    files = [DEVICE_FILES / "nvidiactl", *sorted(DEVICE_FILES.glob("nvidia[0-9]*"))]
    present = [path for path in files if path.exists()]
    return next((path for path in present if not os.access(path, os.R_OK | os.W_OK)), None)


def _names(runtime: Any, count: int) -> str:
    return ", ".join(f"{i} is {runtime.getDeviceProperties(i)['name'].decode()}" for i in range(count))


def _line(error: BaseException) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
