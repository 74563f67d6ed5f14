"""A scene as the CUDA kernels read it (kernels/cuda/scene.cuh): levels, cells, voxel bits and networks, by NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import KiloNeRFScene, Scene
from kilonerf.model_io.scene.architecture import (
    DIRECTION_CHANNELS,
    DIRECTION_FREQUENCIES,
    HIDDEN,
    POSITION_CHANNELS,
    POSITION_FREQUENCIES,
)
from kilonerf.model_io.scene.cells import Cells, Floats
from kilonerf.model_io.scene.levels import front_to_back

from ..native.folding import folded_layers
from ..native.grid import cropped_cells, native_cells, native_grid, visited_cells, voxel_words
from .groups import Groups

Precision = Literal["float16", "float32"]

SCENE_ARRAYS = np.dtype([(name, "<u8") for name in ("cells", "order", "groups", "networks", "occupancy")])
PLACE = np.dtype([("cell", "<i4"), ("group", "<i4")])
WRITTEN = ("rgb", "alpha", "depth", "samples", "network", "rgbz")  # what a frame can leave behind for each pixel
OUTPUT = np.dtype([(name, "<u8") for name in (*WRITTEN, "counters", "next_tile")])
TENSOR_NETWORK = np.dtype(
    [
        ("layer0", "<f2", (4, 2, 32, 8)),
        ("layer1", "<f2", (2, 2, 32, 8)),
        ("direction", "<f2", (4, 2, 32, 8)),
        ("output", "<f2", (2, 32, 8)),
        ("bias0", "<f4", HIDDEN),
        ("bias1", "<f4", HIDDEN),
        ("bias_direction", "<f4", HIDDEN),
        ("bias_output", "<f4", 8),
    ]
)
FLOAT_NETWORK = np.dtype(
    [
        ("w0", "<f4", (POSITION_CHANNELS, HIDDEN)),
        ("w1", "<f4", (HIDDEN, HIDDEN)),
        ("w_direction", "<f4", (HIDDEN + DIRECTION_CHANNELS, HIDDEN)),
        ("w_output", "<f4", (HIDDEN, 4)),
        ("bias0", "<f4", HIDDEN),
        ("bias1", "<f4", HIDDEN),
        ("bias_direction", "<f4", HIDDEN),
        ("bias_output", "<f4", 4),
    ]
)


@dataclass(frozen=True, eq=False)
class CudaScene:
    """Arrays of a scene for the kernels, on the host.

    Attributes:
        grids: constants that find a sample's voxel, ``GRID`` [levels].
        cells: ``CELL`` [L], the leaves of all levels, boxes tight around their occupied voxels.
        full_cells: the same with boxes of the whole cell, for ESS off.
        groups: of ``cells``.
        full_groups: of ``full_cells``.
        occupancy: uint32 words, one bit per voxel, leaf by leaf.
        leaf_words: of each leaf, a multiple of 4: 16 bytes are copied at once.
        networks: [N], ``TENSOR_NETWORK`` or ``FLOAT_NETWORK``.
    """

    grids: NDArray[np.void]
    cells: NDArray[np.void]
    full_cells: NDArray[np.void]
    groups: Groups
    full_groups: Groups
    occupancy: NDArray[np.uint32]
    leaf_words: int
    networks: NDArray[np.void]

    @classmethod
    def of(cls, scene: KiloNeRFScene, precision: Precision) -> "CudaScene":
        """Lay out ``scene``; float16 networks for tensor cores, float32 ones for the plain kernel."""
        levels = scene.levels
        cells, full_cells = (native_cells(*levels, ess=ess) for ess in (True, False))
        occupancy, leaf_words = _padded_words(np.concatenate([voxel_words(level) for level in levels]), len(cells))
        cells["first_word"] = full_cells["first_word"] = np.arange(len(cells)) * leaf_words
        return cls(
            np.stack([native_grid(level) for level in levels]),
            cells,
            full_cells,
            Groups.of(levels, cells, ess=True),
            Groups.of(levels, full_cells, ess=False),
            occupancy,
            leaf_words,
            _tensor_networks(scene) if precision == "float16" else _float_networks(scene),
        )

    def cropped(self, levels: Sequence[Cells]) -> "CudaScene":
        """The same for cropped levels; occupancy and networks are those of the whole scene."""
        cells, full_cells = (cropped_cells(native, levels) for native in (self.cells, self.full_cells))
        return replace(
            self,
            grids=np.stack([native_grid(level) for level in levels]),
            cells=cells,
            full_cells=full_cells,
            groups=self.groups.around(cells, ess=True),
            full_groups=self.full_groups.around(full_cells, ess=False),
        )

    def groups_of(self, ess: bool) -> Groups:
        """Those of the cells that a frame shows."""
        return self.groups if ess else self.full_groups

    @cached_property
    def _camera_cells(self) -> tuple[NDArray[np.float32], ...]:
        """What finds the camera's cell in each level: lower corners, voxels per unit, last voxels, voxels per cell."""
        grids = self.grids
        last = (grids["resolution"] * grids["factor"] - 1).astype(np.float32)
        return grids["box_min"], grids["inverse_voxel"], last, grids["factor"]

    def camera_cells(self, origin: Floats) -> bytes:
        """The rays' origin's cell in each level, by which cells are ordered; the same bytes for the same cells."""
        low, inverse_voxel, last, factor = self._camera_cells
        voxels = np.minimum(np.maximum((origin - low) * inverse_voxel, 0), last)
        return (voxels.astype(np.int32) // factor).tobytes()

    def order(self, scene: Scene, origin: Floats, ess: bool) -> NDArray[np.void]:
        """Rows of ``cells`` that rays may take samples in, front to back, and their groups; ``PLACE`` [.]."""
        rows = front_to_back(scene.levels, origin)
        rows = rows[visited_cells(self.cells if ess else self.full_cells, ess=ess)[rows]]
        order = np.empty(len(rows), PLACE)
        order["cell"], order["group"] = rows, self.groups_of(ess).of_leaf[rows]
        return order


def _padded_words(words: NDArray[np.uint32], leaves: int) -> tuple[NDArray[np.uint32], int]:
    """Voxels of all leaves, each with whole groups of 4 words, and how many it has."""
    each = len(words) // max(1, leaves)
    padding = -each % 4
    if not padding:
        return words, each
    return np.pad(words.reshape(leaves, each), ((0, 0), (0, padding))).reshape(-1), each + padding


def _float_networks(scene: KiloNeRFScene) -> NDArray[np.void]:
    layers = folded_layers(scene.layers)
    networks = np.zeros(scene.num_networks, FLOAT_NETWORK)
    networks["w0"], networks["bias0"] = layers["pts_linears.0.weight"], layers["pts_linears.0.bias"]
    networks["w1"], networks["bias1"] = layers["pts_linears.1.weight"], layers["pts_linears.1.bias"]
    networks["w_direction"] = layers["direction_layer.weight"]
    networks["bias_direction"] = layers["direction_layer.bias"]
    networks["w_output"] = np.concatenate([layers["rgb_linear.weight"], layers["alpha_linear.weight"]], axis=2)
    networks["bias_output"] = np.concatenate([layers["rgb_linear.bias"], layers["alpha_linear.bias"]], axis=1)
    return networks


def _tensor_networks(scene: KiloNeRFScene) -> NDArray[np.void]:
    layers = folded_layers(scene.layers)
    count = scene.num_networks
    networks = np.zeros(count, TENSOR_NETWORK)
    networks["layer0"] = _fragments(_reordered(layers["pts_linears.0.weight"], POSITION_FREQUENCIES))
    networks["layer1"] = _fragments(layers["pts_linears.1.weight"])
    direction = layers["direction_layer.weight"]
    encoded = _reordered(direction[:, HIDDEN:], DIRECTION_FREQUENCIES)
    networks["direction"] = _fragments(np.concatenate([direction[:, :HIDDEN], encoded], axis=1))
    output = np.zeros((count, HIDDEN, 16))  # density is column 6 of the first tile, colour 0, 2 and 4 of the second
    output[:, :, 6] = layers["alpha_linear.weight"][:, :, 0]
    output[:, :, 8:14:2] = layers["rgb_linear.weight"]
    networks["output"] = _fragments(output)[:, :, 0]
    networks["bias0"], networks["bias1"] = layers["pts_linears.0.bias"], layers["pts_linears.1.bias"]
    networks["bias_direction"] = layers["direction_layer.bias"]
    networks["bias_output"][:, 0:6:2] = layers["rgb_linear.bias"]
    networks["bias_output"][:, 6] = layers["alpha_linear.bias"][:, 0]
    return networks


def _reordered(rows: NDArray[np.floating], frequencies: int) -> NDArray[np.float64]:
    """Rows of an encoded vector [N, 3 * (1 + 2 * frequencies), out] in the order of the kernel's A fragments.

    Column ``2 t + e + 8 h`` of 16-column tile ``k`` holds, for t < 3, sine (e = 0) or cosine (e = 1) of frequency
    ``2 k + h`` of axis t; t = 3 holds frequencies 8 and 9 of axis k, and the coordinates (TensorEvaluator::encode).
    """
    tiles = 4 if frequencies == POSITION_FREQUENCIES else 2
    channels = 1 + 2 * frequencies
    ordered = np.zeros((len(rows), tiles, 2, 4, 2, rows.shape[2]))  # tile, h, t, e

    def row(axis: int, frequency: int, sine: bool) -> NDArray[np.floating]:
        return rows[:, axis * channels + 1 + frequency + (frequencies if sine else 0)]

    for axis in range(3):
        for frequency in range(frequencies):
            tile, half, lane = (frequency // 2, frequency % 2, axis) if frequency < 8 else (axis, frequency % 2, 3)
            ordered[:, tile, half, lane, 0] = row(axis, frequency, sine=True)
            ordered[:, tile, half, lane, 1] = row(axis, frequency, sine=False)
    plain = 3 if tiles == 4 else 0
    for axis, (half, e) in enumerate([(0, 0), (0, 1), (1, 0)]):
        ordered[:, plain, half, 3, e] = rows[:, axis * channels]
    return ordered.reshape(len(rows), tiles * 16, rows.shape[2])


def _fragments(matrix: NDArray[np.floating]) -> NDArray[np.float16]:
    """B fragments of m16n8k16 of [N, in, out] matrices: [N, in / 16, out / 16, 32 lanes, 2 tiles of 8 outputs * 4].

    Lane 4 g + t holds of column g of a 16x8 tile the rows 2t, 2t + 1 (one register) and 2t + 8, 2t + 9 (the next).
    """
    n, inputs, outputs = matrix.shape
    tiles = matrix.reshape(n, inputs // 16, 2, 4, 2, outputs // 16, 2, 8)  # k: tile, half, t, e; out: pair, tile, g
    ordered = tiles.transpose(0, 1, 5, 7, 3, 6, 2, 4)  # k tile, pair, g, t, tile, half, e
    limit = float(np.finfo(np.float16).max)
    return np.clip(ordered, -limit, limit).astype(np.float16).reshape(n, inputs // 16, outputs // 16, 32, 8)
