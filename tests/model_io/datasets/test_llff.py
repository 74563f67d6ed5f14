"""LLFF's ``poses_bounds.npy``."""

import numpy as np
import pytest

from kilonerf.model_io import DatasetError, load_dataset
from kilonerf.model_io.datasets import available_splits, load_pixels
from kilonerf.trainer.data.bounds import find_bounds
from support.photo_sets import SPOTS, projected, ring, save, spot_places, spots_photo

CAMERAS = ring(9)


def write(folder, cameras=CAMERAS, *, divisor=1, photos=9, near=2.0, far=6.0):
    rows = []
    for camera in cameras:
        pose, lens = camera.matrix, [camera.height, camera.width, camera.fx]
        # Columns down, right, back, as LLFF's imgs2poses.py writes them.
        matrix = np.stack([-pose[:3, 1], pose[:3, 0], pose[:3, 2], pose[:3, 3], lens], axis=1)
        rows.append([*matrix.reshape(-1), near, far])
    np.save(folder / "poses_bounds.npy", rows)
    name = "images" if divisor == 1 else f"images_{divisor}"
    for number, camera in list(enumerate(cameras))[:photos]:
        places = projected(camera, SPOTS) / divisor
        save(
            folder / name / f"IMG_{40 + number}.png",
            spots_photo(places, camera.width // divisor, camera.height // divisor),
        )
    return folder


@pytest.mark.parametrize("divisor", [1, 2])
def test_points_land_on_their_pixels(divisor, tmp_path):
    dataset = load_dataset(write(tmp_path, divisor=divisor), "train")
    assert available_splits(tmp_path) == ("train", "test")
    assert (dataset.kind, len(dataset.views), len(load_dataset(tmp_path, "test").views)) == ("llff", 7, 2)
    assert (dataset.near, dataset.far) == pytest.approx((1.8, 6.6))
    assert len(dataset.notes) == (divisor > 1)
    for view in dataset.views:
        camera = CAMERAS[int(view.name[4:]) - 40]
        assert view.camera.fx == pytest.approx(camera.fx / divisor)
        # The world is turned, by the same rotation for all.
        turned = view.camera.matrix @ np.linalg.inv(camera.matrix)
        up = turned[:3, :3] @ np.mean([other.matrix[:3, 1] for other in CAMERAS], axis=0)
        np.testing.assert_allclose(up / np.linalg.norm(up), (0, 0, 1), atol=1e-9)
        expected = projected(view.camera, SPOTS @ turned[:3, :3].T)
        np.testing.assert_allclose(spot_places(load_pixels(view)), expected, atol=0.3)


def test_views_that_look_one_way_have_the_region_between_near_and_far(tmp_path):
    cameras = [CAMERAS[0].moved(_at((0.2 * n, 0.0, 0.1 * n))) for n in range(9)]
    dataset = load_dataset(write(tmp_path, cameras), "train")
    bounds = find_bounds(dataset)
    assert bounds.source == "where the data set says that the scene is at most"
    lower, upper = np.array(bounds.box_min), np.array(bounds.box_max)
    assert upper[1] == pytest.approx(6.6)  # they look along +y, and up is +z
    assert lower[1] == pytest.approx(1.8)


def _at(position):
    pose = np.eye(4)
    pose[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]  # right +x, up +z, looks along +y
    pose[:3, 3] = position
    return pose


def test_rows_and_photos_must_be_as_many(tmp_path):
    write(tmp_path, photos=8)
    with pytest.raises(
        DatasetError, match=r"images: expected 9 photos, one for each row .*, got 8: rows have no names"
    ):
        load_dataset(tmp_path, "train")


def test_poses_only(tmp_path):
    write(tmp_path, photos=0)
    assert load_dataset(tmp_path, "test").views[0].image_path is None
    with pytest.raises(DatasetError, match="expected photos for 9 poses, got none: searched images, images_2"):
        load_dataset(tmp_path, "test", photos=True)


WRONG = {
    "another shape": (np.zeros((3, 15)), r"expected an array \[N, 17\] of poses and depths, got \[3, 15\]"),
    "no rows": (np.zeros((0, 17)), r"got \[0, 17\]"),
    "text": (np.full((3, 17), "a"), "expected numbers, got <U1"),
    "not finite": (np.full((3, 17), np.nan), "expected finite numbers"),
    "near behind far": (np.ones((3, 17)), "expected 0 < near < far"),
    "objects": (np.array([[None] * 17] * 3, dtype=object), "expected an array of NumPy, got a damaged file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arrays_are_refused_in_one_line(name, tmp_path):
    array, message = WRONG[name]
    np.save(tmp_path / "poses_bounds.npy", array, allow_pickle=True)
    with pytest.raises(DatasetError, match=message) as caught:
        load_dataset(tmp_path, "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("left", [1, 20, 100, 200, -1])
def test_arrays_that_end_early_are_refused(left, tmp_path):
    file = write(tmp_path, photos=0) / "poses_bounds.npy"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(DatasetError, match="expected an array of NumPy, got a damaged file or another one"):
        load_dataset(tmp_path, "train")


def test_a_header_that_promises_terabytes_is_refused(tmp_path):
    file = write(tmp_path, photos=0) / "poses_bounds.npy"
    file.write_bytes(file.read_bytes().replace(b"(9, 17), }     ", b"(9999999999, 17), }", 1))
    with pytest.raises(DatasetError, match="expected an array"):
        load_dataset(tmp_path, "train")
