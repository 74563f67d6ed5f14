"""A scene as the CUDA kernels read it (kernels/cuda/scene.cuh): levels, cells, voxel bits and networks, by NumPy."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera, Scene
from kilonerf.model_io.scene.architecture import (
    DIRECTION_CHANNELS,
    DIRECTION_FREQUENCIES,
    HIDDEN,
    POSITION_CHANNELS,
    POSITION_FREQUENCIES,
)
from kilonerf.model_io.scene.levels import MAX_LEVELS, front_to_back

from ..native.folding import folded_layers
from ..native.grid import GRID, SAMPLE_STEPS, native_cells, native_grid, native_steps, voxel_words
from ..options import RenderOptions
from ..sampling import SampleSteps, ray_origin
from .groups import Groups, seen_tiles

Precision = Literal["float16", "float32"]

_SLACK = np.float32(4e-6)  # as box_slack in sampling_rule.h

LEVEL = np.dtype([("grid", GRID), ("steps", SAMPLE_STEPS)])


def frame_setup_type(levels: int) -> np.dtype[np.void]:
    """The ``FrameSetup`` structure of kernels that can have so many levels."""
    return np.dtype(
        [
            ("levels", LEVEL, levels),
            ("origin", "<f4", 3),
            ("rotation", "<f4", 9),
            ("lens", "<f4", 4),
            ("ert_threshold", "<f4"),
            ("background", "<f4", 3),
            ("slack", "<f4", 3),
            ("width", "<i4"),
            ("height", "<i4"),
            ("num_cells", "<i4"),
            ("num_groups", "<i4"),
            ("ess", "<i4"),
            ("first_tile", "<i4"),
            ("end_tile", "<i4"),
            ("seen_tiles", "<i4", 4),
        ]
    )


SCENE_ARRAYS = np.dtype([(name, "<u8") for name in ("cells", "order", "groups", "networks", "occupancy")])
PLACE = np.dtype([("cell", "<i4"), ("group", "<i4")])
OUTPUT = np.dtype(
    [
        (name, "<u8")
        for name in (
            "rgb",
            "alpha",
            "depth",
            "samples",
            "network",
            "rgbz",
            "counters",
            "next_tile",
        )
    ]
)
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
        networks: [N], ``TENSOR_NETWORK`` or ``FLOAT_NETWORK``.
    """

    grids: NDArray[np.void]
    cells: NDArray[np.void]
    full_cells: NDArray[np.void]
    groups: Groups
    full_groups: Groups
    occupancy: NDArray[np.uint32]
    networks: NDArray[np.void]

    @classmethod
    def of(cls, scene: Scene, precision: Precision) -> "CudaScene":
        """Lay out ``scene``; float16 networks for tensor cores, float32 ones for the plain kernel."""
        levels = scene.levels
        cells, full_cells = (native_cells(*levels, ess=ess) for ess in (True, False))
        return cls(
            np.stack([native_grid(level) for level in levels]),
            cells,
            full_cells,
            Groups.of(levels, cells, ess=True),
            Groups.of(levels, full_cells, ess=False),
            np.concatenate([voxel_words(level) for level in levels]),
            _tensor_networks(scene) if precision == "float16" else _float_networks(scene),
        )

    def order(self, scene: Scene, camera: Camera, ess: bool) -> NDArray[np.void]:
        """Rows of ``cells`` front to back, with ESS on without empty ones, and their groups; ``PLACE`` [.]."""
        rows = front_to_back(scene.levels, ray_origin(camera))
        rows = rows[self.cells["occupied"][rows] != 0] if ess else rows
        order = np.empty(len(rows), PLACE)
        order["cell"], order["group"] = rows, (self.groups if ess else self.full_groups).of_leaf[rows]
        return order

    def frame_setup(self, scene: Scene, camera: Camera, options: RenderOptions, num_cells: int) -> NDArray[np.void]:
        """The ``FrameSetup`` structure, a 0-dimensional array; its range of tiles is empty."""
        levels, groups = len(self.grids), self.groups if options.ess else self.full_groups
        box, around, origin = scene.levels[-1].box, groups.box(), ray_origin(camera)
        slack = _SLACK * (np.abs(origin) + np.maximum(np.abs(box.min), np.abs(box.max)))
        frame = np.zeros((), frame_setup_type(1 if levels == 1 else MAX_LEVELS))
        steps = SampleSteps.of(scene, options)
        for number, grid in enumerate(self.grids):
            frame["levels"][number] = grid, native_steps(steps.of_level(number))
        frame["origin"] = origin
        frame["rotation"] = camera.matrix[:3, :3].astype(np.float32).ravel()
        frame["lens"] = (camera.fx, camera.fy, camera.cx, camera.cy)
        frame["ert_threshold"] = options.ert_threshold if options.ert else -1.0
        frame["background"] = options.background
        frame["slack"] = slack
        frame["width"], frame["height"] = camera.width, camera.height
        frame["num_cells"], frame["num_groups"], frame["ess"] = num_cells, len(groups.boxes), options.ess
        frame["seen_tiles"] = seen_tiles(camera, np.stack([around[0] - slack, around[1] + slack]))
        return frame


def _float_networks(scene: Scene) -> NDArray[np.void]:
    layers = folded_layers(scene.layers)
    networks = np.zeros(scene.num_networks, FLOAT_NETWORK)
    networks["w0"], networks["bias0"] = layers["pts_linears.0.weight"], layers["pts_linears.0.bias"]
    networks["w1"], networks["bias1"] = layers["pts_linears.1.weight"], layers["pts_linears.1.bias"]
    networks["w_direction"] = layers["direction_layer.weight"]
    networks["bias_direction"] = layers["direction_layer.bias"]
    networks["w_output"] = np.concatenate([layers["rgb_linear.weight"], layers["alpha_linear.weight"]], axis=2)
    networks["bias_output"] = np.concatenate([layers["rgb_linear.bias"], layers["alpha_linear.bias"]], axis=1)
    return networks


def _tensor_networks(scene: Scene) -> NDArray[np.void]:
    layers = folded_layers(scene.layers)
    count = scene.num_networks
    networks = np.zeros(count, TENSOR_NETWORK)
    networks["layer0"] = _fragments(_reordered(layers["pts_linears.0.weight"], POSITION_FREQUENCIES))
    networks["layer1"] = _fragments(layers["pts_linears.1.weight"])
    direction = layers["direction_layer.weight"]
    encoded = _reordered(direction[:, HIDDEN:], DIRECTION_FREQUENCIES)
    networks["direction"] = _fragments(np.concatenate([direction[:, :HIDDEN], encoded], axis=1))
    output = np.zeros((count, HIDDEN, 16))  # density is column 3 of the first tile, colour 0 to 2 of the second
    output[:, :, 3] = layers["alpha_linear.weight"][:, :, 0]
    output[:, :, 8:11] = layers["rgb_linear.weight"]
    networks["output"] = _fragments(output)[:, :, 0]
    networks["bias0"], networks["bias1"] = layers["pts_linears.0.bias"], layers["pts_linears.1.bias"]
    networks["bias_direction"] = layers["direction_layer.bias"]
    networks["bias_output"][:, :3] = layers["rgb_linear.bias"]
    networks["bias_output"][:, 3] = layers["alpha_linear.bias"][:, 0]
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
