"""Voxels that no photo shows are left out, and what photos show stays."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
import torch

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.model_io import Camera, KiloNeRFScene
from kilonerf.model_io.datasets import load_splits
from kilonerf.trainer.data.photos import Photos
from kilonerf.trainer.stages import unseen
from kilonerf.trainer.stages.student import Student
from kilonerf.trainer.stages.unseen import largest_weights, without_unseen
from support.photo_sets import write_blender
from support.scenes import nested_scene, random_scene

CAMERAS = [Camera.look_at((3.0, 2.0 + turn, 1.5), (0.0, 0.0, 0.0), 40, 30) for turn in (0.0, 0.3, -0.3)]
SCENES = {
    "one level": random_scene((3, 4, 3), (4, 3, 2), occupied=1.0, dropped=0.0, density_scale=400.0),
    "nested": nested_scene(3, occupied=0.9, density_scale=400.0),
}


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest) -> KiloNeRFScene:
    return SCENES[request.param]


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    """Of one side; what they show does not matter here."""
    folder = write_blender(tmp_path, CAMERAS, lambda camera: np.zeros((camera.height, camera.width, 3), np.uint8))
    return Photos(load_splits(folder, ("train",))[0].views)


@pytest.mark.slow
def test_the_pictures_of_the_photos_cameras_stay(scene: KiloNeRFScene, photos: Photos) -> None:
    student = Student.of(scene)
    less = without_unseen(student, photos, 1e-3, seed=0).to_scene()
    before, after = (sum(int(level.occupancy.sum()) for level in which.levels) for which in (scene, less))
    assert after < 0.9 * before
    assert less.num_networks < scene.num_networks
    assert len(less.levels) == len(scene.levels)
    for level, other in zip(scene.levels, less.levels, strict=True):
        assert not (other.occupancy & ~level.occupancy).any()
    options = RenderOptions.as_trained(scene, ert=False)
    for camera in photos.cameras:
        expected, found = (create_renderer(which).render(camera, options) for which in (scene, less))
        assert found.statistics.samples < expected.statistics.samples
        assert psnr(found.rgb, expected.rgb) > 45


def test_weights_are_those_of_the_rays(photos: Photos) -> None:
    """Of a scene whose voxels are all opaque, each ray gives its weight to the first."""
    student = Student.of(SCENES["one level"])
    most = largest_weights(student, photos, seed=0)
    assert most.shape == (student.networks.num_networks, *student.cells.factor)
    assert most.max() <= 1.0 + 1e-6
    with torch.no_grad():
        student.networks.rows.zero_()
    assert largest_weights(student, photos, seed=0).max() == 0.0


def test_where_nothing_is_seen_all_stays(photos: Photos) -> None:
    student = Student.of(SCENES["one level"])
    with torch.no_grad():
        student.networks.rows.zero_()
    assert without_unseen(student, photos, 1e-3, seed=0) is student


def test_beside_what_is_seen_there_is_a_margin(monkeypatch: pytest.MonkeyPatch, photos: Photos) -> None:
    student = Student.of(SCENES["one level"])
    weights = np.zeros((student.networks.num_networks, *student.cells.factor), np.float32)
    weights[student.cells.network_index[1, 1, 1], 0, 1, 1] = 0.5  # voxel 4, 4, 3
    monkeypatch.setattr(unseen, "largest_weights", lambda *_: weights)
    less = without_unseen(student, photos, 0.1, seed=0)
    expected = np.zeros_like(student.cells.occupancy)
    expected[3:6, 3:6, 2:5] = True
    np.testing.assert_array_equal(less.cells.occupancy, expected)
    # Two cells on the first axis, three rows of voxels in one cell on the second, two cells on the third.
    kept = less.cells.network_index >= 0
    assert kept.sum() == less.networks.num_networks == 4
    before = student.cells.network_index[kept]
    assert torch.equal(less.networks.rows, student.networks.rows[torch.from_numpy(before).long()])
