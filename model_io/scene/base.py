"""What scenes of all kinds have: a box, a grid of cells in it, where samples lie on rays, what is behind it all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..camera.camera import Camera
from .box import Box
from .cells import Cells
from .levels import OuterLevel, Planes, nested
from .sampling import Sampling


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene(ABC):
    """A scene of any kind: :class:`~.scene.KiloNeRFScene` or :class:`~.octree_scene.OctreeScene`.

    A scene is checked when it is made (``SceneError`` names the field, expected and got), so every other package
    may rely on what is said here. Every array is in C order; a scene that was loaded has read-only ones.

    Attributes:
        box_min: float32 [3], the box's corner with the least coordinates, in world units.
        box_max: float32 [3], the opposite corner.
        near: z-depth of the first sample as trained.
        far: z-depth of the last sample as trained.
        num_samples: samples per ray as trained (K).
        background: RGB behind the scene, each in [0, 1].
        start_camera: where a viewer should begin, if known.
        training_poses: float32 [M, 4, 4] camera-to-world, or None.
        preview: a small PNG as bytes, or None.
        provenance: what made the scene and from what; JSON values only.
        outer: further levels around the box, from the inside to the outside (:mod:`.levels`); none: a bounded scene.
        sky: float32 [16, 3], what is seen behind the last level, in place of ``background`` (:mod:`.sky`); None: the
            background is. Scenes of several levels only.
    """

    box_min: NDArray[np.float32]
    box_max: NDArray[np.float32]
    near: float
    far: float
    num_samples: int
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    start_camera: Camera | None = None
    training_poses: NDArray[np.float32] | None = None
    preview: bytes | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    outer: tuple[OuterLevel, ...] = ()
    sky: NDArray[np.float32] | None = None

    @abstractmethod
    def _find_cells(self) -> Cells:
        """What :attr:`cells` is."""

    @abstractmethod
    def field_arrays(self) -> list[NDArray[Any]]:
        """What is evaluated at samples: the kind's own arrays, in an order that only the kind decides."""

    @cached_property
    def box(self) -> Box:
        """What the cells fill."""
        return Box(self.box_min, self.box_max)

    @cached_property
    def cells(self) -> Cells:
        """The grid of cells: which hold something, and which of their voxels are occupied."""
        return self._find_cells()

    @cached_property
    def levels(self) -> tuple[Cells, ...]:
        """The grid of each level, ``cells`` and those of ``outer``."""
        return nested(self.cells, self.outer)

    @cached_property
    def planes(self) -> Planes:
        """Where cameras are moved away from, if there are several levels."""
        return Planes(self.levels)

    @property
    def sampling(self) -> Sampling:
        """Where samples lie on a ray as trained."""
        return Sampling(self.near, self.far, self.num_samples)

    @property
    def resolution(self) -> tuple[int, int, int]:
        """Cells on each axis, (rx, ry, rz)."""
        return self.cells.resolution

    @property
    def occupancy_factor(self) -> tuple[int, int, int]:
        """Voxels per cell on each axis, (16, 16, 16) in the paper."""
        fx, fy, fz = self.cells.factor.tolist()
        return fx, fy, fz

    @property
    def cell_size(self) -> NDArray[np.floating]:
        """Edge lengths of a cell in world units, float32 [3]."""
        return self.cells.cell_size

    @property
    def step(self) -> float:
        """Distance in z-depth between two samples as trained: (far - near) / (K - 1)."""
        return self.sampling.step
