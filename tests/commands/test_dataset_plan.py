"""kilonerf-info DATASET: what training would do, and a plan as a picture."""

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="training needs torch")

from kilonerf.commands import info as info_command
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.pipeline import plan
from kilonerf.trainer.settings import PRESETS
from support.analytic_scene import write_outdoors, write_photos, write_room
from support.photo_sets import ring, write_nerfstudio


@pytest.fixture
def call(call_command):
    return functools.partial(call_command, info_command.main)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(plan, "calibrate", lambda: 4.0e6)
    return write_photos(tmp_path / "balls", views=8, size=32)


def test_a_data_set_says_what_training_would_do(call, photos):
    code, printed, complaints = call(photos, "--json")
    assert (code, complaints) == (0, "")
    training = json.loads(printed)["training"]
    assert training["scale"] == pytest.approx(1.0, rel=0.1)
    assert training["bounds"]["source"] == "silhouettes of 8 views"
    assert 2.5 < training["near"] < training["far"] < 5.5
    assert 0.5e9 < training["memory"] < 4e9
    assert set(training["minutes"]) == set(PRESETS)
    assert training["minutes"]["tiny"] < training["minutes"]["fast"] < training["minutes"]["quality"]


def test_the_same_for_people(call, photos, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    code, printed, _ = call(photos)
    assert code == 0
    for words in ("box to be trained", "from silhouettes of 8 views", "depths", "estimate", "fast ", "paper "):
        assert words in printed


def test_the_sky_of_a_capture_is_told(call, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "calibrate", lambda: 4.0e6)
    monkeypatch.setenv("COLUMNS", "300")
    code, printed, _ = call(write_outdoors(tmp_path / "outdoors", views=12))
    assert code == 0
    assert re.search(r"sky +behind [23]\d% of the photos' pixels", printed)
    code, printed, _ = call(write_room(tmp_path / "room", views=12), "--json")
    assert json.loads(printed)["training"]["sky"] == 0


def test_estimates_are_those_that_were_measured():
    assert plan.estimated_minutes(PRESETS["fast"], 4.0e6) == pytest.approx(40, rel=0.05)
    assert plan.estimated_minutes(PRESETS["fast"], 2.0e6) == pytest.approx(80, rel=0.05)
    assert plan.estimated_minutes(PRESETS["tiny"], 4.0e6, nested=True) == pytest.approx(10.3, rel=0.05)


def test_a_capture_is_estimated_as_one(call, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "calibrate", lambda: 4.0e6)
    _, printed, _ = call(write_room(tmp_path / "room", views=12), "--json")
    minutes = json.loads(printed)["training"]["minutes"]
    assert minutes["tiny"] == pytest.approx(10.3, rel=0.05)
    assert "paper" not in minutes  # its teacher knows a single box only


@pytest.mark.skipif(extension is None, reason="needs the native extension: the twin is slow")
def test_the_calibration_measures_something():
    assert 1e4 < plan.calibrate() < 1e10


def test_the_plan_shows_cameras_and_box(call, photos, tmp_path):
    code, _, complaints = call(photos, "--picture", tmp_path / "plan.png")
    assert (code, complaints) == (0, "")
    pixels = np.asarray(Image.open(tmp_path / "plan.png"))
    blue = np.argwhere((pixels == (30, 90, 200)).all(axis=-1))
    red = np.argwhere((pixels == (200, 40, 40)).all(axis=-1))
    assert len(blue) > 200
    assert len(red) > 500
    assert np.abs(red.mean(axis=0) - 500).max() < 120  # the box is in the middle of the cameras
    assert np.ptp(blue, axis=0).min() > np.ptp(red, axis=0).max()


def test_poses_without_photos_are_not_trained_and_still_drawn(call, tmp_path):
    folder = write_nerfstudio(tmp_path / "poses", ring(9, 32, 24))
    code, printed, _ = call(folder, "--picture", tmp_path / "plan.png")
    assert code == 0
    assert "has no photos" in printed
    assert (tmp_path / "plan.png").exists()


@pytest.mark.parametrize("name", ["plan.jpg", "plan"])
def test_a_plan_is_a_png(call, photos, tmp_path, name):
    code, _, complaints = call(photos, "--picture", tmp_path / name)
    assert code == 2
    assert "ends in .png" in complaints


def test_a_plan_needs_a_data_set(call, scene_file, tmp_path):
    code, _, complaints = call(scene_file, "--picture", tmp_path / "plan.png")
    assert code == 2
    assert "expected a data set" in complaints
