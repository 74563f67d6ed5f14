"""Scale in rotations is removed, mirrored and sheared poses are refused by name, for all kinds of data sets."""

import json

import numpy as np
import pytest

from kilonerf.model_io import DatasetError, load_dataset
from kilonerf.model_io.datasets import load_splits
from support.photo_sets import FLIP, ring, save, write_blender, write_nerfstudio

GREY = np.full((90, 120, 3), 128, np.uint8)
CAMERAS = ring(4)


def write(kind, folder, change):
    """A data set of four views whose camera-to-world matrices, with OpenGL axes, are changed."""
    matrices = [change(number, camera.matrix.copy()) for number, camera in enumerate(CAMERAS)]
    if kind == "nsvf":
        (folder / "pose").mkdir()
        (folder / "intrinsics.txt").write_text("100 60 45 0\n")
        for number, matrix in enumerate(matrices):
            np.savetxt(folder / f"pose/0_{number}.txt", matrix @ FLIP)
            save(folder / f"rgb/0_{number}.png", GREY)
        return folder
    if kind == "llff":
        rows = [
            np.r_[np.c_[-m[:3, 1], m[:3, 0], m[:3, 2], m[:3, 3], [90, 120, 100.0]].reshape(-1), 2, 6] for m in matrices
        ]
        np.save(folder / "poses_bounds.npy", np.stack(rows))
        return folder
    if kind == "blender":
        file = write_blender(folder, CAMERAS, lambda camera: GREY) / "transforms_train.json"
    else:
        file = write_nerfstudio(folder, CAMERAS, train_filenames=[f"images/f_{n:02d}.png" for n in range(4)])
        file /= "transforms.json"
    document = json.loads(file.read_text())
    for frame, matrix in zip(document["frames"], matrices, strict=True):
        frame["transform_matrix"] = matrix.tolist()
    file.write_text(json.dumps(document))
    return folder


KINDS = ["blender", "nerfstudio", "nsvf", "llff"]


def scaled(number, matrix):
    matrix[:3, :3] *= [0.35, 0.35 + 0.1 * number, 0.35]
    return matrix


@pytest.mark.parametrize("kind", KINDS)
def test_scale_is_removed_with_a_line(kind, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    good = load_dataset(write(kind, tmp_path / "a", lambda number, matrix: matrix), "train")
    dataset = load_dataset(write(kind, tmp_path / "b", scaled), "train")
    for view, before in zip(dataset.views, good.views, strict=True):
        np.testing.assert_allclose(view.camera.matrix, before.camera.matrix, atol=1e-9)
    assert any("4 of 4 poses have axes of lengths 0.35 to 0.65: scale" in note for note in dataset.notes)
    assert not any("axes" in note for note in good.notes)


def test_a_scale_of_a_thousandth_is_removed_too(tmp_path):
    """Not refused as flat: in metres what was in millimetres."""
    dataset = load_dataset(
        write("nerfstudio", tmp_path, lambda number, matrix: matrix @ np.diag([1e-5] * 3 + [1.0])), "train"
    )
    np.testing.assert_allclose(dataset.views[0].camera.matrix, CAMERAS[0].matrix, atol=1e-9)


def test_rotations_written_with_few_digits_are_left_alone(tmp_path):
    dataset = load_dataset(write("nerfstudio", tmp_path, lambda number, matrix: np.round(matrix, 4)), "train")
    assert dataset.notes == ()
    assert np.array_equal(dataset.views[0].camera.matrix, np.round(CAMERAS[0].matrix, 4))


def sheared(number, matrix):
    if number == 2:
        matrix[:3, 0] += 0.3 * matrix[:3, 1]
    return matrix


def mirrored(number, matrix):
    return np.diag([1.0, 1, -1, 1]) @ matrix


def one_mirrored(number, matrix):
    return matrix @ np.diag([-1.0 if number == 2 else 1.0, 1, 1, 1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (sheared, r"2(\.png)?: expected axes at right angles, got 73.3 degrees between two"),
        (mirrored, r"expected right-handed poses, got mirrored ones \(determinant -1\) in all 4 views"),
        (one_mirrored, r"2(\.png)?: expected a right-handed pose as the others, got a mirrored one"),
    ],
)
def test_shear_and_mirroring_are_refused(kind, change, said, tmp_path):
    with pytest.raises(DatasetError, match=said) as caught:
        load_dataset(write(kind, tmp_path, change), "train")
    assert "\n" not in str(caught.value)


def test_mirrored_poses_are_one_fault_for_both_splits(tmp_path):
    write_nerfstudio(tmp_path, [camera.moved(mirrored(0, camera.matrix)) for camera in ring(9)])
    with pytest.raises(DatasetError) as caught:
        load_splits(tmp_path, ("train", "test"))
    assert len(caught.value.faults) == 2
