"""From the CUDA device into the window's textures, without the host where that is possible: found out by trying.

OpenGL and CUDA must be of the same GPU for it, which on hybrid graphics and remote displays they are not. So every
step may fail, and what fails is never tried again: it costs the picture's speed, not the picture.
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
INSTALL = "pip install 'kilonerf-view[cuda]'"
OFFLOAD = "__NV_PRIME_RENDER_OFFLOAD=1 __GLX_VENDOR_LIBRARY_NAME=nvidia"


class InteropError(Exception):
    """A step towards a shared texture failed; the text says which and how."""


class CudaRuntime:
    """The functions of ``cuda.bindings.runtime``, with exceptions instead of status codes.

    Args:
        module: that module, or one with the same functions.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
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
        texture: of 1 or 4 float32 components; CUDA shares none of three.

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
    """Takes finished frames from the device into a picture's textures, by the best way that works.

    Args:
        load: gives the CUDA runtime, when a frame first needs it.
        wanted: whether anything but the host is to be tried.

    Attributes:
        way: how frames reach the window: straight into its textures, through pixel buffers or through the host. It only
            ever goes on to the next of these.
    """

    def __init__(self, load: Callable[[], CudaRuntime] = load_runtime, *, wanted: bool = True) -> None:
        self._load = load
        self._runtime: CudaRuntime | None = None
        self._shared: list[Shared] = []
        self._problem: str | None = None
        self.way: Way = "texture" if wanted else "host"

    def fill(self, picture: DevicePicture, color: moderngl.Texture, depth: moderngl.Texture) -> bool:
        """Fill ``color`` (RGBA) and ``depth`` (one component) from ``picture``, of whose size they are.

        They must be the textures of the call before, unless :meth:`let_go` was called since.

        Returns:
            False if it must go through the host, now and from now on.
        """
        failure = ""
        while self.way != "host":
            try:
                self._fill(picture, color, depth)
            except InteropError as error:
                failure = failure or str(error)
                self.let_go()
                self.way = "buffer" if self.way == "texture" and self._runtime is not None else "host"
            else:
                break
        if failure:
            self._problem = f"{CONSEQUENCE[self.way]}: {self._cause(failure, picture.device_index, color.ctx)}"
        return self.way != "host"

    def take_problem(self) -> str | None:
        """What did not work, why, and what helps, as one line; once for each time that :attr:`way` changed."""
        problem, self._problem = self._problem, None
        return problem

    def let_go(self) -> None:
        """Unregister the textures; to be called before they are released."""
        while self._shared:
            self._shared.pop().release()

    def _fill(self, picture: DevicePicture, color: moderngl.Texture, depth: moderngl.Texture) -> None:
        if self._runtime is None:
            self._runtime = self._load()
        runtime = self._runtime
        runtime.call("cudaSetDevice", picture.device_index)  # CuPy may have chosen another one in this thread
        if not self._shared:
            kind = SharedTexture if self.way == "texture" else SharedBuffer
            for texture in (color, depth):
                self._shared.append(kind(runtime, texture))
        for shared, name in zip(self._shared, ("rgba", "solid_depth"), strict=True):
            shared.fill(picture.pointer(name))
        # The picture's memory may be reused once the last reference is gone.
        runtime.call("cudaStreamSynchronize", STREAM)

    def _cause(self, failure: str, device: int, ctx: moderngl.Context) -> str:
        """Why sharing failed, and what helps."""
        if self._runtime is None:
            return failure
        if "cudaErrorMemoryAllocation" in failure:
            return f"{failure}: the GPU's memory is full, close other programs"
        try:
            count, devices = self._runtime.call("cudaGLGetDevices", MOST_DEVICES, self._runtime.all_devices)
        except InteropError:
            count, devices = 0, []
        of_opengl = [int(index) for index in devices[:count]]
        if not of_opengl:
            return (
                f"OpenGL runs on {ctx.info['GL_RENDERER']}, which CUDA does not share with ({failure}): "
                f"if it should be the NVIDIA GPU, start with {OFFLOAD}"
            )
        if device not in of_opengl:
            other = of_opengl[0]
            return f"OpenGL runs on CUDA device {other}, pictures are made on {device}: start with --device {other}"
        return f"{failure}: a newer NVIDIA driver may help"


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
