"""The octree: its numbers, its bytes, its corners; and what an octree field refuses."""

from dataclasses import replace

import numpy as np
import pytest

from kilonerf.model_io import SceneError
from kilonerf.model_io.scene.octree import Octree, morton_keys, morton_places
from kilonerf.model_io.scene.octree_scene import LevelFeatures, hashed_codes
from support.fields.octree_scenes import OCTREES, random_octree_scene


def test_morton_keys_interleave_bits_and_come_back() -> None:
    places = np.random.default_rng(0).integers(0, 1 << 10, (500, 3)).astype(np.int32)
    expected = [
        sum((int(p[axis]) >> bit & 1) << (3 * bit + 2 - axis) for bit in range(10) for axis in range(3)) for p in places
    ]
    assert morton_keys(places).tolist() == expected
    assert np.array_equal(morton_places(morton_keys(places)), places)


def test_an_octree_by_hand() -> None:
    occupancy = np.zeros((4, 4, 4), np.bool_)
    occupancy[0, 0, 0] = occupancy[3, 1, 2] = occupancy[2, 1, 3] = True
    octree = Octree.of_occupancy(occupancy)
    # Level 1: (0,0,0) and (1,0,1), which is child 4 + 1.
    assert octree.children(0).tolist() == [1 << 0 | 1 << 5]
    # Within (1,0,1): (3,1,2) is (1,1,0), child 4 + 2; (2,1,3) is (0,1,1), child 2 + 1.
    assert octree.children(1).tolist() == [1 << 0, 1 << 6 | 1 << 3]
    assert octree.voxels(2).tolist() == [[0, 0, 0], [2, 1, 3], [3, 1, 2]]
    assert octree.num_bytes == 3


@pytest.mark.parametrize("name", OCTREES)
def test_bytes_and_grid_are_the_same_octree(name: str) -> None:
    octree = OCTREES[name].octree
    again = Octree.of_children([octree.children(level) for level in range(octree.depth)])
    assert np.array_equal(again.occupancy, octree.occupancy)
    other = Octree.of_occupancy(octree.occupancy)
    for level in range(octree.depth + 1):
        assert np.array_equal(again.keys[level], octree.keys[level])
        assert np.array_equal(other.keys[level], octree.keys[level])


@pytest.mark.parametrize("name", OCTREES)
def test_corners_are_all_and_each_once_in_morton_order(name: str) -> None:
    octree = OCTREES[name].octree
    for level in range(1, octree.depth + 1):
        expected = {
            tuple(int(v) for v in voxel + corner) for voxel in octree.voxels(level) for corner in np.ndindex(2, 2, 2)
        }
        corners = octree.corners(level)
        assert len(corners) == len(expected) == octree.num_corners(level)
        assert set(map(tuple, corners.tolist())) == expected
        assert (np.diff(morton_keys(corners)) > 0).all()


def test_bytes_that_are_no_octree() -> None:
    with pytest.raises(SceneError, match=r"octree: expected 1 bytes for level 0, got 2"):
        Octree.of_children([np.array([1, 1], np.uint8)])
    with pytest.raises(SceneError, match=r"octree: expected a child of every voxel, got none of voxel 1 of level 1"):
        Octree.of_children([np.array([3], np.uint8), np.array([1, 0], np.uint8)])


def test_a_scene_down_to_a_level() -> None:
    scene = random_octree_scene(5, 3)
    coarse = scene.upto(4)
    assert (coarse.depth, coarse.first_level, len(coarse.features)) == (4, 3, 2)
    assert np.array_equal(
        coarse.cells.occupancy, scene.cells.occupancy.reshape(16, 2, 16, 2, 16, 2).any(axis=(1, 3, 5))
    )
    with pytest.raises(SceneError, match=r"level of detail: expected 3 to 5, got 2"):
        scene.upto(2)


def test_cells_are_numbered_where_something_is() -> None:
    cells = random_octree_scene(6, 2, occupied=0.001).cells
    assert cells.resolution == (4, 4, 4)
    held = cells.occupancy.reshape(4, 16, 4, 16, 4, 16).any(axis=(1, 3, 5))
    assert np.array_equal(cells.network_index >= 0, held)
    assert np.array_equal(np.sort(cells.network_index[held]), np.arange(held.sum()))


def test_random_codes_are_spread_and_differ_between_levels() -> None:
    codes = hashed_codes(5, 4096, 4)
    assert np.bincount(codes, minlength=16).min() > 150
    assert (codes != hashed_codes(6, 4096, 4)).mean() > 0.9


def changed(**fields: object) -> LevelFeatures:
    return replace(random_octree_scene().features[0], **fields)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (changed(table=np.zeros((8, 15), np.float16)), r"features.3.table: expected shape \[8, 16\], got .*15"),
        (changed(table=np.zeros((7, 16), np.float16)), r"features.3.table: expected shape \[8, 16\]"),
        (changed(table=np.full((8, 16), np.nan, np.float16)), "features.3.table: expected finite numbers"),
        (changed(table=np.zeros((8, 16), np.float32)), "features.3.table: expected dtype float16"),
        (changed(codes=np.zeros(3, np.uint8)), "features.3.codes: expected one for each of"),
        (changed(codes=None), "features.3.codes: expected codes with a codebook"),
        (changed(coding="plain"), "features.3.table: expected shape"),
        (changed(coding="zip"), "features.3.coding: expected plain, codes, hash, low-rank, got 'zip'"),
    ],
)
def test_features_that_do_not_fit(features: LevelFeatures, message: str) -> None:
    scene = random_octree_scene()
    with pytest.raises(SceneError, match=message):
        replace(scene, features=(features, *scene.features[1:]))


def test_codes_beyond_the_codebook() -> None:
    scene = random_octree_scene()
    codes = scene.features[0].codes
    assert codes is not None
    codes = codes.copy()
    codes[5] = 8
    with pytest.raises(SceneError, match=r"features.3.codes: expected codes below 8, got 8"):
        replace(scene, features=(replace(scene.features[0], codes=codes), *scene.features[1:]))


def test_a_decoder_that_does_not_fit() -> None:
    scene = random_octree_scene()
    with pytest.raises(SceneError, match=r"decoder.hidden.bias: expected shape \[128\], got shape \[127\]"):
        replace(scene, decoder={**scene.decoder, "hidden.bias": np.zeros(127, np.float16)})
    with pytest.raises(SceneError, match=r"decoder: expected hidden\.weight"):
        replace(scene, decoder={})


def test_what_is_evaluated_tells_fields_apart() -> None:
    scene = random_octree_scene(codings=("codes", "low-rank"))
    arrays = scene.field_arrays()
    assert len(arrays) == 4 + 3 * 2
    codes = scene.features[0].codes
    assert codes is not None
    other = replace(scene, features=(replace(scene.features[0], codes=codes ^ 1), *scene.features[1:]))
    assert not all(np.array_equal(a, b) for a, b in zip(arrays, other.field_arrays(), strict=True))
