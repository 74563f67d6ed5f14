"""The reference's octree field against the definition: every level interpolated by itself, in float64."""

import numpy as np
import pytest

from kilonerf.kernels.reference.renderer import ReferenceRenderer
from support.fields.octree_scenes import OCTREES, field_by_definition


@pytest.mark.parametrize("name", OCTREES)
def test_added_up_levels_are_the_sum_of_the_levels(name: str) -> None:
    scene = OCTREES[name]
    rng = np.random.default_rng(1)
    voxels = scene.octree.voxels(scene.depth)
    inside = voxels[rng.integers(0, len(voxels), 250)] + rng.random((250, 3))
    places = np.concatenate([inside, rng.random((50, 3)) * 2**scene.depth])
    points = (scene.box_min + places / 2**scene.depth * scene.box.size).astype(np.float32)
    directions = rng.normal(size=points.shape)
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    rgb, density = ReferenceRenderer(scene, np.float64).query(points, directions)
    expected_rgb, expected = field_by_definition(scene, points.astype(np.float64), directions.astype(np.float64))
    # Float32 may say that a point is in the next voxel; and the box has a margin.
    near_face = np.abs(places - np.rint(places)).min(1) < 0.02
    assert (~near_face).sum() > 150
    assert (expected > 0).sum() > 50
    assert np.abs(rgb - expected_rgb)[~near_face].max() < 1e-4
    assert (np.abs(density - expected) / (1 + expected))[~near_face].max() < 1e-4


def test_nothing_is_outside_the_octree() -> None:
    scene = OCTREES["codes"]
    centres = np.argwhere(~scene.cells.occupancy)[::97] + 0.5
    points = (scene.box_min + centres / 2**scene.depth * scene.box.size).astype(np.float32)
    rgb, density = ReferenceRenderer(scene).query(points, np.tile(np.array([0, 0, 1], np.float32), (len(points), 1)))
    assert len(points) > 50
    assert not rgb.any()
    assert not density.any()
