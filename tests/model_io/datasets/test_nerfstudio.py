"""``transforms.json`` of nerfstudio and instant-ngp."""

import json
import math

import numpy as np
import pytest

from kilonerf.model_io import DatasetError, load_dataset
from kilonerf.model_io.datasets import available_splits, load_pixels
from support.photo_sets import SPOTS, projected, ring, save, spot_places, spots_photo, write_nerfstudio


def write_photos(folder, cameras, suffix=".png"):
    for number, camera in enumerate(cameras):
        save(folder / f"images/f_{number:02d}{suffix}", spots_photo(projected(camera, SPOTS), 120, 90))


@pytest.mark.parametrize(("suffix", "on_disk"), [(".png", ".png"), ("", ".PNG")])
def test_points_land_on_their_pixels(suffix, on_disk, tmp_path):
    cameras = ring(10)
    write_photos(write_nerfstudio(tmp_path, cameras, suffix=suffix), cameras, on_disk)
    dataset = load_dataset(tmp_path, "train")
    assert dataset.kind == "nerfstudio"
    assert [view.name for view in dataset.views] == ["f_01", "f_02", "f_03", "f_04", "f_05", "f_06", "f_07", "f_09"]
    assert dataset.views[0].camera == cameras[1]
    for view in dataset.views:
        np.testing.assert_allclose(spot_places(load_pixels(view)), projected(view.camera, SPOTS), atol=0.05)
    assert load_dataset(tmp_path / "transforms.json", "train") == dataset


def test_without_lists_every_8th_by_name_is_for_testing(tmp_path):
    cameras = ring(18)
    write_nerfstudio(tmp_path, cameras)
    document = json.loads((tmp_path / "transforms.json").read_text())
    document["frames"].reverse()
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    assert available_splits(tmp_path) == ("train", "test")
    assert [view.name for view in load_dataset(tmp_path, "test").views] == ["f_00", "f_08", "f_16"]
    assert len(load_dataset(tmp_path, "train").views) == 15
    with pytest.raises(DatasetError, match=r"expected train or test \(this data set names no splits\), got val"):
        load_dataset(tmp_path, "val")


def test_lists_name_the_splits(tmp_path):
    train, val = ["images/f_03.png", "./images/f_00.png"], ["images/f_01.png"]
    write_nerfstudio(tmp_path, ring(4), train_filenames=train, val_filenames=val)
    assert available_splits(tmp_path) == ("train", "val")
    assert [view.name for view in load_dataset(tmp_path, "train").views] == ["f_03", "f_00"]
    assert [view.name for view in load_dataset(tmp_path, "val").views] == ["f_01"]
    with pytest.raises(DatasetError, match="test_filenames: expected a list of file names, got None"):
        load_dataset(tmp_path, "test")
    write_nerfstudio(tmp_path, ring(4), train_filenames=["images/f_03.png", "images/f_09.png"])
    with pytest.raises(DatasetError, match=r"train_filenames: expected file_path of frames, got 'images/f_09.png'"):
        load_dataset(tmp_path, "train")


def test_frames_may_have_lenses_of_their_own(tmp_path):
    cameras = ring(2)
    write_nerfstudio(tmp_path, cameras)
    document = json.loads((tmp_path / "transforms.json").read_text())
    document["frames"][1] |= {"fl_x": 50.0, "fl_y": 51.0, "cx": 20.0, "cy": 21.0, "w": 60, "h": 45, "k1": 0.01}
    document["train_filenames"] = ["images/f_00.png", "images/f_01.png"]
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    save(tmp_path / "images/f_00.png", np.zeros((90, 120, 3), np.uint8))
    save(tmp_path / "images/f_01.png", np.zeros((45, 60, 3), np.uint8))
    first, second = load_dataset(tmp_path, "train").views
    assert first.camera == cameras[0]
    assert first.lens is None
    assert second.lens is not None
    assert (second.lens.width, second.lens.fx, second.lens.cy, second.lens.k1) == (60, 50.0, 21.0, 0.01)
    assert (second.camera.fx, second.camera.fy) == (50.0, 51.0)


def test_angles_in_place_of_focal_lengths(tmp_path):
    cameras = ring(2)
    write_nerfstudio(tmp_path, cameras, fl_x=None, fl_y=None, cx=None, cy=None, camera_angle_x=0.8)
    camera = load_dataset(tmp_path, "test").views[0].camera
    assert camera.fx == camera.fy == pytest.approx(60 / math.tan(0.4))
    assert (camera.cx, camera.cy) == (60, 45)  # pixel centres at +0.5, unlike Blender's files
    write_nerfstudio(tmp_path, cameras, fl_x=None, fl_y=None, camera_angle_x=0.8, camera_angle_y=0.7)
    assert load_dataset(tmp_path, "test").views[0].camera.fy == pytest.approx(45 / math.tan(0.35))


def test_a_file_for_each_split_has_all_its_frames(tmp_path):
    write_nerfstudio(tmp_path, ring(9))
    (tmp_path / "transforms.json").rename(tmp_path / "transforms_train.json")
    dataset = load_dataset(tmp_path, "train")
    assert (dataset.kind, len(dataset.views)) == ("nerfstudio", 9)
    assert available_splits(tmp_path) == ("train",)


def test_the_photos_say_their_size_where_the_file_does_not(tmp_path):
    cameras = ring(2)
    write_photos(write_nerfstudio(tmp_path, cameras, w=None, h=None), cameras)
    assert load_dataset(tmp_path, "test").views[0].camera == cameras[0]


WRONG = {
    "a panorama": ({"camera_model": "EQUIRECTANGULAR"}, "camera_model: expected one of .* got 'EQUIRECTANGULAR'"),
    "instant-ngp's panorama": ({"latlong": True}, "latlong: expected a pinhole or OPENCV_FISHEYE lens"),
    "instant-ngp's F-theta lens": ({"ftheta_p0": 0.1}, "ftheta_p0: expected a pinhole or OPENCV_FISHEYE lens"),
    "a fisheye lens that folds": ({"is_fisheye": True, "k1": -90.0}, "expected a fisheye lens that a pinhole can hold"),
    "a hint of text": ({"aabb_scale": "large"}, "aabb_scale, scale: expected numbers > 0, got 'large'"),
    "an offset of two": ({"offset": [0, 1]}, "offset: expected three numbers"),
    "no focal length": ({"fl_x": None, "fl_y": None}, "expected fl_x > 0 or camera_angle_x"),
    "a focal length of 0": ({"fl_x": 0}, "expected fl_x > 0"),
    "a focal length of text": ({"fl_x": "50"}, "fl_x: expected a number, got '50'"),
    "k1 that is not finite": ({"k1": float("nan")}, "k1: expected a number, got nan"),
    "a lens that folds": ({"k1": -9.0}, "distortion: expected one that does not fold"),
    "a size of text": ({"w": "8"}, "expected a size"),
    "no size": ({"w": None}, "expected photos or a given size"),
    "a pose that is not finite": (
        {"frames": [{"file_path": "a", "transform_matrix": [[1e400] * 4] * 4}]},
        "transform_matrix: expected finite",
    ),
    "a flat pose": (
        {"frames": [{"file_path": "a", "transform_matrix": [[1, 0, 0, 0]] * 4}]},
        "transform_matrix: expected axes that span space",
    ),
    "no pose": ({"frames": [{"file_path": "a"}]}, "transform_matrix: expected a matrix"),
    "no file": ({"frames": [{"transform_matrix": np.eye(4).tolist()}]}, "expected an object with file_path"),
    "no frames": ({"frames": []}, "frames: expected a list"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_refused_in_one_line(name, tmp_path):
    changes, message = WRONG[name]
    write_nerfstudio(tmp_path, ring(1), **changes)
    with pytest.raises(DatasetError, match=message) as caught:
        load_dataset(tmp_path, "test")
    assert str(caught.value).startswith(f"{tmp_path / 'transforms.json'}: ")
    assert "\n" not in str(caught.value)


def test_photos_of_another_size_are_refused(tmp_path):
    cameras = ring(1)
    write_photos(write_nerfstudio(tmp_path, cameras), cameras)
    save(tmp_path / "images/f_00.png", np.zeros((45, 60, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"f_00.png: expected 120x90 as transforms.json says, got 60x45"):
        load_dataset(tmp_path, "test")
