"""What a KiloNeRF scene *is*: a box, an occupancy grid, a grid of network indices and the tiny networks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .camera import Camera

HIDDEN = 32  # units of every hidden layer (KiloNeRF section 3.1)
POSITION_FREQUENCIES = 10
DIRECTION_FREQUENCIES = 4
POSITION_CHANNELS = 3 * (1 + 2 * POSITION_FREQUENCIES)  # 63
DIRECTION_CHANNELS = 3 * (1 + 2 * DIRECTION_FREQUENCIES)  # 27

LAYER_SHAPES: Mapping[str, tuple[int, int]] = {
    "pts_linears.0": (POSITION_CHANNELS, HIDDEN),
    "pts_linears.1": (HIDDEN, HIDDEN),
    "alpha_linear": (HIDDEN, 1),
    "feature_linear": (HIDDEN, HIDDEN),
    "direction_layer": (HIDDEN + DIRECTION_CHANNELS, HIDDEN),
    "rgb_linear": (HIDDEN, 3),
}
"""Layers of one tiny network, by the original code's names: (inputs, outputs)."""

PARAMETERS_PER_NETWORK = sum((inputs + 1) * outputs for inputs, outputs in LAYER_SHAPES.values())  # 6212


@dataclass(frozen=True, eq=False)
class Scene:
    """A KiloNeRF scene (KiloNeRF, ICCV 2021, section 3).

    Axis-aligned box, cut into ``rx * ry * rz`` cells; a cell that holds something has one tiny network.
    The occupancy grid is finer by a whole factor on each axis (16 in the paper).

    A scene is checked when it is made (``SceneError`` names the field, expected and got), so every other room
    may rely on what is said here.

    Attributes:
        aabb_min: float32 [3], lower corner of the box in world units.
        aabb_max: float32 [3], upper corner.
        occupancy: bool [ox, oy, oz]; True where something may be.
        network_index: int32 [rx, ry, rz]; row of ``layers`` for each cell, -1 for a cell without a network.
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
