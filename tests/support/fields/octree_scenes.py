"""Octree fields that tests make for themselves, and what they are by definition."""

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera, OctreeScene
from kilonerf.model_io.scene.octree import Octree
from kilonerf.model_io.scene.octree_scene import CODINGS, Coding, LevelFeatures, decoder_shapes


def random_octree_scene(
    depth=5,
    levels=3,
    *,
    codings: tuple[Coding, ...] = ("codes",),
    bits=3,
    occupied=0.08,
    seed=0,
    dtype: type[np.floating] = np.float16,
) -> OctreeScene:
    """A small field with random features, opaque in places; codings are taken by turns, level by level."""
    rng = np.random.default_rng(seed)
    size = 1 << depth
    occupancy = rng.random((size,) * 3) < occupied
    occupancy[: size // 2, size // 2 :, : size // 4] = False  # cells that hold nothing
    occupancy[0, 0, 0] = occupancy[-1, -1, -1] = True
    return octree_scene_of(occupancy, levels, codings=codings, bits=bits, rng=rng, dtype=dtype)


def octree_scene_of(
    occupancy: NDArray[np.bool_],
    levels=2,
    *,
    codings: tuple[Coding, ...] = ("codes",),
    bits=3,
    rng: np.random.Generator | None = None,
    dtype: type[np.floating] = np.float16,
) -> OctreeScene:
    """The same of these voxels."""
    rng = np.random.default_rng(0) if rng is None else rng
    octree = Octree.of_occupancy(occupancy)
    depth = octree.depth
    features = [
        random_features(codings[number % len(codings)], octree.num_corners(level), bits, rng, dtype)
        for number, level in enumerate(range(depth - levels + 1, depth + 1))
    ]
    decoder = {name: rng.normal(0, 0.5, shape).astype(dtype) for name, shape in decoder_shapes().items()}
    decoder["output.weight"][:, 3] *= dtype(4)
    return OctreeScene(
        box_min=np.array([-1.0, -1.1, -0.9], np.float32),
        box_max=np.array([1.0, 0.9, 1.1], np.float32),
        octree=octree,
        features=tuple(features),
        decoder=decoder,
        near=1.0,
        far=6.0,
        num_samples=160,
        start_camera=Camera.look_at((3.0, 2.0, 1.5), (0.0, 0.0, 0.0), 64, 48),
        provenance={"made_by": "tests"},
    )


def random_features(
    coding: Coding, corners: int, bits: int, rng: np.random.Generator, dtype: type[np.floating]
) -> LevelFeatures:
    """Features of one level."""
    rows = {"plain": corners, "low-rank": 4}.get(coding, 1 << bits)
    table = rng.normal(0, 0.6, (rows, 16)).astype(dtype)
    codes = rng.integers(0, rows, corners).astype(np.uint8) if coding == "codes" else None
    coefficients = rng.normal(0, 0.6, (corners, rows)).astype(dtype) if coding == "low-rank" else None
    return LevelFeatures(coding, table, codes, coefficients)


def field_by_definition(
    scene: OctreeScene, points: NDArray[np.float64], directions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Colour and density at points inside the box: level by level, corner by corner, point by point, in float64."""
    color, density = np.zeros((len(points), 3)), np.zeros(len(points))
    decoder = {name: array.astype(np.float64) for name, array in scene.decoder.items()}
    low, size = scene.box_min.astype(np.float64), scene.box.size
    rows = {
        level: dict(
            zip(
                map(tuple, scene.octree.corners(level).tolist()),
                own.values(level, scene.num_corners[number]).astype(np.float64),
                strict=True,
            )
        )
        for number, own in enumerate(scene.features)
        for level in [scene.first_level + number]
    }
    there = {tuple(voxel) for voxel in scene.octree.voxels(scene.depth).tolist()}
    for index, (point, direction) in enumerate(zip(points, directions, strict=True)):
        deepest = np.floor((point - low) / size * 2**scene.depth).astype(int)
        if tuple(deepest.tolist()) not in there:
            continue
        features = np.zeros(16)
        for level, own in rows.items():
            place = (point - low) / size * 2**level
            voxel = deepest >> (scene.depth - level)
            fraction = place - voxel
            for corner in np.ndindex(2, 2, 2):
                weight = np.prod(np.where(corner, fraction, 1 - fraction))
                features += weight * own[tuple((voxel + corner).tolist())]
        encoded = [
            value
            for x in direction
            for value in (x, *(np.cos(2**k * x) for k in range(4)), *(np.sin(2**k * x) for k in range(4)))
        ]
        joined = np.concatenate([features, encoded])
        hidden = np.maximum(joined @ decoder["hidden.weight"] + decoder["hidden.bias"], 0)
        output = hidden @ decoder["output.weight"] + decoder["output.bias"]
        color[index], density[index] = 1 / (1 + np.exp(-output[:3])), max(output[3], 0)
    return color, density


OCTREES = {
    "codes": random_octree_scene(),
    "every coding": random_octree_scene(codings=CODINGS, levels=4, seed=1),
    "shallow": random_octree_scene(2, 1, occupied=0.5, seed=2),  # one cell of 4 voxels along each side
    "one bit": random_octree_scene(4, 2, bits=1, occupied=0.3, seed=3),
    "plain float32": random_octree_scene(5, 2, codings=("plain",), seed=4, dtype=np.float32),
}
