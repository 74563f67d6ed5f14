"""A CUDA runtime whose device memory is the host's, sharing real OpenGL objects: what CUDA would refuse, it refuses."""

import ctypes
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np

from kilonerf.kernels import Frame
from kilonerf.kernels.cuda.pictures import CudaPicture, LaunchedFrame
from kilonerf.kernels.frame import OPAQUE
from kilonerf.model_io import BackendError, Camera

GL_TEXTURE_2D, GL_PIXEL_BUFFER = 0x0DE1, 0x88EC
GL_FLOAT, WIDTH, HEIGHT, INTERNAL_FORMAT, BUFFER_SIZE = 0x1406, 0x1000, 0x1001, 0x1003, 0x8764
SHARED_FORMATS = {0x822E: (1, 0x1903), 0x8814: (4, 0x1908)}  # R32F and RGBA32F: components, pixel format; not RGB32F


cudaError_t = IntEnum(  # noqa: N816 - CUDA's own names
    "cudaError_t",
    {
        "cudaSuccess": 0,
        "cudaErrorInvalidValue": 1,
        "cudaErrorMemoryAllocation": 2,
        "cudaErrorNoDevice": 100,
        "cudaErrorOperatingSystem": 304,
        "cudaErrorUnknown": 999,
    },
)


@dataclass(eq=False)
class Resource:
    """A registered texture or buffer."""

    glo: int
    target: int
    mapped: bool = False


@dataclass(eq=False)
class Array:
    """The cudaArray of a mapped texture."""

    resource: Resource


class FakeCudart:
    """Stands in for ``cuda.bindings.runtime``.

    Attributes:
        failing: status by function: from now on that function does nothing else than to return it.
        failing_from: status by function and number of its calls: it fails from that call on.
        devices: those that OpenGL runs on; None: that cannot be told.
        mapped_share: how much of a mapped buffer CUDA says it may use.
        registered: what is registered now.
        calls: all calls, with their arguments.
    """

    cudaError_t = cudaError_t  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyDeviceToDevice=3)  # noqa: N815
    cudaGraphicsRegisterFlags = SimpleNamespace(cudaGraphicsRegisterFlagsWriteDiscard=2)  # noqa: N815
    cudaGLDeviceList = SimpleNamespace(cudaGLDeviceListAll=1)  # noqa: N815

    def __init__(self) -> None:
        self._gl = ctypes.CDLL("libGL.so.1")
        self.failing: dict[str, cudaError_t] = {}
        self.failing_from: dict[tuple[str, int], cudaError_t] = {}
        self.devices: list[int] | None = [0]
        self.mapped_share = 1.0
        self.registered: list[Resource] = []
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.counts: Counter[str] = Counter()
        self._mapped_buffer: ctypes.Array[ctypes.c_char] | None = None

    def is_buffer(self, glo: int) -> bool:
        """Whether OpenGL has such a buffer."""
        return bool(self._gl.glIsBuffer(glo))

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)
        return lambda *arguments: self._call(name, arguments)

    def _call(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        self.calls.append((name, arguments))
        self.counts[name] += 1
        failures = [self.failing.get(name)]
        failures += [s for (f, first), s in self.failing_from.items() if f == name and self.counts[name] >= first]
        status = next((failure for failure in failures if failure is not None), None)
        if status is not None:
            if name == "cudaGraphicsUnmapResources":
                arguments[1].mapped = False
            return (status, None)
        done = getattr(self, f"_{name}")(*arguments)
        if isinstance(done, cudaError_t):
            return (done, None)
        return (cudaError_t.cudaSuccess, *done)

    def _cudaSetDevice(self, index: int) -> Any:  # noqa: N802
        return () if index in (0, 1) else cudaError_t.cudaErrorInvalidValue

    def _cudaStreamSynchronize(self, stream: int) -> Any:  # noqa: N802
        assert not [resource for resource in self.registered if resource.mapped]
        return ()

    def _cudaGLGetDevices(self, count: int, which: int) -> Any:  # noqa: N802
        if self.devices is None:
            return cudaError_t.cudaErrorOperatingSystem
        return (len(self.devices), self.devices + [0] * (count - len(self.devices)))

    def _cudaGraphicsGLRegisterImage(self, glo: int, target: int, flags: int) -> Any:  # noqa: N802
        assert (target, flags) == (GL_TEXTURE_2D, 2)
        if not self._gl.glIsTexture(glo) or self._texture(glo)[2] not in SHARED_FORMATS:
            return cudaError_t.cudaErrorInvalidValue
        return self._register(glo, GL_TEXTURE_2D)

    def _cudaGraphicsGLRegisterBuffer(self, glo: int, flags: int) -> Any:  # noqa: N802
        assert flags == 2
        if not self._gl.glIsBuffer(glo):
            return cudaError_t.cudaErrorInvalidValue
        return self._register(glo, GL_PIXEL_BUFFER)

    def _register(self, glo: int, target: int) -> Any:
        assert not [known for known in self.registered if (known.glo, known.target) == (glo, target)]
        self.registered.append(Resource(glo, target))
        return (self.registered[-1],)

    def _cudaGraphicsMapResources(self, count: int, resource: Resource, stream: int) -> Any:  # noqa: N802
        assert count == 1
        assert resource in self.registered
        assert not resource.mapped
        resource.mapped = True
        return ()

    def _cudaGraphicsUnmapResources(self, count: int, resource: Resource, stream: int) -> Any:  # noqa: N802
        assert count == 1
        assert resource.mapped
        resource.mapped = False
        if self._mapped_buffer is not None:
            self._gl.glBindBuffer(GL_PIXEL_BUFFER, resource.glo)
            size = ctypes.c_ssize_t(len(self._mapped_buffer))
            self._gl.glBufferSubData(GL_PIXEL_BUFFER, ctypes.c_ssize_t(0), size, self._mapped_buffer)
            self._gl.glBindBuffer(GL_PIXEL_BUFFER, 0)
            self._mapped_buffer = None
        return ()

    def _cudaGraphicsUnregisterResource(self, resource: Resource) -> Any:  # noqa: N802
        alive = self._gl.glIsTexture if resource.target == GL_TEXTURE_2D else self._gl.glIsBuffer
        assert alive(resource.glo), "OpenGL's object was deleted before CUDA was told"
        assert not resource.mapped
        self.registered.remove(resource)
        return ()

    def _cudaGraphicsSubResourceGetMappedArray(self, resource: Resource, index: int, level: int) -> Any:  # noqa: N802
        assert (resource.target, resource.mapped, index, level) == (GL_TEXTURE_2D, True, 0, 0)
        return (Array(resource),)

    def _cudaGraphicsResourceGetMappedPointer(self, resource: Resource) -> Any:  # noqa: N802
        assert (resource.target, resource.mapped) == (GL_PIXEL_BUFFER, True)
        size = ctypes.c_int()
        self._gl.glBindBuffer(GL_PIXEL_BUFFER, resource.glo)
        self._gl.glGetBufferParameteriv(GL_PIXEL_BUFFER, BUFFER_SIZE, ctypes.byref(size))
        self._gl.glBindBuffer(GL_PIXEL_BUFFER, 0)
        self._mapped_buffer = ctypes.create_string_buffer(size.value)
        return (ctypes.addressof(self._mapped_buffer), int(self.mapped_share * size.value))

    def _cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> Any:  # noqa: N802
        assert kind == 3
        assert self._mapped_buffer is not None
        assert to == ctypes.addressof(self._mapped_buffer)
        assert size <= len(self._mapped_buffer)
        ctypes.memmove(to, source, size)
        return ()

    def _cudaMemcpy2DToArrayAsync(  # noqa: N802
        self, to: Array, x: int, y: int, source: int, pitch: int, row: int, rows: int, kind: int, stream: int
    ) -> Any:
        assert (x, y, kind) == (0, 0, 3)
        assert to.resource.mapped
        width, height, internal = self._texture(to.resource.glo)
        components, pixel_format = SHARED_FORMATS[internal]
        assert (pitch, row, rows) == (4 * components * width, 4 * components * width, height)
        self._gl.glBindTexture(GL_TEXTURE_2D, to.resource.glo)
        data = ctypes.c_void_p(source)
        self._gl.glTexSubImage2D(GL_TEXTURE_2D, 0, 0, 0, width, height, pixel_format, GL_FLOAT, data)
        return ()

    def _texture(self, glo: int) -> tuple[int, int, int]:
        """Width, height, internal format."""
        self._gl.glBindTexture(GL_TEXTURE_2D, glo)
        found = []
        for what in (WIDTH, HEIGHT, INTERNAL_FORMAT):
            value = ctypes.c_int()
            self._gl.glGetTexLevelParameteriv(GL_TEXTURE_2D, 0, what, ctypes.byref(value))
            found.append(value.value)
        return found[0], found[1], found[2]


@dataclass(eq=False)
class HostArray:
    """An array of the device whose memory is the host's."""

    data: np.ndarray

    @property
    def pointer(self) -> int:
        return self.data.ctypes.data

    @property
    def nbytes(self) -> int:
        return self.data.nbytes


class HostDevice:
    """What a :class:`CudaPicture` asks of a device."""

    def __init__(self, index: int = 0) -> None:
        self.index = index
        self.downloads = 0
        self.broken = False

    def active(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def download(self, arrays: list[HostArray]) -> list[np.ndarray]:
        if self.broken:
            raise BackendError("backend 'cuda': the device fell off the bus")
        self.downloads += 1
        return [array.data.copy() for array in arrays]


def on_device(frame: Frame, device: HostDevice | None = None) -> Frame:
    """``frame`` as if a CUDA device had made it and it were still there."""
    height, width = frame.alpha.shape
    solid = np.where(frame.alpha >= OPAQUE, frame.depth, np.inf)
    arrays = {
        "rgbz": HostArray(np.ascontiguousarray(np.concatenate([frame.rgb, solid[..., None]], axis=-1), np.float32)),
        "alpha": HostArray(np.ascontiguousarray(frame.alpha, np.float32)),
        "depth": HostArray(np.ascontiguousarray(frame.depth, np.float32)),
    }
    camera = Camera.look_at((3.0, 2.0, 1.0), (0.0, 0.0, 0.0), width, height)
    launched = LaunchedFrame(camera, arrays, (None, None))
    return Frame.on_device(CudaPicture(launched, device or HostDevice()), frame.statistics)  # type: ignore[arg-type]
