"""The box around a scene, found by silhouettes, points or cameras."""

import numpy as np
import pytest

from kilonerf.model_io import Camera, Dataset, DatasetError, View, load_dataset
from kilonerf.trainer.data.bounds import Bounds, common_region, depth_range, find_bounds
from kilonerf.trainer.data.photos import Photos
from support.photo_sets import ellipsoid_photo, ring, save, write_blender

CENTRE, RADII = np.array([0.15, -0.1, 0.2]), np.array([0.6, 0.3, 0.45])
TRUE = np.stack([CENTRE - RADII, CENTRE + RADII])


def dataset_of(cameras: list[Camera], **fields) -> Dataset:
    return Dataset("blender", [View(camera, None, str(k)) for k, camera in enumerate(cameras)], **fields)


def ellipsoid(folder, cameras, paint=None):
    def photo(camera):
        pixels = ellipsoid_photo(camera, CENTRE, RADII)
        return pixels if paint is None else paint(pixels)

    dataset = load_dataset(write_blender(folder, cameras, photo), "train")
    return dataset, Photos(dataset.views)


def corners(bounds: Bounds) -> np.ndarray:
    return np.stack([bounds.box_min, bounds.box_max])


def on_white(pixels):
    return np.where(pixels[..., 3:] > 0, pixels[..., :3], np.uint8(255))


@pytest.mark.slow
@pytest.mark.parametrize("paint", [None, on_white], ids=["transparency", "a plain background"])
def test_silhouettes_give_the_objects_box(paint, tmp_path):
    bounds = find_bounds(*ellipsoid(tmp_path, ring(40), paint))
    assert bounds.source == "silhouettes of 40 views"
    found = corners(bounds)
    assert (found[0] <= TRUE[0]).all()
    assert (found[1] >= TRUE[1]).all()
    np.testing.assert_allclose(found, TRUE, atol=0.07)  # two pixels are 0.05


@pytest.mark.slow
def test_one_wrong_silhouette_takes_nothing_away(tmp_path):
    dataset, photos = ellipsoid(tmp_path, ring(120))
    right = corners(find_bounds(dataset, photos))
    photos.image(17)[...] = 0
    photos.image(17)[40, 60] = 255
    np.testing.assert_allclose(corners(find_bounds(dataset, photos)), right, atol=0.03)


def test_views_that_cut_the_object_off_are_of_use(tmp_path):
    """Half of the views see a part only: what is outside of their pictures is not taken for empty."""
    cut = [Camera.from_matrix(c.matrix, 120, 90, fx=c.fx * (3 if k % 2 else 1)) for k, c in enumerate(ring(40))]
    views = []
    for k, camera in enumerate(cut):
        save(tmp_path / f"{k}.png", ellipsoid_photo(camera, CENTRE, RADII))
        views.append(View(camera, tmp_path / f"{k}.png", str(k)))
    found = corners(find_bounds(Dataset("blender", views), Photos(views)))
    assert (found[0] <= TRUE[0]).all()
    assert (found[1] >= TRUE[1]).all()
    np.testing.assert_allclose(found, TRUE, atol=0.12)


def test_photos_without_silhouettes_fall_back_to_the_points(tmp_path):
    def noisy(pixels):
        return np.random.default_rng(0).integers(0, 256, (*pixels.shape[:2], 3), dtype=np.uint8)

    dataset, photos = ellipsoid(tmp_path, ring(10), noisy)
    rng = np.random.default_rng(1)
    points = rng.uniform(TRUE[0], TRUE[1], (5000, 3))
    points[:20] = rng.uniform(-300, 300, (20, 3))  # a few are always far off
    bounds = find_bounds(Dataset("colmap", dataset.views, points=points), photos)
    assert bounds.source == "5000 sparse points"
    np.testing.assert_allclose(corners(bounds), TRUE, atol=0.08)
    assert find_bounds(dataset, photos).source == "what the cameras have in common"


def test_cameras_alone_give_what_they_all_see():
    cameras = ring(60)
    bounds = find_bounds(dataset_of(cameras))
    assert bounds.source == "what the cameras have in common"
    found = corners(bounds)
    # The largest ball that a lens of 0.6 rad sees whole from a distance of 4 has a radius of 1.18.
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.1)
    assert (np.abs(found) > 1.1).all()
    assert (np.abs(found) < 1.9).all()
    moved = [camera.moved(np.c_[camera.matrix[:, :3], camera.matrix[:, 3] + [10, 0, -3, 0]]) for camera in cameras]
    np.testing.assert_allclose(corners(find_bounds(dataset_of(moved))), found + np.array([10, 0, -3]), atol=1e-6)


def test_a_given_box_is_taken():
    box = ((-1.0, -2.0, -3.0), (1.0, 2.0, 3.0))
    bounds = find_bounds(dataset_of(ring(3), bounding_box=box))
    assert (bounds.box_min, bounds.box_max) == box
    assert str(bounds) == "box -1 -2 -3 to 1 2 3, from the data set"


def test_cameras_that_look_the_same_way_need_a_box():
    cameras = [Camera.from_matrix(np.c_[np.eye(4)[:, :3], [x, 0, 0, 1]], 40, 30, fx=40) for x in range(3)]
    assert common_region(cameras) is None
    with pytest.raises(DatasetError, match=r"expected bbox\.txt, silhouettes, sparse points or cameras .* give a box"):
        find_bounds(dataset_of(cameras))
    outward = [Camera.look_at(np.array(e) * 0.1, np.array(e) * 9, 40, 30) for e in ((1, 0, 0), (0, 1, 0), (-1, 0.1, 0))]
    assert common_region(outward) is None


def test_near_and_far_enclose_the_box_for_every_ray():
    cameras, bounds = ring(20), Bounds((-0.6, -0.5, -0.4), (0.5, 0.7, 0.9), "a test")
    near, far = depth_range(dataset_of(cameras), bounds)
    points = np.random.default_rng(0).uniform(bounds.box_min, bounds.box_max, (20_000, 3))
    points = np.concatenate([points, bounds.corners])
    depths = np.stack([-(points - c.position) @ c.matrix[:3, 2] for c in cameras])
    assert near == pytest.approx(depths.min())
    assert far == pytest.approx(depths.max())
    assert depth_range(dataset_of(cameras, near=2.0, far=6.0), bounds) == (2.0, 6.0)


def test_near_is_above_zero_for_cameras_inside_and_some_must_see_the_box():
    bounds = Bounds((-10, -10, -10), (10, 10, 10), "a test")
    near, far = depth_range(dataset_of(ring(5)), bounds)
    assert near == pytest.approx(1e-3 * np.sqrt(3) * 20)
    assert far > 10
    away = Camera.look_at((20, 0, 0), (30, 0, 0), 40, 30)
    with pytest.raises(DatasetError, match="expected cameras that look at the box -10"):
        depth_range(dataset_of([away]), bounds)


@pytest.mark.slow
def test_the_chairs_box_holds_that_of_its_kilonerf(shared_data):
    dataset = load_dataset(shared_data / "chair", "train")
    bounds = find_bounds(dataset, Photos(dataset.views[::4], downscale=4))
    numbers = np.loadtxt(shared_data / "chair_kilonerf" / "bbox.txt")[:6].reshape(2, 3)
    print(bounds, "; bbox.txt", numbers.tolist())
    found = corners(bounds)
    assert (found[0] <= numbers[0] + 0.02).all()
    assert (found[1] >= numbers[1] - 0.02).all()
    np.testing.assert_allclose(found, numbers, atol=0.06)
