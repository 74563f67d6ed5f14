"""What a KiloNeRF scene *is*: a box, an occupancy grid, a grid of network indices and the tiny networks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..camera.camera import Camera
from .architecture import (
    DIRECTION_CHANNELS,
    DIRECTION_FREQUENCIES,
    HIDDEN,
    LAYER_SHAPES,
    PARAMETERS_PER_NETWORK,
    POSITION_CHANNELS,
    POSITION_FREQUENCIES,
)
from .checks import check_scene

__all__ = [
    "DIRECTION_CHANNELS",
    "DIRECTION_FREQUENCIES",
    "HIDDEN",
    "LAYER_SHAPES",
    "PARAMETERS_PER_NETWORK",
    "POSITION_CHANNELS",
    "POSITION_FREQUENCIES",
    "Scene",
]


@dataclass(frozen=True, eq=False)
class Scene:
    """A KiloNeRF scene (KiloNeRF, ICCV 2021, section 3).

    Axis-aligned box, cut into ``rx * ry * rz`` cells; a cell that holds something has one tiny network.
    The occupancy grid is finer by a whole factor on each axis (16 in the paper).

    A scene is checked when it is made (``SceneError`` names the field, expected and got), so every other room
    may rely on what is said here. Every array is in C order; a scene that was loaded has read-only ones.

    Attributes:
        aabb_min: float32 [3], lower corner of the box in world units.
        aabb_max: float32 [3], upper corner.
        occupancy: bool [ox, oy, oz]; True where something may be.
        network_index: int32 [rx, ry, rz]; row of ``layers`` for each cell, -1 for a cell without a network
            (which has no occupied voxel). No two cells share a network.
        layers: for each name of ``LAYER_SHAPES``, ``name + ".weight"`` [N, in, out] and ``name + ".bias"``
            [N, out]; all float16 or all float32.
        near: z-depth of the first sample as trained.
        far: z-depth of the last sample as trained.
        num_samples: samples per ray as trained (K).
        background: RGB behind the scene, each in [0, 1].
        start_camera: where a viewer should begin, if known.
        training_poses: float32 [M, 4, 4] camera-to-world, or None.
        preview: a small PNG as bytes, or None.
        provenance: what made the scene and from what; JSON values only.
    """

    aabb_min: NDArray[np.float32]
    aabb_max: NDArray[np.float32]
    occupancy: NDArray[np.bool_]
    network_index: NDArray[np.int32]
    layers: Mapping[str, NDArray[np.floating]]
    near: float
    far: float
    num_samples: int
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    start_camera: Camera | None = None
    training_poses: NDArray[np.float32] | None = None
    preview: bytes | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_scene(self)

    @property
    def resolution(self) -> tuple[int, int, int]:
        """Cells of the network grid, (rx, ry, rz)."""
        rx, ry, rz = self.network_index.shape
        return rx, ry, rz

    @property
    def occupancy_factor(self) -> tuple[int, int, int]:
        """Voxels of the occupancy grid per network cell on each axis, (16, 16, 16) in the paper."""
        fx, fy, fz = (o // r for o, r in zip(self.occupancy.shape, self.resolution, strict=True))
        return fx, fy, fz

    @property
    def num_networks(self) -> int:
        """Networks that are stored (cells without one store none)."""
        return self.layers["pts_linears.0.bias"].shape[0]

    @property
    def cell_size(self) -> NDArray[np.float32]:
        """Edge lengths of a network cell in world units, float32 [3]."""
        return (self.aabb_max - self.aabb_min) / np.asarray(self.resolution, dtype=np.float32)

    @property
    def step(self) -> float:
        """Distance in z-depth between two samples as trained: (far - near) / (K - 1)."""
        return (self.far - self.near) / (self.num_samples - 1)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float16 or float32: how the networks are stored."""
        return self.layers["pts_linears.0.weight"].dtype
