"""An octree field as the kernels read it (kernels/cuda/octree): levels added up, and the decoder."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io.scene.architecture import DIRECTION_CHANNELS, DIRECTION_FREQUENCIES, HIDDEN
from kilonerf.model_io.scene.octree_scene import DECODER_HIDDEN, FEATURES, OctreeScene

from ...native.expansion import ExpandedField, slots_of_voxels
from ...native.grid import voxel_words
from ..kilonerf.networks import fragments, reordered_encoding

LEAF_WORDS = 128  # as in scene.cuh
THREADS = 256  # of a block, a ray each
PARTS = DECODER_HIDDEN // HIDDEN
VOXEL_WORD = np.dtype([("voxels", "<u4"), ("first_slot", "<i4")])
FLOAT_DECODER = np.dtype(
    [
        ("w_features", "<f4", (PARTS, FEATURES, HIDDEN)),
        ("w_output", "<f4", (PARTS, HIDDEN, 4)),
        ("bias_output", "<f4", 4),
    ]
)
FLOAT_DIRECTION_LAYER = np.dtype(
    [("weights", "<f4", (PARTS, DIRECTION_CHANNELS, HIDDEN)), ("bias", "<f4", (PARTS, HIDDEN))]
)
TENSOR_DECODER = np.dtype(
    [
        ("features", "<f2", (PARTS, 1, 2, 32, 8)),
        ("output", "<f2", (PARTS, 32, 8)),
        ("bias_output", "<f4", 8),
    ]
)
TENSOR_DIRECTION_LAYER = np.dtype([("weights", "<f2", (PARTS, 2, 2, 32, 8)), ("bias", "<f4", (PARTS, HIDDEN))])
# Feature of each column of a fragment of A: lane t interpolates four side by side, and holds columns 2t, 2t + 1, 2t + 8
# and 2t + 9.
COLUMNS = [4 * (column % 8 // 2) + 2 * (column // 8) + column % 2 for column in range(FEATURES)]


def field_arrays(scene: OctreeScene, *, half: bool) -> dict[str, NDArray[Any]]:
    """What ``Arrays`` in octree/field.cuh points to, by name; the last one, ``ray_parts``, is the blocks' to write.

    Args:
        scene: whose field.
        half: features and weights in float16, for tensor cores.
    """
    cells, field = scene.cells, ExpandedField.of(scene)
    order, first_slot = slots_of_voxels(field, cells)
    leaves = len(cells.leaves)
    words = np.zeros((leaves, LEAF_WORDS), VOXEL_WORD)
    of_leaf = len(first_slot) // max(1, leaves)
    # A cell's number is that of its leaf.
    words["voxels"][:, :of_leaf] = voxel_words(cells).reshape(leaves, of_leaf)
    words["first_slot"][:, :of_leaf] = first_slot.reshape(leaves, of_leaf)
    limit = float(np.finfo(np.float16).max)
    return {
        "cells": words,
        "corners": np.ascontiguousarray(field.corners[order][:, ::2]),  # those with the lower z
        "rows": np.clip(field.rows, -limit, limit).astype(np.float16) if half else field.rows,
        "decoder": _tensor_decoder(scene) if half else _float_decoder(scene),
        "direction_layer": _tensor_direction_layer(scene) if half else _float_direction_layer(scene),
    }


def ray_part_bytes(*, half: bool) -> int:
    """Memory in which a block of a kernel keeps what its rays' directions add to the hidden layer."""
    return THREADS * DECODER_HIDDEN * (2 if half else 4)


def _hidden_weights(scene: OctreeScene) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The hidden layer part by part: rows of features [PARTS, 16, 32], of the direction, and the bias [PARTS, 32]."""
    weights = scene.decoder["hidden.weight"].astype(np.float32)
    parts = weights.reshape(len(weights), PARTS, HIDDEN).transpose(1, 0, 2)
    bias = scene.decoder["hidden.bias"].astype(np.float32).reshape(PARTS, HIDDEN)
    return parts[:, :FEATURES], parts[:, FEATURES:], bias


def _output_weights(scene: OctreeScene) -> NDArray[np.float32]:
    """The output layer part by part, [PARTS, 32, 4]."""
    return scene.decoder["output.weight"].astype(np.float32).reshape(PARTS, HIDDEN, 4)


def _float_decoder(scene: OctreeScene) -> NDArray[np.void]:
    decoder = np.zeros((), FLOAT_DECODER)
    decoder["w_features"], _, _ = _hidden_weights(scene)
    decoder["w_output"], decoder["bias_output"] = _output_weights(scene), scene.decoder["output.bias"]
    return decoder


def _float_direction_layer(scene: OctreeScene) -> NDArray[np.void]:
    layer = np.zeros((), FLOAT_DIRECTION_LAYER)
    _, layer["weights"], layer["bias"] = _hidden_weights(scene)
    return layer


def _tensor_decoder(scene: OctreeScene) -> NDArray[np.void]:
    decoder = np.zeros((), TENSOR_DECODER)
    features, _, _ = _hidden_weights(scene)
    decoder["features"] = fragments(features[:, COLUMNS])
    output = np.zeros((PARTS, HIDDEN, 16), np.float32)
    output[:, :, 0:8:2] = _output_weights(scene)
    # Of each 16 hidden units one tile of 8 outputs is used: those of both halves of a part go side by side.
    decoder["output"] = fragments(output)[:, :, 0, :, :4].transpose(0, 2, 1, 3).reshape(PARTS, 32, 8)
    decoder["bias_output"][0:8:2] = scene.decoder["output.bias"]
    return decoder


def _tensor_direction_layer(scene: OctreeScene) -> NDArray[np.void]:
    layer = np.zeros((), TENSOR_DIRECTION_LAYER)
    _, directions, layer["bias"] = _hidden_weights(scene)
    layer["weights"] = fragments(reordered_encoding(directions, DIRECTION_FREQUENCIES))
    return layer
