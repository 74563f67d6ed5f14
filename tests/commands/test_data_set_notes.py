"""What commands say about data sets: what was left out, what is not there, what would be done with them."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
from kilonerf.commands import evaluate as eval_command
from kilonerf.commands import info as info_command
from kilonerf.commands import render as render_command
from kilonerf.commands import train as train_command
from kilonerf.trainer.loop.distributed import World
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.pipeline import subject
from support.analytic_scene import write_photos
from support.photo_sets import ring, save, write_nerfstudio

TEACHER = ("--grid.resolution", 16, "--grid.steps", 2, 2, 2, 2, "--grid.rays", 64, "--stage", "teacher")
NOTE = "note: transforms_train.json: 1 of 12 poses has no photo: left out: ./train/r_3"
needs_extension = pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")


@pytest.fixture
def train(call_command):
    return functools.partial(call_command, train_command.main)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve views, one of them without its photo."""
    folder = write_photos(tmp_path / "balls", views=12, size=32)
    (folder / "train/r_3.png").unlink()
    return folder


@needs_extension
def test_training_says_what_it_leaves_out(train, photos, tmp_path):
    (photos / "transforms_test.json").write_text("{")
    code, _, said = train(photos, "-o", tmp_path / "a.knf", *TEACHER, "--preview-every", 0)
    assert code == 0, said
    lines = [line for line in said.splitlines() if "note: " in line]
    assert lines[0] == f"kilonerf-train: {NOTE}"
    assert lines[1].startswith(
        "kilonerf-train: note: no previews while training, for the split for testing cannot be read"
    )
    assert len(lines) == 2


def test_strict_training_refuses_what_it_would_leave_out(train, photos, tmp_path):
    code, _, said = train(photos, "-o", tmp_path / "a.knf", *TEACHER, "--strict")
    assert code == 2
    assert said.startswith("kilonerf-train: error: ")
    assert said.endswith("expected a photo for every pose, got none for ./train/r_3\n")


def test_other_commands_say_it_too(call_command, photos, tmp_path, scene_file, fake_renderers):
    code, _, said = call_command(eval_command.main, scene_file, photos, "--split", "train", "--json", "--no-lpips")
    assert (code, said.splitlines()[0]) == (0, f"kilonerf-eval: {NOTE}")
    poses = ("--poses", photos, "--split", "train", "-o", tmp_path / "p_%02d.png", "--frames", "0:1")
    code, _, said = call_command(render_command.main, scene_file, *poses)
    assert (code, said.splitlines()[0]) == (0, f"kilonerf-render: {NOTE}")


@needs_extension
def test_photos_without_poses_get_them_from_colmap(train, photos, tmp_path, monkeypatch):
    """By a stub that writes what COLMAP would have found; the second run finds it there."""
    folder, calls, in_first = tmp_path / "plain", [], []
    shutil.copytree(photos / "train", folder)
    poses = (photos / "transforms_train.json").read_text().replace("./train/", "")

    def from_first(self, make):
        in_first.append(True)
        made = make()
        in_first.pop()
        return made

    def find(where, found, say):
        assert in_first  # of several processes, one alone looks for them
        calls.append(len(found))
        say("10 of 11 photos are placed")
        (where / "transforms_train.json").write_text(poses)

    monkeypatch.setattr(World, "from_first", from_first)
    monkeypatch.setattr(subject, "find_poses", find)
    words = (folder, "-o", tmp_path / "a.knf", *TEACHER, "--preview-every", 0)
    code, _, said = train(*words)
    assert (code, said.splitlines()[0]) == (0, "kilonerf-train: 10 of 11 photos are placed")
    code, _, said = train(*words)
    assert (code, calls) == (0, [11])
    assert "placed" not in said


def test_info_answers_before_training(call_command, photos, tmp_path):
    call = functools.partial(call_command, info_command.main)
    code, printed, said = call(photos, "--json")
    assert (code, said) == (0, "")
    facts = json.loads(printed)
    assert facts["kind"] == "blender"
    assert facts["splits"] == {"train": {"views": 11, "photos": 11, "masks": 0}}
    assert facts["sizes"] == {"32x32": 11}
    assert facts["lenses"][0]["kind"] == "pinhole"
    assert facts["photo_bytes"] == 11 * 32 * 32 * 3
    assert facts["cameras_spread"] == pytest.approx(4, rel=0.5)
    assert f"note: {facts['notes'][0]}" == NOTE
    (photos / "transforms_test.json").write_text("{")
    code, printed, said = call(photos)
    assert code == 0
    text = " ".join(printed.split())
    for part in ("Blender (NeRF-Synthetic)", "11 views", "11 of 32x32", "left out: ./train/r_3", "expected JSON"):
        assert part in text


def test_info_of_masks_lenses_and_photos_without_poses(call_command, tmp_path):
    call = functools.partial(call_command, info_command.main)
    fields = {"camera_model": "OPENCV_FISHEYE", "mask_path": "masks/a.png", "fl_x": 50.0, "fl_y": 50.0}
    folder = write_nerfstudio(tmp_path / "set", ring(9), **fields)
    for number in range(9):
        save(folder / f"images/f_{number:02d}.png", np.zeros((90, 120, 3), np.uint8))
    save(folder / "masks/a.png", np.full((90, 120), 255, np.uint8))
    code, printed, _ = call(folder / "transforms.json")
    text = " ".join(printed.split())
    assert code == 0
    assert "train split 7 views, 7 with a mask" in text
    assert "fisheye in 9 views, " in text
    assert "degrees wide, straightened" in text
    assert "region -24.24 -24.24 -24.24 to 24.24" in text  # aabb_scale 16
    code, printed, _ = call(folder / "images")
    assert code == 0
    assert "9 photos without poses: kilonerf-train finds them by COLMAP" in " ".join(printed.split())


def test_info_of_what_cannot_be_read_is_one_line(call_command, tmp_path):
    frames = [{"file_path": "a", "latlong": True, "transform_matrix": np.eye(4).tolist()}]
    (tmp_path / "transforms.json").write_text(json.dumps({"w": 8, "h": 6, "fl_x": 9, "frames": frames}))
    code, printed, said = call_command(info_command.main, tmp_path)
    assert (code, printed, said.count("\n")) == (2, "", 1)
    assert "latlong: expected a pinhole" in said
