"""The interface that every backend offers, and the choice of one."""

from contextlib import suppress
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import BackendError, Camera, Scene

from .frame import Frame
from .options import RenderOptions


class RenderCancelled(Exception):  # noqa: N818 - an outcome, not an error
    """Raised by ``Renderer.render`` when its :class:`CancelToken` was used: there is no frame."""


class CancelToken:
    """Stops a render that runs in another thread. Native code polls ``flag``, a uint8 array of one element."""

    def __init__(self) -> None:
        self.flag = np.zeros(1, dtype=np.uint8)

    def cancel(self) -> None:
        """Ask the render that was given this token to stop soon; may be called from any thread."""
        self.flag[0] = 1

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return bool(self.flag[0])


class Renderer(Protocol):
    """Renders one scene. Not to be used by two threads at once, apart from ``CancelToken.cancel``."""

    scene: Scene
    backend: str  # "reference", "cpu" or "cuda"

    @property
    def device(self) -> str:
        """What it runs on, for people: "AVX2 int16, 2 threads"."""
        ...

    def render(self, camera: Camera, options: RenderOptions, cancel: CancelToken | None = None) -> Frame:
        """Make one frame; the GIL is released meanwhile where the backend is native.

        Raises:
            RenderCancelled: ``cancel`` was used before the frame was done.
        """
        ...

    def query(
        self,
        points: NDArray[np.float32],  # [P, 3] world
        directions: NDArray[np.float32],  # [P, 3] unit, world
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Colour [P, 3] after the sigmoid and density [P] after the ReLU; 0 outside occupied space."""
        ...


@runtime_checkable
class PerRayRenderer(Protocol):
    """A renderer that can also say what each ray cost: CUDA and the reference."""

    def render_per_ray(self, camera: Camera, options: RenderOptions, cancel: CancelToken | None = None) -> Frame:
        """Like :meth:`Renderer.render`, with each ray's ``Frame.samples`` and ``Frame.network``."""
        ...


BACKENDS = ("auto", "cuda", "cpu", "reference")


def create_renderer(
    scene: Scene,
    backend: str = "auto",
    *,
    threads: int | None = None,
    device: int | None = None,
    cpu_path: str = "auto",
) -> Renderer:
    """Make a renderer for ``scene``.

    Args:
        scene: what to render.
        backend: "auto" (CUDA if it works here, else the CPU), "cuda", "cpu" or "reference".
        threads: threads of the CPU backend; None: one per core that this process may use.
        device: which CUDA device, as CUDA numbers them; None: the first. To name one is to ask for CUDA: "auto"
            then takes no other backend.
        cpu_path: code path of the CPU backend: "auto" (the best) or one of :func:`available_cpu_paths`. To name one is
            to ask for the CPU, in the same way.

    Raises:
        BackendError: the backend or the code path is unknown or cannot run on this machine.
    """
    if backend == "auto" and cpu_path != "auto":
        if device is not None:
            raise BackendError(f"backend 'auto': expected a CUDA device or a CPU path, got {device} and {cpu_path!r}")
        backend = "cpu"
    if backend == "cuda" or (backend == "auto" and device is not None):
        return _cuda_renderer(scene, device)
    if backend == "auto":
        with suppress(BackendError):
            return _cuda_renderer(scene, None)
    if backend in ("auto", "cpu"):
        from .cpu.renderer import CpuRenderer

        return CpuRenderer(scene, threads=threads, path=cpu_path)
    if backend == "reference":
        from .reference.renderer import ReferenceRenderer

        return ReferenceRenderer(scene)
    raise BackendError(f"backend {backend!r}: expected one of {', '.join(BACKENDS)}")


def _cuda_renderer(scene: Scene, device: int | None) -> Renderer:
    from .cuda.cupy_device import CupyDevice  # says at once, importing little, if CuPy is not installed
    from .cuda.renderer import CudaRenderer

    return CudaRenderer(scene, CupyDevice(device))


def query(
    scene: Scene,
    points: NDArray[np.float32],  # [P, 3] world
    directions: NDArray[np.float32],  # [P, 3] unit, world
    backend: str = "reference",
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour [P, 3] after the sigmoid and density [P] after the ReLU at world points; 0 outside occupied space."""
    return create_renderer(scene, backend).query(points, directions)
