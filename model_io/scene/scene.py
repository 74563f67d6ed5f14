"""What a KiloNeRF scene *is*: a box, an occupancy grid, a grid of network indices and the tiny networks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .architecture import (
    DIRECTION_CHANNELS,
    DIRECTION_FREQUENCIES,
    HIDDEN,
    LAYER_SHAPES,
    PARAMETERS_PER_NETWORK,
    POSITION_CHANNELS,
    POSITION_FREQUENCIES,
)
from .base import Scene
from .cells import Cells
from .checks import check_scene

__all__ = [
    "DIRECTION_CHANNELS",
    "DIRECTION_FREQUENCIES",
    "HIDDEN",
    "LAYER_SHAPES",
    "PARAMETERS_PER_NETWORK",
    "POSITION_CHANNELS",
    "POSITION_FREQUENCIES",
    "KiloNeRFScene",
    "Scene",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class KiloNeRFScene(Scene):
    """A KiloNeRF scene (KiloNeRF, ICCV 2021, section 3).

    Axis-aligned box, cut into ``rx * ry * rz`` cells; a cell that holds something has one tiny network.
    The occupancy grid is finer by a whole factor on each axis (16 in the paper).

    Attributes:
        occupancy: bool [ox, oy, oz]; True where something may be.
        network_index: int32 [rx, ry, rz]; row of ``layers`` for each cell, -1 for a cell without a network
            (which has no occupied voxel). No two cells share a network.
        layers: for each name of ``LAYER_SHAPES``, ``name + ".weight"`` [N, in, out] and ``name + ".bias"``
            [N, out]; all float16 or all float32.
    """

    occupancy: NDArray[np.bool_]
    network_index: NDArray[np.int32]
    layers: Mapping[str, NDArray[np.floating]]

    def __post_init__(self) -> None:
        check_scene(self)

    def _find_cells(self) -> Cells:
        return Cells(self.box, self.occupancy, self.network_index)

    def field_arrays(self) -> list[NDArray[Any]]:
        """The layers."""
        return [self.layers[name] for name in sorted(self.layers)]

    @property
    def num_networks(self) -> int:
        """Networks that are stored (cells without one store none)."""
        return self.layers["pts_linears.0.bias"].shape[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float16 or float32: how the networks are stored."""
        return self.layers["pts_linears.0.weight"].dtype
