"""All faults of a data set are found in one go and listed, then there is one error."""

import json
import sys

import numpy as np
import pytest

from kilonerf.commands import evaluate as eval_command
from kilonerf.commands.command_line import report
from kilonerf.model_io import DatasetError, load_dataset
from kilonerf.model_io.datasets import load_splits
from support.photo_sets import FLIP, ring, save, spots_photo, write_blender, write_nerfstudio

GREY = np.full((90, 120, 3), 128, np.uint8)


def blender(folder, count=6):
    return write_blender(folder, ring(count), lambda camera: np.full((90, 120, 4), 255, np.uint8))


def spoil(folder):
    """Five faults of five kinds."""
    file = folder / "transforms_train.json"
    document = json.loads(file.read_text())
    document["frames"][0]["transform_matrix"] = [[float("nan")] * 4] * 4
    del document["frames"][1]["transform_matrix"]
    file.write_text(json.dumps(document))
    (folder / "train/r_2.png").unlink()
    save(folder / "train/r_3.png", GREY[:45])
    photo = folder / "train/r_4.png"
    save(photo, np.random.default_rng(0).integers(0, 256, (90, 120, 4), dtype=np.uint8))
    photo.write_bytes(photo.read_bytes()[:20_000])  # a good header, half of the pixels
    return folder


def test_all_faults_are_listed(tmp_path):
    with pytest.raises(DatasetError) as caught:
        load_dataset(spoil(blender(tmp_path)), "train", strict=True)
    file, photos = tmp_path / "transforms_train.json", tmp_path / "train"
    starts = [
        f"{file}: frames[0].transform_matrix: expected finite numbers",
        f"{file}: frames[1].transform_matrix: expected a matrix of 4x4 numbers, got None",
        f"{file}: expected a photo for every pose, got none for ./train/r_2",
        f"{photos / 'r_3.png'}: expected 120x90 as the others, got 120x45",
        f"{photos / 'r_4.png'}: cannot read this picture: ",
    ]
    assert len(caught.value.faults) == len(starts)
    for fault, start in zip(caught.value.faults, starts, strict=True):
        assert fault.startswith(start)
    assert str(caught.value).splitlines() == [
        *caught.value.faults,
        f"{tmp_path}: expected a whole data set, got 5 faults",
    ]


def test_a_single_fault_is_the_error(tmp_path):
    folder = blender(tmp_path)
    (folder / "train/r_2.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"r_2.png: cannot read this picture") as caught:
        load_dataset(folder, "train")
    assert caught.value.faults == ()
    assert "\n" not in str(caught.value)


def test_long_lists_are_cut(tmp_path):
    folder = blender(tmp_path, 40)
    for number in range(33):
        (folder / f"train/r_{number}.png").unlink()
    with pytest.raises(DatasetError) as caught:
        load_dataset(folder, "train", strict=True)
    assert len(caught.value.faults) == 11
    assert caught.value.faults[-1] == "and 23 more"
    assert caught.value.faults[9].endswith("got none for ./train/r_9")
    assert caught.value.args[0].endswith("got 33 faults")


def test_the_size_of_most_photos_counts_not_that_of_the_first(tmp_path):
    folder = blender(tmp_path)
    save(folder / "train/r_0.png", GREY[:45])
    with pytest.raises(DatasetError, match=r"r_0.png: expected 120x90 as the others, got 120x45"):
        load_dataset(folder, "train")


def test_splits_are_looked_at_together_and_shared_faults_are_said_once(tmp_path):
    (tmp_path / "pose").mkdir()
    (tmp_path / "intrinsics.txt").write_text("nine")
    for name in ("0_a", "0_b", "2_c"):
        np.savetxt(tmp_path / "pose" / f"{name}.txt", ring(1)[0].matrix @ FLIP)
        save(tmp_path / "rgb" / f"{name}.png", GREY)
    (tmp_path / "pose" / "0_b.txt").write_text("1 2 3")
    (tmp_path / "pose" / "2_c.txt").unlink()
    np.savetxt(tmp_path / "pose" / "2_d.txt", np.eye(4))
    (tmp_path / "bbox.txt").write_text("1 1 1 0 0 0")
    with pytest.raises(DatasetError) as caught:
        load_splits(tmp_path, ("train", "test"))
    expected = ["bbox.txt: expected a lower", "0_b.txt: expected 12 or 16", "intrinsics.txt: expected numbers"]
    expected += ["pose: expected a pose for every photo, got none for 2_c.png"]
    assert len(caught.value.faults) == len(expected)
    for text in expected:
        assert sum(text in fault for fault in caught.value.faults) == 1


def test_one_lens_that_is_wrong_is_said_once(tmp_path):
    write_nerfstudio(tmp_path, ring(9), k1=-9.0)
    with pytest.raises(DatasetError, match="distortion") as caught:
        load_dataset(tmp_path, "train")
    assert caught.value.faults == ()


def test_the_command_lists_the_faults_and_ends_with_one_line(tmp_path, monkeypatch, capsys, chair_path):
    folder = spoil(blender(tmp_path))
    monkeypatch.setattr(sys, "argv", ["kilonerf-eval", str(chair_path), str(folder), "--split", "train", "--strict"])
    with pytest.raises(SystemExit) as ended:
        eval_command.main()
    assert ended.value.code == 2
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert printed.out == ""
    assert len(lines) == 6
    assert all(line.startswith("kilonerf-eval: ") for line in lines)
    assert lines[-1] == f"kilonerf-eval: error: {tmp_path}: expected a whole data set, got 5 faults"
    assert not any("error:" in line for line in lines[:-1])


def test_each_fault_is_printed_on_one_line(capsys):
    assert report("kilonerf-x", DatasetError("two faults", ["a\nb", "c"])) == 2
    assert capsys.readouterr().err.splitlines() == ["kilonerf-x: a b", "kilonerf-x: c", "kilonerf-x: error: two faults"]


def test_nerfstudio_frames_are_all_looked_at(tmp_path):
    write_nerfstudio(tmp_path, ring(9))
    for number in range(1, 8):
        save(tmp_path / f"images/f_{number:02d}.png", spots_photo(np.zeros((3, 2)), 120, 90 if number != 4 else 80))
    (tmp_path / "images/f_02.png").unlink()
    document = json.loads((tmp_path / "transforms.json").read_text())
    document["frames"][3]["fl_x"] = "wide"
    document["frames"][5]["transform_matrix"] = [1, 2]
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    with pytest.raises(DatasetError) as caught:
        load_dataset(tmp_path, "train", strict=True)
    text = str(caught.value)
    assert len(caught.value.faults) == 4
    for part in ("none for images/f_02.png", "f_04.png: expected 120x90", "frames[3]: fl_x", "frames[5].transform_mat"):
        assert part in text
