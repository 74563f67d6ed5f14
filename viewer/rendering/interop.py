"""From the CUDA device into the window's texture, without the host where that is possible.

OpenGL and CUDA must be of the same GPU for it, which on hybrid graphics and remote displays they are not. Elsewhere
to register may end the process, so whose the OpenGL context is comes first. Every step after that may fail, and what
fails is never tried again: it costs the picture's speed, not the picture.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, Protocol

import moderngl

from kilonerf.kernels.frame import DevicePicture

Way = Literal["texture", "buffer", "host"]

GL_TEXTURE_2D = 0x0DE1
STREAM = 0  # the default one; renderers have streams of their own, which it does not wait for
FLOAT_BYTES = 4
MOST_DEVICES = 16
INSTALL = "pip install 'kilonerf-view[cuda]', or '[cuda12]' for drivers older than 580 and for V100"
OFFLOAD = "__NV_PRIME_RENDER_OFFLOAD=1 __GLX_VENDOR_LIBRARY_NAME=nvidia"


class InteropError(Exception):
    """A step towards a shared texture failed; the text says which and how."""


class OtherGpuError(InteropError):
    """OpenGL does not run on the pictures' device: nothing can be shared; the text says what helps."""


class CudaRuntime:
    """The functions of ``cuda.bindings.runtime``, with exceptions instead of status codes.

    Args:
        module: that module, or one with the same functions.
        vendor: part of the GL_VENDOR of contexts that may be asked about.
    """

    def __init__(self, module: Any, vendor: str = "NVIDIA") -> None:
        self._module = module
        self.vendor = vendor
        self.device_to_device = module.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self.write_discard = module.cudaGraphicsRegisterFlags.cudaGraphicsRegisterFlagsWriteDiscard
        self.all_devices = module.cudaGLDeviceList.cudaGLDeviceListAll

    def call(self, function: str, *arguments: Any) -> Any:
        """What ``function`` returns after its status: nothing, a value, or a tuple of values.

        Raises:
            InteropError: its status is not success.
        """
        try:
            status, *values = getattr(self._module, function)(*arguments)
        except RuntimeError as error:  # the driver's library is not there, or lacks the function
            raise InteropError(f"{function}: {' '.join(str(error).split())}") from error
        if status != self._module.cudaError_t.cudaSuccess:
            raise InteropError(f"{function}: {getattr(status, 'name', status)}")
        return values[0] if len(values) == 1 else tuple(values)


def load_runtime() -> CudaRuntime:
    """The runtime of cuda-bindings.

    Raises:
        InteropError: it is not installed, or does not load.
    """
    try:
        return CudaRuntime(importlib.import_module("cuda.bindings.runtime"))
    except ModuleNotFoundError as error:
        raise InteropError(f"cuda-bindings is not installed: {INSTALL}") from error
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise InteropError(f"cuda-bindings does not load ({' '.join(str(error).split())}): {INSTALL}") from error


class Shared(Protocol):
    """Something of OpenGL's that CUDA can write to, on its way into one texture."""

    def fill(self, pointer: int) -> None:
        """Fill the texture with the device's memory at ``pointer``: float32 rows without gaps, the first on top.

        Raises:
            InteropError: a step failed; nothing stays mapped.
        """
        ...

    def release(self) -> None:
        """Let CUDA forget it; to be called before the texture is released."""
        ...


class SharedTexture:
    """A texture that is registered with CUDA: one copy within the device.

    Args:
        runtime: CUDA.
        texture: of 4 float32 components; CUDA shares none of three.

    Raises:
        InteropError: it cannot be registered.
    """

    def __init__(self, runtime: CudaRuntime, texture: moderngl.Texture) -> None:
        self._runtime = runtime
        self._row_bytes = FLOAT_BYTES * texture.components * texture.width
        self._rows = texture.height
        self._resource = runtime.call(
            "cudaGraphicsGLRegisterImage", texture.glo, GL_TEXTURE_2D, int(runtime.write_discard)
        )

    def fill(self, pointer: int) -> None:
        """See :class:`Shared`."""
        runtime = self._runtime
        with _mapped(runtime, self._resource):
            array = runtime.call("cudaGraphicsSubResourceGetMappedArray", self._resource, 0, 0)
            copy = (array, 0, 0, pointer, self._row_bytes, self._row_bytes, self._rows)
            runtime.call("cudaMemcpy2DToArrayAsync", *copy, runtime.device_to_device, STREAM)

    def release(self) -> None:
        """See :class:`Shared`."""
        _unregister(self._runtime, self._resource)


class SharedBuffer:
    """A pixel buffer that is registered with CUDA: one copy within the device, and OpenGL's from it to the texture.

    Args:
        runtime: CUDA.
        texture: of float32 components.

    Raises:
        InteropError: the buffer cannot be made or registered.
    """

    def __init__(self, runtime: CudaRuntime, texture: moderngl.Texture) -> None:
        self._runtime = runtime
        self._texture = texture
        self._size = FLOAT_BYTES * texture.components * texture.width * texture.height
        try:
            self._buffer = texture.ctx.buffer(reserve=self._size, dynamic=True)
        except moderngl.Error as error:
            raise InteropError(f"a pixel buffer of {self._size} bytes: {error}") from error
        try:
            self._resource = runtime.call("cudaGraphicsGLRegisterBuffer", self._buffer.glo, int(runtime.write_discard))
        except InteropError:
            self._buffer.release()
            raise

    def fill(self, pointer: int) -> None:
        """See :class:`Shared`."""
        runtime = self._runtime
        with _mapped(runtime, self._resource):
            there, size = runtime.call("cudaGraphicsResourceGetMappedPointer", self._resource)
            if size < self._size:
                raise InteropError(f"cudaGraphicsResourceGetMappedPointer: {size} bytes, expected {self._size}")
            runtime.call("cudaMemcpyAsync", there, pointer, self._size, runtime.device_to_device, STREAM)
        self._texture.write(self._buffer)

    def release(self) -> None:
        """See :class:`Shared`."""
        _unregister(self._runtime, self._resource)
        self._buffer.release()


class Interop:
    """Takes finished frames from the device into a picture's texture, by the best way that works.

    Args:
        load: gives the CUDA runtime, when a frame first needs it.
        wanted: whether anything but the host is to be tried.

    Attributes:
        way: how frames reach the window: straight into its texture, through a pixel buffer or through the host. It only
            ever goes on to the next of these.
    """

    def __init__(self, load: Callable[[], CudaRuntime] = load_runtime, *, wanted: bool = True) -> None:
        self._load = load
        self._runtime: CudaRuntime | None = None
        self._shared: Shared | None = None
        self._opengl_device: int | None = None  # known to be that of OpenGL
        self._problem: str | None = None
        self.way: Way = "texture" if wanted else "host"

    def fill(self, picture: DevicePicture, texture: moderngl.Texture) -> bool:
        """Fill ``texture`` (RGB and z-depth) from ``picture``, of whose size it is.

        It must be the texture of the call before, unless :meth:`let_go` was called since.

        Returns:
            False if it must go through the host, now and from now on.
        """
        failure = ""
        while self.way != "host":
            try:
                self._fill(picture, texture)
            except OtherGpuError as error:
                failure = str(error)
                self.let_go()
                self.way = "host"
            except InteropError as error:
                failure = failure or self._advice(str(error))
                self.let_go()
                self.way = "buffer" if self.way == "texture" and self._runtime is not None else "host"
            else:
                break
        if failure:
            self._problem = f"{CONSEQUENCE[self.way]}: {failure}"
        return self.way != "host"

    def take_problem(self) -> str | None:
        """What did not work, why, and what helps, as one line; once for each time that :attr:`way` changed."""
        problem, self._problem = self._problem, None
        return problem

    def let_go(self) -> None:
        """Unregister the texture; to be called before it is released."""
        if self._shared is not None:
            self._shared.release()
            self._shared = None

    def _fill(self, picture: DevicePicture, texture: moderngl.Texture) -> None:
        if self._runtime is None:
            self._runtime = self._load()
        runtime = self._runtime
        runtime.call("cudaSetDevice", picture.device_index)  # CuPy may have chosen another one in this thread
        if self._opengl_device != picture.device_index:
            check_same_gpu(runtime, picture.device_index, texture.ctx)
            self._opengl_device = picture.device_index
        if self._shared is None:
            self._shared = (SharedTexture if self.way == "texture" else SharedBuffer)(runtime, texture)
        self._shared.fill(picture.pointer("rgbz"))
        # The picture's memory may be reused once the last reference is gone.
        runtime.call("cudaStreamSynchronize", STREAM)

    def _advice(self, failure: str) -> str:
        """The failure, and what helps."""
        if self._runtime is None:
            return failure
        if "cudaErrorMemoryAllocation" in failure:
            return f"{failure}: the GPU's memory is full, close other programs"
        return f"{failure}: a newer NVIDIA driver may help"


def check_same_gpu(runtime: CudaRuntime, device: int, ctx: moderngl.Context) -> None:
    """Ask whose the current OpenGL context is; CUDA is asked nothing about another vendor's.

    Raises:
        OtherGpuError: it is not on that CUDA device, and what helps.
    """
    vendor, renderer = ctx.info["GL_VENDOR"], ctx.info["GL_RENDERER"]
    failure, of_opengl = f"its vendor is {vendor}", []
    if runtime.vendor in vendor:
        try:
            count, devices = runtime.call("cudaGLGetDevices", MOST_DEVICES, runtime.all_devices)
            failure, of_opengl = "cudaGLGetDevices lists none", [int(index) for index in devices[:count]]
        except InteropError as error:
            failure = str(error)
    if not of_opengl:
        raise OtherGpuError(
            f"OpenGL runs on {renderer}, which CUDA does not share with ({failure}): "
            f"if it should be the NVIDIA GPU, start with {OFFLOAD}"
        )
    if device not in of_opengl:
        other = of_opengl[0]
        raise OtherGpuError(
            f"OpenGL runs on CUDA device {other}, pictures are made on {device}: start with --device {other}"
        )


TRANSFERS: dict[Way, str] = {"texture": "shared texture", "buffer": "shared buffer", "host": "through the host"}
"""The ways in a word or two."""

CONSEQUENCE: dict[Way, str] = {
    "texture": "Pictures go straight into the window's texture",
    "buffer": "Pictures reach the window through a pixel buffer",
    "host": "Pictures reach the window by way of the host, which takes longer",
}


@contextmanager
def _mapped(runtime: CudaRuntime, resource: Any) -> Iterator[None]:
    """CUDA may use ``resource`` meanwhile, and OpenGL not; the first of several failures is the one that is raised."""
    runtime.call("cudaGraphicsMapResources", 1, resource, STREAM)
    try:
        yield
    except InteropError:
        with suppress(InteropError):
            runtime.call("cudaGraphicsUnmapResources", 1, resource, STREAM)
        raise
    runtime.call("cudaGraphicsUnmapResources", 1, resource, STREAM)


def _unregister(runtime: CudaRuntime, resource: Any) -> None:
    with suppress(InteropError):  # a device that failed has forgotten it already
        runtime.call("cudaGraphicsUnregisterResource", resource)
