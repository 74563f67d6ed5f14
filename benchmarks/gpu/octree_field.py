"""An octree field to measure: the voxels of a real scene, and features and a decoder that are made up.

So cells, rays and samples in voxels are those of a real scene; how soon rays end is not.
"""

import numpy as np

from kilonerf.model_io import OctreeScene, Scene
from kilonerf.model_io.scene.octree import Octree
from kilonerf.model_io.scene.octree_scene import FEATURES, LevelFeatures, decoder_shapes

DEPTH = 7  # 128 voxels on each axis, as the field in docs/performance.md
LEVELS = 3


def made_up_field(scene: Scene, depth: int = DEPTH) -> OctreeScene:
    """A field in the occupied voxels of ``scene``, 2^depth on each axis of its box."""
    rng = np.random.default_rng(0)
    occupied = scene.cells.occupancy
    occupancy = np.zeros((1 << depth,) * 3, np.bool_)
    occupancy[tuple((np.argwhere(occupied) * len(occupancy) // np.array(occupied.shape)).T)] = True
    octree = Octree.of_occupancy(occupancy)
    features = [
        LevelFeatures("plain", rng.normal(0, 0.5, (octree.num_corners(level), FEATURES)).astype(np.float16))
        for level in range(depth - LEVELS + 1, depth + 1)
    ]
    decoder = {name: rng.normal(0, 0.3, shape).astype(np.float16) for name, shape in decoder_shapes().items()}
    decoder["output.weight"][:, 3] *= np.float16(4)  # dense enough that rays end
    return OctreeScene(
        box_min=scene.box_min,
        box_max=scene.box_max,
        octree=octree,
        features=tuple(features),
        decoder=decoder,
        near=scene.near,
        far=scene.far,
        num_samples=scene.num_samples,
        start_camera=scene.start_camera,
        training_poses=scene.training_poses,
    )
