"""Networks with one layer less: the feature layer has no activation, so it goes into the layer behind it."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io.scene.architecture import HIDDEN, LAYER_SHAPES

FOLDED_LAYERS = tuple(name for name in LAYER_SHAPES if name != "feature_linear")


def folded_layers(layers: Mapping[str, NDArray[np.floating]]) -> dict[str, NDArray[np.floating]]:
    """Layers without the feature layer: relu([h Wf + bf, e] Wd + bd) = relu([h, e] [Wf Wt; Wb] + (bd + bf Wt)).

    Args:
        layers: of a scene; Wt and Wb are the rows of ``direction_layer.weight`` for features and for directions.

    Returns:
        the same by name without ``feature_linear``: those of ``direction_layer`` in float64, the others as they were.
    """
    folded = {f"{name}.{kind}": layers[f"{name}.{kind}"] for name in FOLDED_LAYERS for kind in ("weight", "bias")}
    feature, feature_bias, direction, direction_bias = (
        layers[f"{name}.{kind}"].astype(np.float64)
        for name in ("feature_linear", "direction_layer")
        for kind in ("weight", "bias")
    )
    of_features = direction[:, :HIDDEN]
    # Not by a matrix product: BLAS adds in another order on every machine.
    folded["direction_layer.bias"] = direction_bias + np.einsum("nk,nko->no", feature_bias, of_features)
    direction[:, :HIDDEN] = np.einsum("nik,nko->nio", feature, of_features)
    folded["direction_layer.weight"] = direction
    return folded
