"""Tiny networks as the kernels read them: in float32, or as fragments for tensor cores."""

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import KiloNeRFScene
from kilonerf.model_io.scene.architecture import (
    DIRECTION_CHANNELS,
    DIRECTION_FREQUENCIES,
    HIDDEN,
    POSITION_CHANNELS,
    POSITION_FREQUENCIES,
)

from ...native.folding import folded_layers

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


def float_networks(scene: KiloNeRFScene) -> NDArray[np.void]:
    """``FLOAT_NETWORK`` [N], for the plain kernel."""
    layers = folded_layers(scene.layers)
    networks = np.zeros(scene.num_networks, FLOAT_NETWORK)
    networks["w0"], networks["bias0"] = layers["pts_linears.0.weight"], layers["pts_linears.0.bias"]
    networks["w1"], networks["bias1"] = layers["pts_linears.1.weight"], layers["pts_linears.1.bias"]
    networks["w_direction"] = layers["direction_layer.weight"]
    networks["bias_direction"] = layers["direction_layer.bias"]
    networks["w_output"] = np.concatenate([layers["rgb_linear.weight"], layers["alpha_linear.weight"]], axis=2)
    networks["bias_output"] = np.concatenate([layers["rgb_linear.bias"], layers["alpha_linear.bias"]], axis=1)
    return networks


def tensor_networks(scene: KiloNeRFScene) -> NDArray[np.void]:
    """``TENSOR_NETWORK`` [N], for tensor cores."""
    layers = folded_layers(scene.layers)
    count = scene.num_networks
    networks = np.zeros(count, TENSOR_NETWORK)
    networks["layer0"] = fragments(reordered_encoding(layers["pts_linears.0.weight"], POSITION_FREQUENCIES))
    networks["layer1"] = fragments(layers["pts_linears.1.weight"])
    direction = layers["direction_layer.weight"]
    encoded = reordered_encoding(direction[:, HIDDEN:], DIRECTION_FREQUENCIES)
    networks["direction"] = fragments(np.concatenate([direction[:, :HIDDEN], encoded], axis=1))
    output = np.zeros((count, HIDDEN, 16))  # density is column 6 of the first tile, colour 0, 2 and 4 of the second
    output[:, :, 6] = layers["alpha_linear.weight"][:, :, 0]
    output[:, :, 8:14:2] = layers["rgb_linear.weight"]
    networks["output"] = fragments(output)[:, :, 0]
    networks["bias0"], networks["bias1"] = layers["pts_linears.0.bias"], layers["pts_linears.1.bias"]
    networks["bias_direction"] = layers["direction_layer.bias"]
    networks["bias_output"][:, 0:6:2] = layers["rgb_linear.bias"]
    networks["bias_output"][:, 6] = layers["alpha_linear.bias"][:, 0]
    return networks


def reordered_encoding(rows: NDArray[np.floating], frequencies: int) -> NDArray[np.float64]:
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


def fragments(matrix: NDArray[np.floating]) -> NDArray[np.float16]:
    """B fragments of m16n8k16 of [N, in, out] matrices: [N, in / 16, out / 16, 32 lanes, 2 tiles of 8 outputs * 4].

    Lane 4 g + t holds of column g of a 16x8 tile the rows 2t, 2t + 1 (one register) and 2t + 8, 2t + 9 (the next).
    """
    n, inputs, outputs = matrix.shape
    tiles = matrix.reshape(n, inputs // 16, 2, 4, 2, outputs // 16, 2, 8)  # k: tile, half, t, e; out: pair, tile, g
    ordered = tiles.transpose(0, 1, 5, 7, 3, 6, 2, 4)  # k tile, pair, g, t, tile, half, e
    limit = float(np.finfo(np.float16).max)
    return np.clip(ordered, -limit, limit).astype(np.float16).reshape(n, inputs // 16, outputs // 16, 32, 8)
