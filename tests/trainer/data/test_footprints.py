"""Pixels that a scene can cover."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

from kilonerf.kernels.sampling import ray_directions, ray_origin
from kilonerf.model_io import Camera
from kilonerf.model_io.scene.box import Box
from kilonerf.model_io.scene.cells import Cells
from kilonerf.model_io.scene.sampling import Sampling
from kilonerf.trainer.data.footprints import covered_pixels
from kilonerf.trainer.data.ray_sampling import RaySampler

BOX = Box(np.array([-1.0, -0.8, -0.5], np.float32), np.array([1.0, 0.7, 0.9], np.float32))


def occupied_voxels() -> np.ndarray:
    occupied = np.zeros((22, 18, 15), np.bool_)
    occupied[3:6, 10:12, 2:9] = occupied[19, 1, 13] = True
    return occupied


def test_every_ray_with_a_sample_is_covered_and_few_others() -> None:
    occupied = occupied_voxels()
    cameras = [
        Camera.look_at(eye, (0.1, 0, 0.2), width, 70, fov_y=0.9)
        for eye, width in (((3, 1, 2), 90), ((-2.5, 0.3, 0.1), 71), ((0.5, -3, 0.4), 64))
    ]
    cells = np.zeros((1, 1, 1), np.int32)
    sampler = RaySampler(Cells(BOX, occupied, cells), Sampling(0.5, 6.0, num_samples=3000))
    hits = []
    for camera in cameras:
        directions = ray_directions(camera).reshape(-1, 3)
        origins = np.broadcast_to(ray_origin(camera), directions.shape)
        hits.append(sampler.sample(origins, directions).offsets.diff().numpy() > 0)
    hit = np.concatenate(hits)
    covered = covered_pixels(cameras, BOX, occupied)
    assert set(np.flatnonzero(hit)) <= set(covered)
    assert (np.diff(covered) > 0).all()
    assert hit.sum() < len(covered) < 0.5 * len(hit)


def test_a_camera_among_the_voxels_sees_them_everywhere_and_one_that_looks_away_nowhere() -> None:
    inside = Camera.look_at((-0.6, 0.2, -0.1), (3, 0, 0), 20, 10, fov_y=0.8)
    away = Camera.look_at((3, 1, 2), (9, 1, 2), 20, 10, fov_y=0.8)
    assert len(covered_pixels([inside], BOX, occupied_voxels())) == 200
    assert len(covered_pixels([away], BOX, occupied_voxels())) == 0
    assert len(covered_pixels([inside], BOX, np.zeros((4, 4, 4), np.bool_))) == 0
