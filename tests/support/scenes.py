"""Scenes and cameras that tests make for themselves."""

from dataclasses import replace
from typing import Any

import numpy as np

from kilonerf.model_io import LAYER_SHAPES, Camera, KiloNeRFScene, Scene
from kilonerf.model_io.scene.levels import OuterLevel, hole
from kilonerf.model_io.scene.sky import COEFFICIENTS


def random_scene(
    resolution=(2, 3, 4),
    factor=(4, 4, 4),
    *,
    seed=0,
    occupied=0.5,
    dropped=0.2,
    density_scale=40.0,
    dtype: type[np.floating] = np.float32,
) -> KiloNeRFScene:
    """A small scene with random networks: opaque in places, with empty cells and cells without a network."""
    rng = np.random.default_rng(seed)
    cells = int(np.prod(resolution))
    index = np.full(cells, -1, np.int32)
    kept = np.flatnonzero(rng.random(cells) >= dropped)
    index[kept] = np.arange(len(kept), dtype=np.int32)
    index = index.reshape(resolution)
    occupancy = rng.random([r * f for r, f in zip(resolution, factor, strict=True)]) < occupied
    has_network = index >= 0
    for axis, f in enumerate(factor):
        has_network = np.repeat(has_network, f, axis=axis)
    occupancy &= has_network
    layers = {}
    for name, (inputs, outputs) in LAYER_SHAPES.items():
        bound = np.sqrt(6.0 / inputs)
        layers[f"{name}.weight"] = rng.uniform(-bound, bound, (len(kept), inputs, outputs)).astype(np.float32)
        layers[f"{name}.bias"] = rng.uniform(-0.1, 0.1, (len(kept), outputs)).astype(np.float32)
    layers["alpha_linear.weight"] *= np.float32(density_scale)
    layers = {name: np.ascontiguousarray(array.astype(dtype)) for name, array in layers.items()}
    half = 0.4 * np.asarray(resolution, np.float32)
    return KiloNeRFScene(
        box_min=-half,
        box_max=half + np.float32(0.1),
        occupancy=occupancy,
        network_index=index,
        layers=layers,
        near=2.0,
        far=6.0,
        num_samples=48,
        start_camera=Camera.look_at((3.0, 2.0, 1.5), (0.0, 0.0, 0.0), 64, 48),
        provenance={"made_by": "tests"},
    )


def with_few_frequencies(scene: KiloNeRFScene, frequencies: int = 6) -> KiloNeRFScene:
    """``scene``, of whose networks every other one looks at its position's lowest frequencies only."""
    name = "pts_linears.0.weight"
    weights = np.array(scene.layers[name])
    by_channel = weights.reshape(len(weights), 3, -1, weights.shape[2])  # v, 10 cosines, 10 sines
    by_channel[::2, :, 1 + frequencies : 11] = by_channel[::2, :, 11 + frequencies :] = 0
    return replace(scene, layers={**scene.layers, name: weights})


def nested_scene(levels=3, resolution=(4, 8, 4), factor=(4, 3, 2), *, seed=0, **more: Any) -> KiloNeRFScene:
    """As :func:`random_scene`, with further levels around its box."""
    scenes = [random_scene(resolution, factor, seed=seed + level, **more) for level in range(levels)]
    outer, first = [], scenes[0].num_networks
    for scene in scenes[1:]:
        index, occupancy = scene.network_index.copy(), scene.occupancy.copy()
        index[hole(index.shape)] = -1
        occupancy[hole(occupancy.shape)] = False
        outer.append(OuterLevel(occupancy, np.where(index >= 0, index + first, -1).astype(np.int32)))
        first += scene.num_networks
    layers = {name: np.concatenate([scene.layers[name] for scene in scenes]) for name in scenes[0].layers}
    return replace(scenes[0], layers=layers, outer=tuple(outer), near=0.05, far=40.0, num_samples=800)


def sky_scene(levels=3, *, occupied=0.15, dropped=0.5, **more: Any) -> KiloNeRFScene:
    """As :func:`nested_scene`, sparser, under a sky that is dark, bright and clipped somewhere."""
    sky = np.random.default_rng(8).normal(0, 0.5, (COEFFICIENTS, 3)).astype(np.float32)
    sky[0] += 2.0
    return replace(nested_scene(levels, occupied=occupied, dropped=dropped, **more), sky=sky)


def views(scene: Scene) -> dict[str, Camera]:
    """From outside, from inside, grazing a face, along an axis, and away; odd sizes, smaller than a tile too."""
    low, high = scene.box_min, scene.box_max
    middle, size = (low + high) / 2, float(np.linalg.norm(high - low))
    top = high[1] - 0.002
    oblique = Camera.look_at(middle + np.array([-1.0, 0.2, 0.3]) * size, middle, 80, 50)
    return {
        "outside": Camera.look_at(middle + np.array([0.9, 0.6, 0.5]) * size, middle, 131, 77),
        "inside": Camera.look_at(middle + 0.1 * size, middle - 0.3 * size, 67, 45),
        "grazing": Camera.look_at((low[0] - size, top, middle[2]), (high[0], top, middle[2]), 33, 65),
        "along an axis": Camera.look_at(middle + np.array([0, size, 0]), middle, 64, 64),
        "from above": Camera.look_at(middle + np.array([0, 0, size]), middle, 1, 130),
        "off-centre lens": Camera.from_matrix(oblique.matrix, 80, 50, fx=90, fy=70, cx=-20.5, cy=61.25),
        "away": Camera.look_at(middle + np.array([size, 0, 0]), middle + np.array([2 * size, 0, 0]), 70, 5),
    }
