"""COLMAP's sparse models, written here byte by byte."""

import shutil
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
    assert train.sightings is not None
    everyone = [[view, point] for point in range(len(SPOTS)) for view in range(len(train.views))]
    assert sorted(train.sightings.tolist()) == sorted(everyone)  # of the split's own views, each saw each point


FISHEYE = {"k1": -0.03, "k2": 0.01}
MODELS = {
    "SIMPLE_PINHOLE": ((150, 61, 44), {}),
    "PINHOLE": ((150, 140, 61, 44), {}),
    "SIMPLE_RADIAL": ((150, 61, 44, -0.2), {"k1": -0.2}),
    "RADIAL": ((150, 61, 44, 0.2, -0.1), {"k1": 0.2, "k2": -0.1}),
    "OPENCV": ((150, 140, 61, 44, 0.1, 0.05, 0.01, -0.02), {"k1": 0.1, "k2": 0.05, "p1": 0.01, "p2": -0.02}),
    "FULL_OPENCV": (
        (150, 140, 61, 44, 0.3, 0.05, 0.01, -0.02, 0.03, 0.2, 0.04, 0.02),
        {"k1": 0.3, "k2": 0.05, "p1": 0.01, "p2": -0.02, "k3": 0.03, "d1": 0.2, "d2": 0.04, "d3": 0.02},
    ),
    "SIMPLE_RADIAL_FISHEYE": ((150, 61, 44, -0.03), {"k1": -0.03, "fisheye": True}),
    "RADIAL_FISHEYE": ((150, 61, 44, -0.03, 0.01), FISHEYE | {"fisheye": True}),
    "OPENCV_FISHEYE": (
        (150, 140, 61, 44, -0.03, 0.01, 0.02, -0.01),
        FISHEYE | {"k3": 0.02, "k4": -0.01, "fisheye": True},
    ),
    "THIN_PRISM_FISHEYE": (
        (150, 140, 61, 44, -0.03, 0.01, 0.002, 0.003, 0.02, -0.01, 0.01, -0.01),
        FISHEYE | {"p1": 0.002, "p2": 0.003, "k3": 0.02, "k4": -0.01, "s1": 0.01, "s2": -0.01, "fisheye": True},
    ),
}


@pytest.mark.parametrize("model", MODELS)
def test_camera_models(model, tmp_path):
    parameters, coefficients = MODELS[model]
    fy = parameters[1] if parameters[1] == 140 else 150
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


@pytest.mark.parametrize("model", MODELS)
def test_our_projection_is_colmaps_own(model, tmp_path):
    import pycolmap

    parameters, coefficients = MODELS[model]
    lens = Lens(120, 90, 150, parameters[1] if parameters[1] == 140 else 150, 61, 44, **coefficients)
    camera = pycolmap.Camera(model=model, width=120, height=90, params=list(parameters))
    rays = np.random.default_rng(0).uniform(-0.3, 0.3, (20, 2))
    theirs = np.array([camera.img_from_cam(np.array([x, y, 1.0])) for x, y in rays])
    np.testing.assert_allclose(lens.distort(rays) * (lens.fx, lens.fy) + (61, 44), theirs, atol=1e-9)


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


def test_of_several_models_the_largest_is_read_and_said(tmp_path):
    small, large = ring(4), ring(9)
    write_colmap(tmp_path / "a", small)
    write_photos(write_colmap(tmp_path, large), large)
    shutil.copytree(tmp_path / "sparse/0", tmp_path / "sparse/10")
    shutil.rmtree(tmp_path / "sparse/0")
    shutil.copytree(tmp_path / "a/sparse/0", tmp_path / "sparse/2")
    dataset = load_dataset(tmp_path, "train")
    assert len(dataset.views) == 7
    assert dataset.notes == (
        f"{tmp_path / 'sparse'}: 2 models, of which the largest is read: 10 (views: 2 with 4, 10 with 9)",
    )


@pytest.mark.parametrize("place", ["sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "colmap", "images", "."])
def test_a_model_is_found_where_people_have_it(place, tmp_path):
    cameras = ring(9)
    write_photos(tmp_path, cameras)
    write_colmap(tmp_path / "elsewhere", cameras)
    shutil.copytree(tmp_path / "elsewhere/sparse/0", tmp_path / place, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "elsewhere")
    dataset = load_dataset(tmp_path, "train", strict=True, photos=True)
    assert (len(dataset.views), dataset.notes) == (7, ())
    if place in ("sparse/0", "colmap"):  # the model's own folder is the same data
        assert load_dataset(tmp_path / place, "train", photos=True).views == dataset.views


def test_photos_that_lie_beside_the_model(tmp_path):
    cameras = ring(9)
    write_photos(write_colmap(tmp_path, cameras), cameras)
    for path in [*(tmp_path / "images").iterdir(), *(tmp_path / "sparse/0").iterdir()]:
        path.rename(tmp_path / path.name)
    assert len(load_dataset(tmp_path, "train", strict=True, photos=True).views) == 7


@pytest.mark.parametrize("mark", ["", "utf-8-sig", "utf-16"])
def test_names_with_spaces_and_byte_order_marks_in_text_models(mark, tmp_path):
    cameras = ring(9)
    write_photos(write_colmap(tmp_path, cameras, binary=False), cameras)
    for file in (tmp_path / "sparse/0").iterdir():
        text = file.read_text().replace("f_", "photo  of the street ")
        file.write_bytes(("# first line\r\n" + text.replace("\n", "\r\n")).encode(mark or "utf-8"))
    for photo in (tmp_path / "images").iterdir():
        photo.rename(photo.with_name(photo.name.replace("f_", "photo  of the street ")))
    dataset = load_dataset(tmp_path, "test", strict=True)
    assert [view.name for view in dataset.views] == ["photo  of the street 00", "photo  of the street 08"]
    for view in dataset.views:
        expected = projected(cameras[int(view.name[-2:])], SPOTS)
        np.testing.assert_allclose(spot_places(load_pixels(view)), expected, atol=0.05)


def rigs(tmp_path):
    """A model of COLMAP 3.12 and later, with rigs.bin and frames.bin."""
    import pycolmap

    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig, options.num_points3D = 2, 2, 3, 20
    (tmp_path / "sparse/0").mkdir(parents=True)
    pycolmap.synthesize_dataset(options).write_binary(tmp_path / "sparse/0")
    return tmp_path / "sparse/0"


def test_rigs_are_read(tmp_path):
    folder = rigs(tmp_path)
    assert sorted(path.name for path in folder.iterdir())[1] == "frames.bin"
    assert len(load_dataset(tmp_path, "train").views) == 10


@pytest.mark.parametrize("name", ["rigs", "frames"])
@pytest.mark.parametrize("left", [0, 1, 8, 12, 30, 80, -1])
def test_rigs_and_frames_that_end_early_are_refused(name, left, tmp_path):
    file = rigs(tmp_path) / f"{name}.bin"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(DatasetError, match=rf"{name}\.bin: expected a whole COLMAP file") as caught:
        load_dataset(tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_every_pose_without_a_photo_is_left_out(tmp_path):
    cameras = ring(9)
    write_photos(write_colmap(tmp_path, cameras), cameras)
    (tmp_path / "images/f_05.png").unlink()
    dataset = load_dataset(tmp_path, "test")
    assert [view.name for view in dataset.views] == ["f_00"]
    assert dataset.notes == ("images: 1 of 9 poses has no photo: left out: f_05.png",)


def test_photos_that_the_model_has_no_pose_for_are_said(tmp_path):
    cameras = ring(9)
    write_photos(write_colmap(tmp_path, cameras), cameras)
    save(tmp_path / "images/f_99.png", np.zeros((90, 120, 3), np.uint8))
    dataset = load_dataset(tmp_path, "train")
    assert dataset.notes == ("images: 1 of 10 photos has no pose in this model: left out: f_99.png",)


def test_folders_that_repeat_names_keep_views_apart(tmp_path):
    cameras = ring(2)
    write_colmap(tmp_path, cameras)
    file = tmp_path / "sparse/0/images.bin"
    file.write_bytes(file.read_bytes().replace(b"f_00.png", b"a/f1.png").replace(b"f_01.png", b"b/f1.png"))
    names = [view.name for split in ("test", "train") for view in load_dataset(tmp_path, split).views]
    assert names == ["a/f1", "b/f1"]


def test_names_that_are_not_utf8_are_refused(tmp_path):
    file = write_colmap(tmp_path, ring(3)) / "sparse/0/images.bin"
    file.write_bytes(file.read_bytes().replace(b"f_01", b"f\xfc01"))
    with pytest.raises(DatasetError, match="image 2: expected a file name in UTF-8"):
        load_dataset(tmp_path, "train")


@pytest.mark.parametrize(("name", "place"), [("images", 8 + 64 + 9), ("points3D", 8 + 43)])
def test_a_count_beyond_every_file_is_refused(name, place, tmp_path):
    file = write_colmap(tmp_path, ring(3)) / f"sparse/0/{name}.bin"
    data = file.read_bytes()
    file.write_bytes(data[:place] + b"\xff" * 8 + data[place + 8 :])
    with pytest.raises(DatasetError, match=f"{name}.bin: expected a whole COLMAP file"):
        load_dataset(tmp_path, "train")
