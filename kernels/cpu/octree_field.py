"""An octree field as the native renderer reads it (kernels/cpu/octree/field.h)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io.scene.octree_scene import FEATURES, OctreeScene

from ..native.expansion import ExpandedField, slots_of_voxels


def native_field(scene: OctreeScene) -> dict[str, NDArray[Any]]:
    """The arrays of ``OctreeField``: voxels in the order of their bits in the occupancy of the cells."""
    cells, field = scene.cells, ExpandedField.of(scene)
    order, first_slot = slots_of_voxels(field, cells)
    features, directions = np.split(scene.decoder["hidden.weight"], [FEATURES])
    arrays: dict[str, NDArray[Any]] = {
        "first_slot": first_slot,
        "corners": np.ascontiguousarray(field.corners[order][:, ::2]),  # those with the lower z
        "rows": field.rows,
    }
    floats = {
        "w_features": features,
        "w_direction": directions,
        "b_hidden": scene.decoder["hidden.bias"],
        "w_output": scene.decoder["output.weight"].T,
        "b_output": scene.decoder["output.bias"],
    }
    return arrays | {name: np.ascontiguousarray(array, np.float32) for name, array in floats.items()}
