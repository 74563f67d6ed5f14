import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kilonerf.model_io import Camera, DatasetError, View, load_blender, load_dataset, load_image, load_nsvf
from kilonerf.model_io.datasets import available_splits, near_and_far

POSE = Camera.look_at((3, 2, 1), (0, 0, 0), 8, 6).matrix
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def write_blender(folder: Path, *, photos: bool = True, **changes) -> Path:
    document = {
        "camera_angle_x": 0.6,
        "frames": [{"file_path": f"./test/r_{n}", "transform_matrix": POSE.tolist()} for n in range(2)],
    } | changes
    (folder / "transforms_test.json").write_text(json.dumps(document))
    (folder / "test").mkdir(parents=True, exist_ok=True)
    for number in range(2 if photos else 0):
        Image.new("RGBA", (8, 6), (255, 0, 0, 255)).save(folder / "test" / f"r_{number}.png")
    return folder


def write_nsvf(folder: Path, *, photos: bool = True, intrinsics: str = "9 4.0 3.0 0.\n0. 0. 0.\n0.\n1.\n6 8\n") -> Path:
    (folder / "pose").mkdir(parents=True)
    (folder / "intrinsics.txt").write_text(intrinsics)
    for name in ("0_train", "2_test_a", "2_test_b"):
        np.savetxt(folder / "pose" / f"{name}.txt", POSE @ FLIP)
        if photos:
            (folder / "rgb").mkdir(exist_ok=True)
            Image.new("RGB", (8, 6), (0, 0, 255)).save(folder / "rgb" / f"{name}.png")
    return folder


def test_blender(tmp_path):
    views = load_blender(write_blender(tmp_path))
    assert [view.name for view in views] == ["r_0", "r_1"]
    camera = views[0].camera
    np.testing.assert_array_equal(camera.matrix, POSE)
    assert (camera.width, camera.height) == (8, 6)
    assert camera.fx == camera.fy == pytest.approx(4 / math.tan(0.3))
    # The original's integer pixel x sends its ray through (x - W/2) / f; Camera's through (x + 0.5 - cx) / f.
    assert (camera.cx, camera.cy) == (4.5, 3.5)
    assert views[1].image_path == tmp_path / "test" / "r_1.png"


def test_nsvf(tmp_path):
    views = load_nsvf(write_nsvf(tmp_path))
    assert [view.name for view in views] == ["2_test_a", "2_test_b"]
    np.testing.assert_allclose(views[0].camera.matrix, POSE, atol=1e-15)
    camera = views[0].camera
    assert (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy) == (8, 6, 9, 9, 4.5, 3.5)
    assert [view.name for view in load_nsvf(tmp_path, "train")] == ["0_train"]


def test_nsvf_matrix_intrinsics_and_short_poses(tmp_path):
    write_nsvf(tmp_path, intrinsics="9 0 4 0\n0 10 3 0\n0 0 1 0\n0 0 0 1\n")
    np.savetxt(tmp_path / "pose" / "2_test_a.txt", (POSE @ FLIP)[:3])
    np.savetxt(tmp_path / "pose" / "2_test_b.txt", (POSE @ FLIP).reshape(1, 16))
    for view in load_nsvf(tmp_path):
        camera = view.camera
        np.testing.assert_allclose(camera.matrix, POSE, atol=1e-15)
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == (9, 10, 4.5, 3.5)


def test_poses_without_photos(tmp_path):
    (tmp_path / "blender").mkdir()
    blender = write_blender(tmp_path / "blender", photos=False)
    with pytest.raises(DatasetError, match="expected photos or a given size, got neither"):
        load_blender(blender)
    assert load_blender(blender, size=(80, 60))[0].camera.width == 80
    assert load_blender(blender, size=(80, 60))[0].image_path is None
    write_blender(blender, photos=False, w=16, h=12)
    assert load_blender(blender)[0].camera.height == 12
    nsvf = load_nsvf(write_nsvf(tmp_path / "nsvf", photos=False))
    assert nsvf[0].image_path is None
    assert nsvf[0].camera.width == 8


def test_load_dataset_recognises_the_kind(tmp_path):
    (tmp_path / "b").mkdir()
    blender = load_dataset(write_blender(tmp_path / "b"))
    assert (blender.kind, len(blender.views), blender.near, blender.background) == ("blender", 2, None, None)
    assert load_dataset(tmp_path / "b" / "transforms_test.json").views == blender.views
    folder = write_nsvf(tmp_path / "n")
    (folder / "near_and_far.txt").write_text("2.0 6.0\n")
    (folder / "background_color.txt").write_text("0 0.5 1")
    nsvf = load_dataset(folder)
    assert (nsvf.kind, nsvf.near, nsvf.far, nsvf.background) == ("nsvf", 2.0, 6.0, (0.0, 0.5, 1.0))
    assert available_splits(folder) == ("train", "test")
    assert available_splits(tmp_path / "b") == ("test",)


def test_near_and_far_from_the_box(tmp_path):
    folder = write_nsvf(tmp_path / "n")
    assert near_and_far(folder) is None
    (folder / "bbox.txt").write_text("-1 -1 -1 1 1 1 0.4")  # cameras at (3, 2, 1)
    near, far = near_and_far(folder) or (0, 0)
    assert near == pytest.approx(math.sqrt(2**2 + 1**2))
    assert far == pytest.approx(math.sqrt(4**2 + 3**2 + 2**2))


def test_load_image_lays_transparency_over_the_background(tmp_path):
    pixels = np.zeros((6, 8, 4), np.uint8)
    pixels[0, 0] = (255, 0, 0, 255)
    pixels[0, 1] = (255, 0, 0, 51)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    view = View(Camera.from_matrix(POSE, 8, 6, fx=9), tmp_path / "a.png", "a")
    image = load_image(view, (0.0, 1.0, 0.5))
    assert image.dtype == np.float32
    assert image.shape == (6, 8, 3)
    np.testing.assert_allclose(image[0, 0], (1, 0, 0))
    np.testing.assert_allclose(image[0, 1], (0.2, 0.8, 0.4), atol=1e-6)
    np.testing.assert_allclose(image[5, 7], (0, 1, 0.5))


def test_load_image_refuses_what_does_not_fit(tmp_path):
    Image.new("RGB", (4, 6)).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "small.png").read_bytes()[:40])
    camera = Camera.from_matrix(POSE, 8, 6, fx=9)
    with pytest.raises(DatasetError, match=r"small.png: expected 8x6 pixels, got 4x6"):
        load_image(View(camera, tmp_path / "small.png", "a"))
    with pytest.raises(DatasetError, match=r"broken.png: cannot read this picture"):
        load_image(View(camera, tmp_path / "broken.png", "a"))
    with pytest.raises(DatasetError, match="view a: expected a photo"):
        load_image(View(camera, None, "a"))


NAN_POSE = np.where(np.eye(4) > 0, np.nan, 0.0).tolist()
WRONG_BLENDER = {
    "no angle": ({"camera_angle_x": None}, "camera_angle_x: expected an angle"),
    "an angle of 200 degrees": ({"camera_angle_x": 3.5}, "camera_angle_x: expected an angle"),
    "no frames": ({"frames": []}, "frames: expected a list of at least one"),
    "a frame of text": ({"frames": ["r_0"]}, r"frames\[0\]: expected an object"),
    "a frame without a pose": ({"frames": [{"file_path": "a"}]}, r"transform_matrix: expected a matrix"),
    "a ragged pose": (
        {"frames": [{"file_path": "a", "transform_matrix": [[1, 2], [3]]}]},
        "transform_matrix: expected a matrix",
    ),
    "a pose with NaN": (
        {"frames": [{"file_path": "a", "transform_matrix": NAN_POSE}]},
        "transform_matrix: expected finite",
    ),
    "a size of text": ({"w": "8", "h": 6, "frames": [{"transform_matrix": POSE.tolist()}]}, "expected a size"),
}


@pytest.mark.parametrize("name", WRONG_BLENDER)
def test_wrong_blender_files_are_refused_in_one_line(name, tmp_path):
    changes, message = WRONG_BLENDER[name]
    write_blender(tmp_path, photos=False, **changes)
    with pytest.raises(DatasetError, match=message) as caught:
        load_dataset(tmp_path, size=(8, 6))
    assert str(caught.value).startswith(f"{tmp_path / 'transforms_test.json'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000], ids=range(5))
def test_bad_json_is_refused(text, tmp_path):
    (tmp_path / "transforms_test.json").write_bytes(text)
    with pytest.raises(DatasetError, match=r"transforms_test.json: expected"):
        load_dataset(tmp_path)


def test_missing_and_odd_photos_are_refused(tmp_path):
    write_blender(tmp_path)
    Image.new("RGB", (9, 6)).save(tmp_path / "test" / "r_1.png")
    with pytest.raises(DatasetError, match=r"r_1.png: expected 8x6 as the others, got 9x6"):
        load_dataset(tmp_path)
    (tmp_path / "test" / "r_1.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"r_1.png: cannot read this picture"):
        load_dataset(tmp_path)
    (tmp_path / "test" / "r_1.png").unlink()
    with pytest.raises(DatasetError, match=r"expected a photo for every pose, got none for ./test/r_1"):
        load_dataset(tmp_path, strict=True)


def test_wrong_nsvf_folders_are_refused(tmp_path):
    folder = write_nsvf(tmp_path / "n")
    with pytest.raises(DatasetError, match=r"expected poses of the val split \(1_\*.txt\), got none"):
        load_dataset(folder, "val")
    with pytest.raises(DatasetError, match="split: expected one of train, val, test, got 'all'"):
        load_dataset(folder, "all")
    pose = folder / "pose" / "2_test_a.txt"
    for text, message in {"1 2 3": "got 3", "nan " * 16: "finite", "a b": "expected numbers"}.items():
        pose.write_text(text)
        with pytest.raises(DatasetError, match=message):
            load_dataset(folder)
    (folder / "rgb" / "2_test_b.png").unlink()
    np.savetxt(pose, POSE)
    with pytest.raises(DatasetError, match="expected a photo for every pose, got none for 2_test_b"):
        load_dataset(folder, strict=True)
    for text in ("", "9 4", "-9 4 3 0", "nine"):
        (folder / "intrinsics.txt").write_text(text)
        with pytest.raises(DatasetError, match=r"intrinsics.txt: expected"):
            load_dataset(folder)


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"expected transforms_test.json \(Blender\) or pose/"):
        load_dataset(tmp_path)
    with pytest.raises(DatasetError, match="nothing there"):
        load_dataset(tmp_path / "missing")


def test_the_toy_cameras_equal_the_original_codes(shared_data):
    oracle = np.load(shared_data / "kilonerf_toy" / "oracle.npz")
    dataset = load_dataset(shared_data / "kilonerf_toy" / "data_Toy")
    np.testing.assert_array_equal([view.camera.matrix for view in dataset.views], oracle["poses"])
    camera = dataset.views[0].camera
    width, height, fx, fy, cx, cy = oracle["intrinsics_WHfxfycxcy"]
    assert (camera.width, camera.height, camera.fx, camera.fy) == (width, height, fx, fy)
    assert (camera.cx, camera.cy) == (cx + 0.5, cy + 0.5)
    assert (dataset.near, dataset.far) == (2.0, 6.0)


def test_both_layouts_of_the_chair_give_the_same_cameras(shared_data, chair_photos):
    blender = {view.name: view.camera for view in load_blender(chair_photos)}
    nsvf = {view.name: view.camera for view in load_nsvf(shared_data / "chair_kilonerf")}
    for number in (0, 40, 80, 120, 160):
        first, second = blender[f"r_{number}"], nsvf[f"2_test_{number:04d}"]
        np.testing.assert_allclose(first.matrix, second.matrix, atol=1e-7)
        assert first.fx == pytest.approx(second.fx)
        assert (first.cx, first.width) == (second.cx, second.width) == (400.5, 800)
