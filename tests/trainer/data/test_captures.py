"""The nested boxes of captures: around what the cameras look at, as many as their points need."""

from dataclasses import replace

import numpy as np
import pytest

from kilonerf.model_io import Camera, Dataset, DatasetError, View
from kilonerf.trainer.data.captures import capture_bounds, scene_depths
from support.analytic_scene import room_cameras


def dataset_of(views: list[Camera], **more: object) -> Dataset:
    return replace(Dataset("blender", [View(camera, None, str(n)) for n, camera in enumerate(views)]), **more)


def test_the_box_is_around_what_the_cameras_look_at() -> None:
    bounds = capture_bounds(dataset_of(room_cameras(12)))
    half = np.median([np.linalg.norm(camera.position) for camera in room_cameras(12)])
    np.testing.assert_allclose(bounds.box_min, -half * np.ones(3), atol=1e-6)
    np.testing.assert_allclose(bounds.box_max, half * np.ones(3), atol=1e-6)
    assert bounds.levels == 5
    near, far = scene_depths(dataset_of(room_cameras(12)), bounds)
    assert near == pytest.approx(0.05 * half, rel=1e-5)
    assert far > half * 2**4  # to the faces of the outermost box


@pytest.mark.parametrize(("reach", "levels"), [(1.0, 2), (3.0, 2), (3.5, 3), (14.0, 5), (1e4, 6)])
def test_points_say_how_many_levels_there_are(reach: float, levels: int) -> None:
    points = reach * np.array([[1.0, 0.2, 0.1], [-1.0, 0.3, 0.5], [0.1, 1.0, -0.4]] * 50)
    assert capture_bounds(dataset_of(room_cameras(12), points=points)).levels == levels
    assert capture_bounds(dataset_of(room_cameras(12), points=points), 4).levels == 4


def test_the_first_sample_is_before_what_cameras_saw() -> None:
    cameras = room_cameras(12)
    points = 0.1 * np.random.default_rng(0).normal(size=(200, 3)).clip(-2, 2)
    everyone = np.argwhere(np.ones((len(cameras), len(points)), bool))
    dataset = dataset_of(cameras, points=points, sightings=everyone)
    near, _ = scene_depths(dataset, capture_bounds(dataset))
    depths = [((camera.position - points) @ camera.matrix[:3, 2]).min() for camera in cameras]
    assert 0.45 * min(depths) < near < 0.55 * min(depths)
    few = replace(dataset, sightings=everyone[:500])  # too few to go by
    assert scene_depths(few, capture_bounds(few))[0] < 0.2 * near


def test_cameras_that_look_one_way_have_the_box_before_them() -> None:
    ahead = [Camera.look_at((0.1 * n, 0, 0), (0.1 * n, 10, 0), 40, 30, fov_y=0.8) for n in range(9)]
    bounds = capture_bounds(dataset_of(ahead, near=2.0, far=8.0))
    assert (bounds.box_min[1], bounds.box_max[1]) == pytest.approx((0.0, 8.0))
    points = np.array([[0.0, 5.0, 0.0], [0.2, 6.0, 0.3], [0.1, 7.0, -0.3]])
    bounds = capture_bounds(dataset_of(ahead, points=points))
    assert bounds.box_max[1] == pytest.approx(12.0)
    with pytest.raises(DatasetError, match="box: expected cameras around something, sparse points or near and far"):
        capture_bounds(dataset_of(ahead))
