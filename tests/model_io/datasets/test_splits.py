"""Splits: a split that is only for testing blocks nothing, and a file and its folder are the same data."""

import json

import numpy as np
import pytest

from kilonerf.model_io import DatasetError, load_dataset
from kilonerf.model_io.datasets import available_splits, load_for_training
from kilonerf.model_io.files.text import read_text
from support.photo_sets import FLIP, ring, save, write_blender, write_nerfstudio

GREY = np.full((90, 120, 3), 128, np.uint8)


def nerfstudio(folder, **fields):
    write_nerfstudio(folder, ring(9), **fields)
    for number in range(9):
        save(folder / f"images/f_{number:02d}.png", GREY)
    return folder


def blender(folder, *, missing=()):
    """A train split with photos, and a test split without the photos of some numbers."""
    write_blender(folder, ring(4), lambda camera: GREY)
    document = json.loads((folder / "transforms_train.json").read_text())
    for number, frame in enumerate(document["frames"]):
        frame["file_path"] = f"./test/r_{number}"
        if number not in missing:
            save(folder / f"test/r_{number}.png", GREY)
    (folder / "transforms_test.json").write_text(json.dumps(document))
    return folder


LISTS = {"train_filenames": ["images/f_01.png", "images/f_02.png"], "val_filenames": ["images/f_03.png"]}


@pytest.mark.parametrize("test", [[], None])
def test_an_empty_or_absent_list_is_no_split(test, tmp_path):
    nerfstudio(tmp_path, **LISTS, test_filenames=test)
    assert available_splits(tmp_path) == ("train", "val")
    train, other = load_for_training(tmp_path)
    assert (len(train.views), train.notes) == (2, ())
    assert other is not None
    assert [view.name for view in other.views] == ["f_03"]
    with pytest.raises(DatasetError) as caught:
        load_dataset(tmp_path, "test")
    said = f"test_filenames: expected a list of file names, got {test}; of splits it has train, val (--split)"
    assert str(caught.value).endswith(said)


def test_a_test_split_without_photos_leaves_training_alone_and_is_said(tmp_path):
    blender(tmp_path, missing=range(4))
    train, other = load_for_training(tmp_path)
    assert (len(train.views), other) == (4, None)
    (note,) = train.notes
    assert "no previews while training" in note
    assert "transforms_test.json: expected photos for 4 poses, got none: searched" in note
    assert "\n" not in note
    with pytest.raises(DatasetError, match="expected photos for 4 poses"):
        load_for_training(tmp_path, strict=True)


def test_a_test_photo_that_is_missing_is_said(tmp_path):
    blender(tmp_path, missing=[2])
    train, other = load_for_training(tmp_path)
    assert other is not None
    assert ([view.name for view in other.views], train.notes) == (["r_0", "r_1", "r_3"], ())
    assert other.notes == ("transforms_test.json: 1 of 4 poses has no photo: left out: ./test/r_2",)
    with pytest.raises(DatasetError, match=r"expected a photo for every pose, got none for ./test/r_2"):
        load_for_training(tmp_path, strict=True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"frames": []}', '{"camera_angle_x": 9, "frames": [1, 2]}'])
def test_a_broken_test_split_leaves_training_alone(content, tmp_path):
    blender(tmp_path)
    (tmp_path / "transforms_test.json").write_text(content)
    train, other = load_for_training(tmp_path)
    assert (len(train.views), other, len(train.notes)) == (4, None, 1)


def test_a_broken_train_split_does_not(tmp_path):
    blender(tmp_path)
    (tmp_path / "train/r_2.png").write_bytes(b"none")
    with pytest.raises(DatasetError, match=r"train/r_2.png: cannot read this picture"):
        load_for_training(tmp_path)


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(
        DatasetError, match=r"transforms_val.json: .* got nothing there; of splits there are train, test"
    ):
        load_dataset(blender(tmp_path), "val")


@pytest.mark.parametrize("fields", [{}, {"fl_x": None, "fl_y": None, "cx": None, "cy": None, "aabb_scale": None,
                                         "applied_transform": None, "camera_angle_x": 0.8}])  # fmt: skip
def test_a_file_is_the_same_data_as_its_folder(fields, tmp_path):
    nerfstudio(tmp_path, **fields)
    for split in ("train", "test"):
        assert load_dataset(tmp_path / "transforms.json", split) == load_dataset(tmp_path, split)
    assert available_splits(tmp_path / "transforms.json") == available_splits(tmp_path) == ("train", "test")


@pytest.mark.parametrize("name", ["transforms_backup.json", "transforms_old.json", "transforms_train_old.json"])
def test_a_backup_beside_the_file_changes_nothing(name, tmp_path):
    before = load_dataset(nerfstudio(tmp_path), "train")
    (tmp_path / name).write_text("{")
    assert load_dataset(tmp_path, "train") == before


def test_nsvfs_real_captures_test_with_1(tmp_path):
    (tmp_path / "pose").mkdir()
    (tmp_path / "intrinsics.txt").write_text("100 0 60 0\n0 100 45 0\n0 0 1 0\n0 0 0 1\n")
    for name in ("0_a", "0_b", "1_c"):
        np.savetxt(tmp_path / "pose" / f"{name}.txt", ring(1)[0].matrix @ FLIP)
        save(tmp_path / "rgb" / f"{name}.png", GREY)
    assert available_splits(tmp_path) == ("train", "test")
    test = load_dataset(tmp_path, "test")
    assert [view.name for view in test.views] == ["1_c"]
    assert "those of 1_* are for testing" in test.notes[0]
    assert len(load_for_training(tmp_path)[0].views) == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_of_windows_tools(encoding, tmp_path):
    nerfstudio(tmp_path)
    before = load_dataset(tmp_path, "train")
    file = tmp_path / "transforms.json"
    file.write_bytes(file.read_text().replace(", ", ",\r\n").encode(encoding))
    assert load_dataset(tmp_path, "train") == before
    assert "\r" not in read_text(file, 10**6, DatasetError)


def test_hints_of_instant_ngp(tmp_path):
    dataset = load_dataset(nerfstudio(tmp_path, aabb_scale=4, scale=0.5, offset=[0.5, 0.25, 0.0]), "train")
    assert dataset.region == ((-4, -3.5, -3), (4, 4.5, 5))
    assert dataset.bounding_box is None


def test_photos_without_poses_are_told_where_to_go(tmp_path):
    save(tmp_path / "a.png", GREY)
    with pytest.raises(DatasetError, match="there are 1 photos, whose poses kilonerf-train can find"):
        load_dataset(tmp_path)
