"""COLMAP's sparse models, written here byte by byte."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from kilonerf.model_io import Camera, DatasetError, load_dataset
from kilonerf.model_io.datasets import available_splits, load_pixels
from kilonerf.model_io.datasets.lens import Lens
from support.photo_sets import FLIP, SPOTS, projected, ring, save, spot_places, spots_photo, write_colmap

pytest.importorskip("pycolmap", reason="needs pycolmap")


def write_photos(folder, cameras, lens=None):
    """Photos of the spots, distorted by a lens if there is one; the lens itself is proven against OpenCV elsewhere."""
    for number, camera in enumerate(cameras):
        places = projected(camera, SPOTS)
        if lens is not None:
            rays = (places - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
            places = lens.distort(rays) * (lens.fx, lens.fy) + (lens.cx, lens.cy)
        save(folder / f"images/f_{number:02d}.png", spots_photo(places, 120, 90))


@pytest.mark.parametrize("binary", [True, False])
def test_cameras_points_and_photos_agree(binary, tmp_path):
    cameras = ring(9)
    write_photos(write_colmap(tmp_path, cameras, binary=binary), cameras)
    assert available_splits(tmp_path) == ("train", "test")
    test, train = load_dataset(tmp_path, "test"), load_dataset(tmp_path, "train")
    assert (test.kind, [view.name for view in test.views]) == ("colmap", ["f_00", "f_08"])
    assert [view.name for view in train.views] == [f"f_{n:02d}" for n in range(1, 8)]
    assert train.points is not None
    for view in (*test.views, *train.views):
        expected = projected(cameras[int(view.name[2:])], SPOTS)
        np.testing.assert_allclose(projected(view.camera, train.points), expected, atol=1e-6)
        np.testing.assert_allclose(spot_places(load_pixels(view)), expected, atol=0.05)


def test_text_and_binary_are_the_same(tmp_path):
    cameras = ring(4)
    write_colmap(tmp_path / "b", cameras, binary=True)
    write_colmap(tmp_path / "t", cameras, binary=False)
    for first, second in zip(
        load_dataset(tmp_path / "b", "train").views, load_dataset(tmp_path / "t", "train").views, strict=True
    ):
        np.testing.assert_allclose(first.camera.matrix, second.camera.matrix, atol=1e-12)
        assert replace(first.camera, c2w=second.camera.c2w) == second.camera


@pytest.mark.parametrize("tilt", [0.0, 0.7, np.pi])
def test_the_cameras_up_becomes_z(tilt, tmp_path):
    """A world that is turned anyhow gives cameras whose mean up is +z, and what they see stays the same."""
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    upright = ring(9)
    cameras = [camera.moved(turn @ camera.matrix) for camera in upright]
    write_colmap(tmp_path, cameras, points=SPOTS @ turn[:3, :3].T)
    train, test = load_dataset(tmp_path, "train"), load_dataset(tmp_path, "test")
    up = np.mean([view.camera.matrix[:3, 1] for view in (*train.views, *test.views)], axis=0)
    np.testing.assert_allclose(up / np.linalg.norm(up), (0, 0, 1), atol=1e-9)
    assert train.points is not None
    for view in train.views:
        before = upright[int(view.name[2:])]
        np.testing.assert_allclose(np.linalg.norm(view.camera.position), np.linalg.norm(before.position))
        np.testing.assert_allclose(projected(view.camera, train.points), projected(before, SPOTS), atol=1e-6)


MODELS = {
    "SIMPLE_PINHOLE": ((150, 61, 44), {}),
    "PINHOLE": ((150, 140, 61, 44), {}),
    "SIMPLE_RADIAL": ((150, 61, 44, -0.2), {"k1": -0.2}),
    "RADIAL": ((150, 61, 44, 0.2, -0.1), {"k1": 0.2, "k2": -0.1}),
    "OPENCV": ((150, 140, 61, 44, 0.1, 0.05, 0.01, -0.02), {"k1": 0.1, "k2": 0.05, "p1": 0.01, "p2": -0.02}),
}


@pytest.mark.parametrize("model", MODELS)
def test_camera_models(model, tmp_path):
    parameters, coefficients = MODELS[model]
    fy = 140 if len(parameters) in (4, 8) and model in ("PINHOLE", "OPENCV") else 150
    cameras = [replace(camera, fx=150, fy=fy, cx=61, cy=44) for camera in ring(2, distance=2.2)]
    lens = Lens(120, 90, 150, fy, 61, 44, **coefficients)
    write_photos(write_colmap(tmp_path, cameras, model=model, parameters=parameters), cameras, lens)
    if coefficients:
        pytest.importorskip("cv2", reason="needs opencv-python-headless")
    dataset = load_dataset(tmp_path, "test")
    (view,) = dataset.views
    assert view.lens == (lens if coefficients else None)
    assert dataset.points is not None
    assert len(dataset.points) == 0  # two views are too few for a point to count
    camera = cameras[0]
    expected = projected(camera, SPOTS) + np.array([view.camera.cx - camera.cx, view.camera.cy - camera.cy])
    np.testing.assert_allclose(spot_places(load_pixels(view)), expected, atol=0.12)


def test_our_projection_of_opencv_parameters_is_colmaps_own(tmp_path):
    import pycolmap

    parameters, coefficients = MODELS["OPENCV"]
    lens = Lens(120, 90, 150, 140, 61, 44, **coefficients)
    camera = pycolmap.Camera(model="OPENCV", width=120, height=90, params=list(parameters))
    rays = np.random.default_rng(0).uniform(-0.3, 0.3, (20, 2))
    theirs = np.array([camera.img_from_cam(np.array([x, y, 1.0])) for x, y in rays])
    np.testing.assert_allclose(lens.distort(rays) * (150, 140) + (61, 44), theirs, atol=1e-9)


def test_a_model_that_is_not_known_is_refused(tmp_path):
    write_colmap(tmp_path, ring(3), model="FOV", parameters=(150, 150, 60, 45, 0.9))
    with pytest.raises(DatasetError, match=r"camera 1: expected a model of SIMPLE_PINHOLE, .* got FOV") as e:
        load_dataset(tmp_path, "train")
    assert "\n" not in str(e.value)  # once, not once for each view


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
@pytest.mark.parametrize("left", [0, 1, 8, 30, -1])
def test_a_binary_file_that_ends_early_is_refused(name, left, tmp_path):
    write_colmap(tmp_path, ring(3))
    file = tmp_path / "sparse" / "0" / f"{name}.bin"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(DatasetError, match=r"\.bin: expected a whole|cannot read this COLMAP model") as caught:
        load_dataset(tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_text_that_is_no_model_is_refused(tmp_path):
    write_colmap(tmp_path, ring(3), binary=False)
    (tmp_path / "sparse" / "0" / "cameras.txt").write_text("1 NO_SUCH_MODEL 3 4 5\n")
    with pytest.raises(DatasetError, match="cannot read this COLMAP model"):
        load_dataset(tmp_path, "train")


def test_a_pose_that_is_not_finite_is_refused(tmp_path):
    cameras = ring(3)
    write_colmap(tmp_path, cameras, binary=False)
    file = tmp_path / "sparse" / "0" / "images.txt"
    words = file.read_text().split(" ")
    words[5] = "nan"  # a translation
    file.write_text(" ".join(words))
    with pytest.raises(DatasetError):
        load_dataset(tmp_path, "train")


def test_photos_that_do_not_fit_are_listed(tmp_path):
    cameras = ring(9)
    write_photos(write_colmap(tmp_path, cameras), cameras)
    save(tmp_path / "images/f_03.png", np.zeros((45, 60, 3), np.uint8))
    (tmp_path / "images/f_05.png").unlink()
    with pytest.raises(DatasetError) as caught:
        load_dataset(tmp_path, "train", strict=True)
    assert caught.value.faults == (
        f"{tmp_path / 'images'}: expected a photo for every pose, got none for f_05.png",
        f"{tmp_path / 'images/f_03.png'}: expected 120x90 as the model says, got 60x45",
    )


def test_without_pycolmap_one_line_says_what_is_missing(tmp_path, monkeypatch):
    write_colmap(tmp_path, ring(3))
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(DatasetError, match=r"expected pycolmap .* \(pip install kilonerf-view\[train\]\)") as caught:
        load_dataset(tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_poses_follow_colmaps_axes(tmp_path):
    """Written out once by hand: a camera at (0, 0, -5) of COLMAP's world that looks along +z."""
    camera = Camera.from_matrix(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -5.0]]) @ FLIP, 120, 90, fx=100)
    write_colmap(tmp_path, [camera] * 9)
    view = load_dataset(tmp_path, "test").views[0]
    # Up is -y there, +z here: z becomes y.
    np.testing.assert_allclose(view.camera.position, (0, -5, 0), atol=1e-12)
    np.testing.assert_allclose(view.camera.matrix[:3, :3].T, [[1, 0, 0], [0, 0, 1], [0, -1, 0]], atol=1e-12)
