"""The interface that every backend offers."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import BackendError, Camera, Scene

from .frame import Frame
from .options import RenderOptions

Output = Literal["rgb", "alpha", "depth", "samples", "network", "lookups"]
"""What a frame can hold, by the names of :class:`Frame`'s attributes."""

PICTURE: frozenset[Output] = frozenset({"rgb", "alpha", "depth"})
PER_RAY: frozenset[Output] = frozenset({"samples", "network"})
LOOKUPS: frozenset[Output] = frozenset({"lookups"})
"""What only a backend that marches cell by cell on the CPU can say."""


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
    outputs: frozenset[Output]  # what it can give
    fallback: str  # why "auto" had to take this backend instead of a GPU that seemed to be there; else ""

    @property
    def device(self) -> str:
        """What it runs on, for people: "AVX2 int16, 2 threads"."""
        ...

    def render(
        self,
        camera: Camera,
        options: RenderOptions,
        outputs: frozenset[Output] = PICTURE,
        *,
        on_device: bool = False,
        cancel: CancelToken | None = None,
    ) -> Frame:
        """Make one frame; the GIL is released meanwhile where the backend is native.

        Args:
            camera: from where.
            options: how.
            outputs: what the frame is to hold besides rgb, alpha and depth, which it always has.
            on_device: leave the picture in the memory of the device that makes it, if there is one.
            cancel: stops the render from another thread.

        Raises:
            RenderCancelled: ``cancel`` was used before the frame was done.
            BackendError: the renderer cannot give one of ``outputs``, or its device failed.
        """
        ...

    def query(
        self,
        points: NDArray[np.float32],  # [P, 3] world
        directions: NDArray[np.float32],  # [P, 3] unit, world
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Colour [P, 3] after the sigmoid and density [P] after the ReLU; 0 outside occupied space."""
        ...


def check_outputs(renderer: Renderer, outputs: frozenset[Output], *, on_device: bool = False) -> None:
    """Refuse outputs that a renderer does not have.

    Raises:
        BackendError: which ones, and what it has.
    """
    missing = sorted(outputs - renderer.outputs)
    if missing:
        has = ", ".join(sorted(renderer.outputs))
        raise BackendError(f"backend {renderer.backend!r}: expected outputs among {has}, got {', '.join(missing)}")
    if on_device and not outputs <= PICTURE:
        raise BackendError(f"backend {renderer.backend!r}: only rgb, alpha and depth can stay on the device")
