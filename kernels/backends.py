"""Which backend renders: the choice, and the factory that follows it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import BackendError, Scene

from .renderer import Renderer

BACKENDS = ("auto", "cuda", "cpu", "reference")


@dataclass(frozen=True)
class BackendChoice:
    """What is to render.

    Attributes:
        name: "auto" (CUDA if it works here, else the CPU), "cuda", "cpu" or "reference".
        threads: threads of the CPU backend; None: one per core that this process may use.
        device: which CUDA device, as CUDA numbers them; None: the first. To name one is to ask for CUDA: "auto" then
            takes no other backend.
        cpu_path: code path of the CPU backend: "auto" (the best) or one of
            :func:`~kilonerf.kernels.cpu.paths.available_cpu_paths`. To name one is to ask for the CPU, in the same way.
    """

    name: str = "auto"
    threads: int | None = None
    device: int | None = None
    cpu_path: str = "auto"

    @property
    def meant(self) -> str:
        """The backend's name once what comes with it is taken into account: a device means CUDA, a path the CPU.

        Raises:
            BackendError: the backend is unknown, or both a device and a path are named.
        """
        if self.name not in BACKENDS:
            raise BackendError(f"backend {self.name!r}: expected one of {', '.join(BACKENDS)}")
        if self.name != "auto":
            return self.name
        if self.device is not None and self.cpu_path != "auto":
            raise BackendError(
                f"backend 'auto': expected a CUDA device or a CPU path, got {self.device} and {self.cpu_path!r}"
            )
        if self.device is not None:
            return "cuda"
        return "auto" if self.cpu_path == "auto" else "cpu"


def create_renderer(scene: Scene, backend: str | BackendChoice = "auto") -> Renderer:
    """Make a renderer for ``scene``.

    Args:
        scene: what to render.
        backend: a backend's name, or a choice that also says on which device, by how many threads, or by which code
            path. If "auto" had to pass over a GPU that seemed to be there, the renderer's ``fallback`` says why.

    Raises:
        BackendError: the backend or the code path is unknown or cannot run on this machine.
    """
    choice = BackendChoice(backend) if isinstance(backend, str) else backend
    name = choice.meant
    if name == "cuda":
        return _cuda_renderer(scene, choice.device)
    if name == "reference":
        from .reference.renderer import ReferenceRenderer

        return ReferenceRenderer(scene)
    fallback = ""
    if name == "auto":
        try:
            return _cuda_renderer(scene, None)
        except Exception as error:  # whatever CuPy, the driver or a compiler raise, the CPU can still render
            fallback = _reason(error)
    from .cpu.renderer import CpuRenderer

    return CpuRenderer(scene, threads=choice.threads, path=choice.cpu_path, fallback=fallback)


def query(
    scene: Scene,
    points: NDArray[np.float32],  # [P, 3] world
    directions: NDArray[np.float32],  # [P, 3] unit, world
    backend: str | BackendChoice = "reference",
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour [P, 3] after the sigmoid and density [P] after the ReLU at world points; 0 outside occupied space."""
    return create_renderer(scene, backend).query(points, directions)


def _cuda_renderer(scene: Scene, device: int | None) -> Renderer:
    from .cuda.cupy_device import CupyDevice

    on = CupyDevice(device)  # says at once, importing little, if CuPy is not installed
    from .cuda.renderer import CudaRenderer

    return CudaRenderer(scene, on)


def _reason(error: Exception) -> str:
    """Why CUDA was not taken, as one line; "" on a machine that was never set up for it."""
    from .cuda.cupy_device import cupy_is_installed

    if not cupy_is_installed():
        return ""
    if isinstance(error, BackendError):
        return str(error)
    details = " ".join(str(error).split()) or "no details"
    return f"backend 'cuda': {type(error).__name__}: {details}"
