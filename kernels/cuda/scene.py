"""A scene as the CUDA kernels read it: cells, voxel bits and networks, laid out with NumPy (kernels/cuda/scene.cuh)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import LAYER_SHAPES, Camera, Scene
from kilonerf.model_io.scene.architecture import DIRECTION_CHANNELS, HIDDEN, POSITION_CHANNELS

from ..options import RenderOptions
from ..sampling import SampleSteps, SceneGrid, ray_origin

Precision = Literal["float16", "float32"]

CELL = np.dtype(
    [
        ("tight_min", "<f4", 3),
        ("tight_max", "<f4", 3),
        ("minimum", "<f4", 3),
        ("first_voxel", "<i4", 3),
        ("network", "<i4"),
        ("first_word", "<i4"),
        ("near_border", "<i4"),
        ("reserved", "<i4"),
    ]
)
FRAME = np.dtype(
    [
        ("origin", "<f4", 3),
        ("rotation", "<f4", 9),
        ("lens", "<f4", 4),
        ("near", "<f4"),
        ("step", "<f4"),
        ("last", "<f4"),
        ("ert_threshold", "<f4"),
        ("background", "<f4", 3),
        ("box_min", "<f4", 3),
        ("box_max", "<f4", 3),
        ("inside_min", "<f4", 3),
        ("inside_max", "<f4", 3),
        ("inverse_voxel", "<f4", 3),
        ("local_scale", "<f4", 3),
        ("factor", "<i4", 3),
        ("width", "<i4"),
        ("height", "<i4"),
        ("num_cells", "<i4"),
        ("ess", "<i4"),
    ]
)
OUTPUT = np.dtype(
    [
        (name, "<u8")
        for name in (
            "rgb",
            "alpha",
            "depth",
            "samples",
            "network",
            "rgba",
            "solid_depth",
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
        grid: constants that find a sample's voxel.
        cells: [cells], every cell that has a network, boxes tight around its occupied voxels.
        full_cells: the same with boxes of the whole cell, for ESS off.
        occupied: bool [cells].
        indices: int32 [cells, 3], places in the network grid.
        occupancy: uint32 words, one bit per voxel, cell by cell.
        networks: [N], ``TENSOR_NETWORK`` or ``FLOAT_NETWORK``.
    """

    grid: SceneGrid
    cells: NDArray[np.void]
    full_cells: NDArray[np.void]
    occupied: NDArray[np.bool_]
    indices: NDArray[np.int32]
    occupancy: NDArray[np.uint32]
    networks: NDArray[np.void]

    @classmethod
    def of(cls, scene: Scene, precision: Precision) -> "CudaScene":
        """Lay out ``scene``; float16 networks for tensor cores, float32 ones for the plain kernel."""
        grid = SceneGrid.of(scene)
        indices = np.argwhere(scene.network_index >= 0).astype(np.int32)
        voxels = _voxels_of_cells(scene, indices)
        cells, full, occupied = _cells(scene, grid, indices, voxels)
        bits = np.packbits(voxels.reshape(len(indices), int(grid.factor.prod())), axis=1, bitorder="little")
        padded = np.zeros((len(indices), -(-bits.shape[1] // 4) * 4), np.uint8)
        padded[:, : bits.shape[1]] = bits
        networks = _tensor_networks(scene) if precision == "float16" else _float_networks(scene)
        return cls(grid, cells, full, occupied, indices, padded.reshape(-1).view(np.uint32), networks)

    def order(self, camera: Camera, ess: bool) -> NDArray[np.int32]:
        """Rows of ``cells`` front to back: by Manhattan distance from the camera's cell."""
        rows = np.flatnonzero(self.occupied) if ess else np.arange(len(self.cells))
        distance = np.abs(self.indices[rows] - self.camera_cell(camera)).sum(1)
        return rows[np.argsort(distance, kind="stable")].astype(np.int32)

    def camera_cell(self, camera: Camera) -> NDArray[np.int32]:
        """The camera's cell, clamped to the grid, int32 [3]. The order of cells depends on nothing else."""
        voxel = (ray_origin(camera) - self.grid.box_min) * self.grid.inverse_voxel
        return np.clip(voxel, 0, self.grid.voxels - 1).astype(np.int32) // self.grid.factor

    def frame(self, scene: Scene, camera: Camera, options: RenderOptions, num_cells: int) -> NDArray[np.void]:
        """The ``Frame`` structure, a 0-dimensional array of ``FRAME``."""
        steps = SampleSteps.of(scene, options)
        frame = np.zeros((), FRAME)
        frame["origin"] = ray_origin(camera)
        frame["rotation"] = camera.matrix[:3, :3].astype(np.float32).ravel()
        frame["lens"] = (camera.fx, camera.fy, camera.cx, camera.cy)
        frame["near"], frame["step"], frame["last"] = steps.near, steps.step, steps.last
        frame["ert_threshold"] = options.ert_threshold if options.ert else -1.0
        frame["background"] = options.background
        frame["box_max"] = scene.aabb_max
        for name in ("box_min", "inside_min", "inside_max", "inverse_voxel", "local_scale", "factor"):
            frame[name] = getattr(self.grid, name)
        frame["width"], frame["height"] = camera.width, camera.height
        frame["num_cells"], frame["ess"] = num_cells, options.ess
        return frame


def _voxels_of_cells(scene: Scene, indices: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Occupancy by cell, bool [cells, fx, fy, fz]."""
    (rx, ry, rz), (fx, fy, fz) = scene.resolution, scene.occupancy_factor
    blocks = scene.occupancy.reshape(rx, fx, ry, fy, rz, fz).transpose(0, 2, 4, 1, 3, 5)
    return blocks[tuple(indices.T)]


def _cells(
    scene: Scene, grid: SceneGrid, indices: NDArray[np.int32], voxels: NDArray[np.bool_]
) -> tuple[NDArray[np.void], NDArray[np.void], NDArray[np.bool_]]:
    """Cells with tight and with full boxes, and which are occupied at all."""
    cells = np.zeros(len(indices), CELL)
    factor = grid.factor
    voxel = (grid.cell_size / factor.astype(np.float32)).astype(np.float32)
    cells["minimum"] = grid.box_min + indices.astype(np.float32) * grid.cell_size
    cells["first_voxel"] = indices * factor
    cells["network"] = scene.network_index[tuple(indices.T)]
    cells["first_word"] = np.arange(len(indices)) * -(-int(factor.prod()) // 32)
    low = cells["minimum"] - np.float32(0.01) * voxel
    high = cells["minimum"] + grid.cell_size + np.float32(0.01) * voxel
    cells["near_border"] = ((low <= grid.inside_min) | (high >= grid.inside_max)).any(1)
    full = cells.copy()
    full["tight_min"], full["tight_max"] = cells["minimum"], cells["minimum"] + grid.cell_size
    for axis in range(3):
        used = np.asarray(voxels.any(axis=tuple(a for a in (1, 2, 3) if a != axis + 1)))  # [cells, factor]
        first, last = used.argmax(1), factor[axis] - used[:, ::-1].argmax(1)
        cells["tight_min"][:, axis] = cells["minimum"][:, axis] + first.astype(np.float32) * voxel[axis]
        cells["tight_max"][:, axis] = cells["minimum"][:, axis] + last.astype(np.float32) * voxel[axis]
    return cells, full, np.asarray(voxels.any(axis=(1, 2, 3)))


def _folded(scene: Scene) -> dict[str, NDArray[np.float64]]:
    """Layers with the feature layer, which has no activation, folded into the rows of the direction layer."""
    layers = {
        f"{name}.{kind}": scene.layers[f"{name}.{kind}"].astype(np.float64)
        for name in LAYER_SHAPES
        for kind in ("weight", "bias")
    }
    rows = layers["direction_layer.weight"][:, :HIDDEN]
    layers["direction_layer.bias"] += np.einsum("nk,nko->no", layers["feature_linear.bias"], rows)
    layers["direction_layer.weight"][:, :HIDDEN] = layers["feature_linear.weight"] @ rows
    return layers


def _float_networks(scene: Scene) -> NDArray[np.void]:
    layers = _folded(scene)
    networks = np.zeros(scene.num_networks, FLOAT_NETWORK)
    networks["w0"], networks["bias0"] = layers["pts_linears.0.weight"], layers["pts_linears.0.bias"]
    networks["w1"], networks["bias1"] = layers["pts_linears.1.weight"], layers["pts_linears.1.bias"]
    networks["w_direction"] = layers["direction_layer.weight"]
    networks["bias_direction"] = layers["direction_layer.bias"]
    networks["w_output"] = np.concatenate([layers["rgb_linear.weight"], layers["alpha_linear.weight"]], axis=2)
    networks["bias_output"] = np.concatenate([layers["rgb_linear.bias"], layers["alpha_linear.bias"]], axis=1)
    return networks


def _tensor_networks(scene: Scene) -> NDArray[np.void]:
    layers = _folded(scene)
    count = scene.num_networks
    networks = np.zeros(count, TENSOR_NETWORK)
    networks["layer0"] = _fragments(_reordered(layers["pts_linears.0.weight"], 10))
    networks["layer1"] = _fragments(layers["pts_linears.1.weight"])
    direction = layers["direction_layer.weight"]
    encoded = _reordered(direction[:, HIDDEN:], 4)
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


def _reordered(rows: NDArray[np.float64], frequencies: int) -> NDArray[np.float64]:
    """Rows of an encoded vector [N, 3 * (1 + 2 * frequencies), out] in the order of the kernel's A fragments.

    Column ``2 t + e + 8 h`` of 16-column tile ``k`` holds, for t < 3, sine (e = 0) or cosine (e = 1) of frequency
    ``2 k + h`` of axis t; t = 3 holds frequencies 8 and 9 of axis k, and the coordinates (TensorEvaluator::encode).
    """
    tiles = 4 if frequencies == 10 else 2
    channels = 1 + 2 * frequencies
    ordered = np.zeros((len(rows), tiles, 2, 4, 2, rows.shape[2]))  # tile, h, t, e

    def row(axis: int, frequency: int, sine: bool) -> NDArray[np.float64]:
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


def _fragments(matrix: NDArray[np.float64]) -> NDArray[np.float16]:
    """B fragments of m16n8k16 of [N, in, out] matrices: [N, in / 16, out / 16, 32 lanes, 2 tiles of 8 outputs * 4].

    Lane 4 g + t holds of column g of a 16x8 tile the rows 2t, 2t + 1 (one register) and 2t + 8, 2t + 9 (the next).
    """
    n, inputs, outputs = matrix.shape
    tiles = matrix.reshape(n, inputs // 16, 2, 4, 2, outputs // 16, 2, 8)  # k: tile, half, t, e; out: pair, tile, g
    ordered = tiles.transpose(0, 1, 5, 7, 3, 6, 2, 4)  # k tile, pair, g, t, tile, half, e
    limit = float(np.finfo(np.float16).max)
    return np.clip(ordered, -limit, limit).astype(np.float16).reshape(n, inputs // 16, outputs // 16, 32, 8)
