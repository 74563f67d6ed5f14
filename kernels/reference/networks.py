"""The tiny networks, evaluated plainly with NumPy (KiloNeRF section 3.1 and the supplement's figure 1)."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io.scene.cells import Cells, Floats
from kilonerf.model_io.scene.scene import DIRECTION_FREQUENCIES, POSITION_FREQUENCIES, KiloNeRFScene

Array = NDArray[np.floating]
Layers = Mapping[str, Array]


class NetworksEvaluator:
    """Evaluates the networks of a scene.

    Args:
        scene: whose networks.
        dtype: the precision of all that follows a sample's position.
    """

    def __init__(self, scene: KiloNeRFScene, dtype: type[np.floating]) -> None:
        self._dtype = dtype
        self._layers = {name: np.asarray(array, dtype) for name, array in scene.layers.items()}

    def local(self, cells: Cells, points: Floats, places: NDArray[np.int32]) -> Floats:
        """Points [P, 3] within their cells, at ``places`` [P, 3] of the grid: what :meth:`evaluate` takes."""
        return cells.local(points, places)

    def evaluate(self, networks: NDArray[np.int32], local: Floats, directions: Floats) -> tuple[Array, Array]:
        """Colour [P, 3] after the sigmoid and density [P] after the ReLU.

        Args:
            networks: [P], one for each point.
            local: [P, 3], from :meth:`local`.
            directions: [P, 3], unit vectors in world axes.
        """
        return evaluate_networks(self._layers, networks, local.astype(self._dtype), directions.astype(self._dtype))


def encode(values: Array, frequencies: int) -> Array:
    """Frequency encoding of [P, C] to [P, C * (1 + 2 * frequencies)], channel-major.

    Per channel: the value, then cos(2^f v), then sin(2^f v) for f = 0 .. frequencies - 1; no factor pi, and
    cosines before sines, as the original student networks have it.
    """
    scaled = values[:, :, None] * (2.0 ** np.arange(frequencies)).astype(values.dtype)
    encoded = np.concatenate([values[:, :, None], np.cos(scaled), np.sin(scaled)], axis=-1)
    return encoded.reshape(len(values), values.shape[1] * (1 + 2 * frequencies))


def evaluate_network(layers: Layers, network: int, local: Array, directions: Array) -> tuple[Array, Array]:
    """One tiny network at points of its own cell.

    Args:
        layers: the scene's layers in the wanted precision.
        network: row of ``layers``.
        local: [P, 3], coordinates within the cell, in [-1, 1].
        directions: [P, 3], unit vectors in world axes.

    Returns:
        colour [P, 3] after the sigmoid and density [P] after the ReLU.
    """

    def dense(name: str, x: Array) -> Array:
        return x @ layers[f"{name}.weight"][network] + layers[f"{name}.bias"][network]

    hidden = np.maximum(dense("pts_linears.0", encode(local, POSITION_FREQUENCIES)), 0)
    hidden = np.maximum(dense("pts_linears.1", hidden), 0)
    density = np.maximum(dense("alpha_linear", hidden)[:, 0], 0)
    feature = dense("feature_linear", hidden)  # no activation
    hidden = np.concatenate([feature, encode(directions, DIRECTION_FREQUENCIES)], axis=-1)
    hidden = np.maximum(dense("direction_layer", hidden), 0)
    return sigmoid(dense("rgb_linear", hidden)), density


def evaluate_networks(
    layers: Layers,
    networks: NDArray[np.integer],  # [P]
    local: Array,  # [P, 3]
    directions: Array,  # [P, 3]
) -> tuple[Array, Array]:
    """Each point by its own network: colour [P, 3] and density [P]."""
    color = np.empty_like(local)
    density = np.empty_like(local[:, 0])
    order = np.argsort(networks, kind="stable")
    starts = np.flatnonzero(np.diff(networks[order], prepend=-1))
    for points in np.split(order, starts[1:]) if len(order) else []:
        color[points], density[points] = evaluate_network(
            layers, int(networks[points[0]]), local[points], directions[points]
        )
    return color, density


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow for any finite x."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)
