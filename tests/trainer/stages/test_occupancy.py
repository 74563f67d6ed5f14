"""Where something is, and the grid of networks over it."""

import itertools

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.model_io import TrainingError
from kilonerf.model_io.scene.box import Box
from kilonerf.trainer.stages.occupancy import network_grid, network_index_of, occupancy_from_density
from kilonerf.trainer.teachers.nerf import NerfTeacher

LOWER, UPPER = np.array([-0.6, -0.9, -0.4], np.float32), np.array([0.6, 0.7, 1.0], np.float32)
BOX = Box(LOWER, UPPER)


def plainly(density, resolution, samples, threshold):
    """As section 3.4 says it: each voxel by itself, samples^3 points from face to face."""
    voxel = (UPPER.astype(np.float64) - LOWER) / resolution
    occupied = np.zeros(resolution, bool)
    for index in itertools.product(*map(range, resolution)):
        corner = LOWER + np.array(index) * voxel
        steps = [np.linspace(corner[axis], corner[axis] + voxel[axis], samples) for axis in range(3)]
        points = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
        occupied[index] = bool((density(torch.from_numpy(points)) > threshold).any())
    return occupied


def waves(points):
    """Blobs of about a voxel's size."""
    value = torch.sin(7.1 * points[:, 0] + 0.3) * torch.sin(5.3 * points[:, 1]) * torch.sin(6.7 * points[:, 2] + 1)
    return torch.where(value > 0.45, 20.0, 0.0)


@pytest.mark.parametrize("samples", [2, 3, 4])
@pytest.mark.parametrize("resolution", [(5, 7, 6), (1, 3, 2)])
def test_any_sample_of_a_voxel_counts(samples, resolution):
    expected = plainly(waves, resolution, samples, 10.0)
    found = occupancy_from_density(waves, BOX, resolution, samples=samples)
    assert found.dtype == np.bool_
    assert found.shape == resolution
    assert found.any()
    np.testing.assert_array_equal(found, expected)


def test_a_point_on_a_face_belongs_to_both_voxels():
    """Something only on the plane between voxels 1 and 2, and on the outermost plane."""
    plane = LOWER[0] + np.float32(0.6)

    def density(points):
        return 11.0 * (((points[:, 0] - plane).abs() < 1e-5) | (points[:, 0] > UPPER[0] - 1e-5))

    found = occupancy_from_density(density, BOX, (4, 2, 3))
    np.testing.assert_array_equal(found.all(axis=(1, 2)), [False, True, True, True])
    np.testing.assert_array_equal(found.any(axis=(1, 2)), [False, True, True, True])


def test_the_threshold_itself_is_nothing():
    def density(points):
        return torch.full_like(points[:, 0], 10.0)

    assert not occupancy_from_density(density, BOX, (2, 2, 2)).any()
    assert occupancy_from_density(density, BOX, (2, 2, 2), threshold=9.99).all()


def test_shared_points_are_asked_once_and_progress_is_told():
    asked, told = [], []

    def density(points):
        assert points.dtype == torch.float32
        asked.append(points)
        return points[:, 0] * 0

    occupancy_from_density(density, BOX, (3, 4, 5), progress=lambda done, of: told.append((done, of)))
    points = torch.cat(asked)
    assert len(points) == 7 * 9 * 11 == len(points.unique(dim=0))
    np.testing.assert_array_equal(points.min(0).values.numpy(), LOWER)
    np.testing.assert_allclose(points.max(0).values.numpy(), UPPER, rtol=1e-6)
    assert told == [(number, 7) for number in range(1, 8)]


def test_no_answer_is_asked_of_too_many_points_at_once():
    sizes = []

    def density(points):
        sizes.append(len(points))
        return points[:, 2] * 40  # above the threshold for z > 0.25

    found = occupancy_from_density(density, BOX, (1, 300, 300))
    assert max(sizes) <= 1 << 18
    top = LOWER[2] + np.arange(1, 301) * 1.4 / 300
    np.testing.assert_array_equal(found[0], np.broadcast_to(top > 0.25, (300, 300)))


def test_too_few_samples():
    with pytest.raises(TrainingError, match="samples: expected 2 or more along each side of a voxel, got 1"):
        occupancy_from_density(waves, BOX, (2, 2, 2), samples=1)


def test_the_toys_occupancy_from_its_teacher(shared_data):
    """occupancy.pth as the original code made it from its teacher.

    One voxel is nearer to the threshold than another order of additions moves a density: what it is may depend on the
    processor. All others must be the same.
    """
    toy = shared_data / "kilonerf_toy"
    logs = toy / "logs" / "paper"
    teacher = NerfTeacher.from_checkpoint(logs / "pretrain" / "Synthetic_NeRF_Toy" / "checkpoint_0000001.pth")
    original = torch.load(logs / "pretrain_occupancy" / "Synthetic_NeRF_Toy" / "occupancy.pth").numpy()
    threshold = -0.019999999999999934  # of the toy's yaml; it is of densities before their ReLU
    answers = []

    def density(points):
        answers.append(teacher.raw_density(points))
        return answers[-1]

    found = occupancy_from_density(density, BOX, original.shape, threshold=threshold)
    assert 0.4 < original.mean() < 0.6

    def with_threshold(shifted):
        again = iter(answers)
        return occupancy_from_density(lambda _: next(again), BOX, original.shape, threshold=shifted)

    above, below = with_threshold(threshold + 2e-7), with_threshold(threshold - 2e-7)
    assert np.count_nonzero(above != below) <= 1
    np.testing.assert_array_equal(np.where(above == below, found, original), original)


# ---- the grid of networks


def test_the_chairs_grid():
    """A cell of 0.1325, 11 x 11 x 16 of them: the chair's box, which was made so, stays as it is."""
    box_min, box_max = [-0.76375, -0.71875, -1.04], [0.69375, 0.73875, 1.08]
    resolution, box = network_grid(box_min, box_max)
    assert resolution == (11, 11, 16)
    assert box.min.dtype == box.max.dtype == np.float32
    np.testing.assert_allclose(box.min, box_min, atol=1e-6)
    np.testing.assert_allclose(box.max, box_max, atol=1e-6)


@pytest.mark.parametrize("longest", [1, 5, 16])
def test_cells_are_cubes_and_the_box_grows_about_its_middle(longest):
    resolution, box = network_grid(LOWER, UPPER, longest)
    low, high = box.min, box.max
    assert max(resolution) == resolution[1] == longest
    edges = (high - low) / resolution
    np.testing.assert_allclose(edges, 1.6 / longest, rtol=1e-5)
    np.testing.assert_allclose((low + high) / 2, (LOWER + UPPER) / 2, atol=1e-6)
    assert (low <= LOWER + 1e-6).all()
    assert (high >= UPPER - 1e-6).all()
    assert (high - low < UPPER - LOWER + 1.6 / longest).all()  # no more cells than it takes


def test_a_flat_box_has_one_layer_of_cells():
    resolution, box = network_grid([0, 0, 0], [1.6, 0.8, 0.001], 8)
    assert resolution == (8, 4, 1)
    np.testing.assert_allclose(box.size, [1.6, 0.8, 0.2], rtol=1e-5)


def test_occupied_cells_are_numbered_in_grid_order():
    occupancy = np.zeros((4, 6, 4), bool)
    occupancy[1, 5, 0] = occupancy[0, 4, 1] = True  # both in cell (0, 2, 0)
    occupancy[0, 0, 3] = True  # in cell (0, 0, 1)
    occupancy[3, 3, 3] = True  # in cell (1, 1, 1)
    index = network_index_of(occupancy, (2, 3, 2))
    assert index.dtype == np.int32
    expected = np.full((2, 3, 2), -1)
    expected[0, 0, 1], expected[0, 2, 0], expected[1, 1, 1] = 0, 1, 2
    np.testing.assert_array_equal(index, expected)
