"""Untrained scenes for the CPU benchmark: a scene's occupancy, cut into other grids of random networks."""

from dataclasses import replace

import numpy as np

from kilonerf.model_io import LAYER_SHAPES, KiloNeRFScene

OCCUPANCY = 256
"""Voxels on an axis of every such scene: a multiple of all grids, so that all take the very same samples."""
DENSITY = 100.0
"""Density everywhere, so that rays end alike whatever the grid: some five of the chair's samples are opaque."""


def random_networks(scene: KiloNeRFScene, cells: int, seed: int = 0) -> KiloNeRFScene:
    """``scene``'s occupancy in a grid of ``cells`` on each axis, each cell a network with random weights.

    The occupancy is the nearest voxel's in a grid of 256^3; the density is the same everywhere, colours are random.
    """
    if OCCUPANCY % cells:
        raise ValueError(f"cells: expected a divisor of {OCCUPANCY}, got {cells}")
    nearest = [((np.arange(OCCUPANCY) + 0.5) / OCCUPANCY * size).astype(int) for size in scene.occupancy.shape]
    occupancy = np.ascontiguousarray(scene.occupancy[np.ix_(*nearest)])
    factor = OCCUPANCY // cells
    filled = occupancy.reshape(cells, factor, cells, factor, cells, factor).any(axis=(1, 3, 5))
    index = np.where(filled, np.cumsum(filled).reshape(filled.shape) - 1, -1).astype(np.int32)
    count = int(filled.sum())
    rng = np.random.default_rng(seed)
    layers = {}
    for name, (inputs, outputs) in LAYER_SHAPES.items():
        bound = np.sqrt(6.0 / inputs)
        layers[f"{name}.weight"] = rng.uniform(-bound, bound, (count, inputs, outputs)).astype(np.float16)
        layers[f"{name}.bias"] = rng.uniform(-0.1, 0.1, (count, outputs)).astype(np.float16)
    layers["alpha_linear.weight"][:] = 0
    layers["alpha_linear.bias"][:] = DENSITY
    return replace(scene, occupancy=occupancy, network_index=index, layers=layers, preview=None)
