"""The box and the grid of cells: where a point is, which cells have a network, and in which order they are met."""

import numpy as np
import pytest

from kilonerf.model_io.scene.box import Box
from kilonerf.model_io.scene.cells import Cells
from kilonerf.model_io.scene.sampling import Sampling
from support.scenes import random_scene

SCENES = {
    "toy": random_scene(occupied=0.05),
    "odd factors": random_scene((2, 3, 4), (3, 5, 2), occupied=0.1, seed=2),
    "no networks": random_scene(dropped=1.0),
}


def test_a_box_has_a_size_and_a_middle() -> None:
    box = Box(np.array([-1, 0, 2], np.float32), np.array([1, 0.5, 5], np.float32))
    assert box.size.tolist() == [2, 0.5, 3]
    assert box.middle.tolist() == [0, 0.25, 3.5]
    assert box.size.dtype == box.middle.dtype == np.float64


def test_samples_go_from_near_to_far() -> None:
    sampling = Sampling(2.0, 6.0, 5)
    assert sampling.step == 1.0


def test_a_point_is_found_by_hand() -> None:
    box = Box(np.zeros(3, np.float32), np.array([4, 2, 1], np.float32))
    occupancy = np.zeros((8, 4, 2), np.bool_)
    occupancy[5, 1, 0] = True
    index = np.array([[[0], [-1]], [[1], [2]]], np.int32)
    cells = Cells(box, occupancy, index)
    assert cells.resolution == (2, 2, 1)
    assert cells.factor.tolist() == [4, 2, 2]
    assert cells.cell_size.tolist() == [2, 1, 1]
    assert cells.voxel_size.tolist() == [0.5, 0.5, 0.5]
    points = np.array([[2.6, 0.7, 0.2], [2.6, 0.7, 0.7], [0.1, 1.5, 0.5], [-0.1, 1, 0.5], [3.9995, 1, 0.5]], np.float32)
    inside, voxel = cells.locate(points)
    assert inside.tolist() == [True, True, True, False, False]  # the last is too near to a face
    assert voxel.tolist() == [[5, 1, 0], [5, 1, 1], [0, 3, 1], [0, 0, 0], [0, 0, 0]]
    assert cells.networks_at(points)[0].tolist() == [1, -1, -1, -1, -1]
    network, cell = cells.networks_at(points, ess=False)
    assert network.tolist() == [1, 1, -1, -1, -1]
    assert cell[:3].tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0]]
    np.testing.assert_allclose(cells.local(points[:1], cell[:1]), [[-0.4, 0.4, -0.6]], atol=1e-6)
    assert cells.networks_of(voxel[:3]).tolist() == [1, 1, -1]


@pytest.mark.parametrize("name", SCENES)
def test_boxes_of_leaves_equal_a_plain_loop(name: str) -> None:
    cells = SCENES[name].cells
    (tight_min, tight_max), (full_min, full_max) = cells.leaf_boxes(True), cells.leaf_boxes(False)
    assert tight_min.dtype == tight_max.dtype == np.float32
    assert len(cells.leaves) == len(tight_min) == (cells.network_index >= 0).sum()
    empty = 0
    for row, place in enumerate(cells.leaves):
        assert cells.leaf_numbers[tuple(place)] == row
        first = place * cells.factor
        voxels = cells.occupancy[tuple(slice(a, a + f) for a, f in zip(first, cells.factor, strict=True))]
        assert np.array_equal(cells.leaf_voxels()[row], voxels)
        assert cells.leaf_occupied[row] == voxels.any()
        there = np.argwhere(voxels)
        empty += not len(there)
        low, end = (there.min(0), there.max(0) + 1) if len(there) else (np.zeros(3), cells.factor)
        corner = cells.box.min + place.astype(np.float32) * cells.cell_size
        np.testing.assert_array_equal(tight_min[row], corner + low.astype(np.float32) * cells.voxel_size)
        np.testing.assert_array_equal(tight_max[row], corner + end.astype(np.float32) * cells.voxel_size)
        np.testing.assert_array_equal(full_min[row], corner)
        np.testing.assert_array_equal(full_max[row], corner + cells.cell_size)
        outermost = (place == 0) | (place == np.asarray(cells.resolution) - 1)
        assert cells.leaf_near_border[row] == outermost.any()
    assert name != "odd factors" or empty  # a leaf without an occupied voxel is among them


@pytest.mark.parametrize("origin", [(0.1, 0.0, 0.2), (-9.0, 0.4, 0.1), (3.0, -4.0, 5.0)])
def test_leaves_go_front_to_back(origin: tuple[float, float, float]) -> None:
    cells = SCENES["toy"].cells
    place = np.asarray(origin, np.float32)
    camera = cells.cell_of(place)
    assert (camera >= 0).all()
    assert (camera < cells.resolution).all()
    order = cells.front_to_back(place)
    assert sorted(order) == list(range(len(cells.leaves)))
    distance = np.abs(cells.leaves[order] - camera).sum(1)
    assert (np.diff(distance) >= 0).all()
    assert (np.diff(order)[np.diff(distance) == 0] > 0).all()  # those of one distance in C order
