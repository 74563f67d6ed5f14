"""An octree field, evaluated plainly with NumPy (Variable Bitrate Neural Fields, section 3)."""

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io.scene.architecture import DIRECTION_FREQUENCIES
from kilonerf.model_io.scene.cells import Cells, Floats
from kilonerf.model_io.scene.octree import CORNERS
from kilonerf.model_io.scene.octree_scene import FEATURES, OctreeScene

from ..native.expansion import ExpandedField
from .networks import Array, encode, sigmoid


class OctreeEvaluator:
    """Evaluates a scene's field.

    Args:
        scene: whose field.
        dtype: the precision of all that follows a sample's position.
    """

    def __init__(self, scene: OctreeScene, dtype: type[np.floating]) -> None:
        self._dtype = dtype
        self._field = ExpandedField.of(scene, dtype)
        self._slots = np.full((1 << scene.depth,) * 3, -1, np.int32)
        self._slots[tuple(self._field.voxels.T)] = np.arange(len(self._field.voxels))
        decoder = {name: array.astype(dtype) for name, array in scene.decoder.items()}
        self._features, self._directions = np.split(decoder["hidden.weight"], [FEATURES])
        self._hidden_bias = decoder["hidden.bias"]
        self._output, self._output_bias = decoder["output.weight"], decoder["output.bias"]

    def local(self, cells: Cells, points: Floats, places: NDArray[np.int32]) -> Floats:
        """Points [P, 3] in voxels from the corner of the box: what :meth:`evaluate` takes."""
        return (points - cells.box.min) * cells.inverse_voxel

    def evaluate(self, networks: NDArray[np.int32], local: Floats, directions: Floats) -> tuple[Array, Array]:
        """Colour [P, 3] after the sigmoid and density [P] after the ReLU; 0 outside the octree's voxels.

        Args:
            networks: of the points' cells: the field has none.
            local: [P, 3], from :meth:`local`; inside the box.
            directions: [P, 3], unit vectors in world axes.
        """
        voxel = np.minimum(local.astype(np.int32), self._slots.shape[0] - 1)  # truncates
        slot = self._slots[tuple(voxel.T)]
        color = np.zeros((len(local), 3), self._dtype)
        density = np.zeros(len(local), self._dtype)
        here = slot >= 0
        fraction = (local - voxel)[here].astype(self._dtype)
        corners = self._field.corners[slot[here]]
        features = np.zeros((len(corners), FEATURES), self._dtype)
        for number, corner in enumerate(CORNERS):
            weight = np.where(corner, fraction, 1 - fraction).prod(axis=1)
            features += weight[:, None] * self._field.rows[corners[:, number]]
        encoded = encode(directions[here].astype(self._dtype), DIRECTION_FREQUENCIES)
        hidden = np.maximum(features @ self._features + encoded @ self._directions + self._hidden_bias, 0)
        output = hidden @ self._output + self._output_bias
        color[here], density[here] = sigmoid(output[:, :3]), np.maximum(output[:, 3], 0)
        return color, density
