"""The one architecture of a tiny network (KiloNeRF section 3.1): its encodings, layers and sizes."""

from collections.abc import Mapping

HIDDEN = 32  # units of every hidden layer
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


def tensor_shapes(num_networks: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array of ``Scene.layers``: weights [N, in, out] and biases [N, out]."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (inputs, outputs) in LAYER_SHAPES.items():
        shapes[f"{name}.weight"] = (num_networks, inputs, outputs)
        shapes[f"{name}.bias"] = (num_networks, outputs)
    return shapes
