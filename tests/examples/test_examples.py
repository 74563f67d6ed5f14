"""The examples run as they stand, and leave what they say."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kilonerf.model_io import CameraPath, load_kilonerf_scene
from kilonerf.trainer.ops.native import extension

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, *arguments: object) -> str:
    """What an example prints; a warning in it is an error."""
    command = [sys.executable, "-W", "error", EXAMPLES / name, *arguments]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_listed_and_tested() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    text = (EXAMPLES / "README.md").read_text()
    assert scripts == {name for name in scripts if f"({name})" in text}
    assert scripts == {name for name in scripts if f'"{name}"' in Path(__file__).read_text()}
    assert len(scripts) == 7


def test_open_and_render(tmp_path: Path) -> None:
    printed = run("01_open_and_render.py", "--output", tmp_path / "chair.png")
    assert printed.startswith("547 of (11, 11, 16) cells hold something")
    picture = np.asarray(Image.open(tmp_path / "chair.png"))
    assert picture.shape == (400, 400, 3)
    assert picture.std() > 20


def test_query_points(tmp_path: Path) -> None:
    printed = run("02_query_points.py", "--output", tmp_path / "slice.png")
    assert "of 65,536 points have density" in printed
    assert 0.01 < (np.asarray(Image.open(tmp_path / "slice.png")) < 250).mean() < 0.6


def test_camera_path_to_video(tmp_path: Path) -> None:
    printed = run("03_camera_path_to_video.py", "--output", tmp_path / "f.mp4", "--seconds", 0.5, "--size", 64)
    assert "f.mp4: 13 frames" in printed
    assert CameraPath.load(tmp_path / "f.json").duration == 0.5
    assert (tmp_path / "f.mp4").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")
def test_train_from_photos(tmp_path: Path) -> None:
    arguments = ("--folder", tmp_path, "--views", 10, "--size", 48, "--steps", 60)
    printed = run("04_train_from_photos.py", *arguments)
    assert len(json.loads((tmp_path / "photos" / "transforms_train.json").read_text())["frames"]) == 10
    assert load_kilonerf_scene(tmp_path / "chair.knf").num_networks > 20
    assert float(printed.rsplit(" dB", 1)[0].rsplit(" ", 1)[1]) > 12


@pytest.mark.skipif(not shutil.which("Xvfb"), reason="needs Xvfb")
def test_window(tmp_path: Path) -> None:
    run("05_window.py", "--exit-after", 0, "--screenshot", tmp_path / "window.png")
    picture = np.asarray(Image.open(tmp_path / "window.png"))
    assert picture.shape == (800, 1280, 3)
    chair = (picture[:, :900].min(axis=2) < 200).mean(axis=1)
    assert chair[:450].max() > 0.05  # the back is there


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("Xvfb"), reason="needs Xvfb")
def test_live(tmp_path: Path) -> None:
    run("06_live.py", "--steps", 3, "--screenshot", tmp_path / "window.png")
    picture = np.asarray(Image.open(tmp_path / "window.png")).astype(float)
    assert picture.shape == (800, 1280, 3)
    assert (picture[:, :900, 1] - picture[:, :900, 2] > 40).mean() > 0.03  # the green of the finished chair


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("Xvfb"), reason="needs Xvfb")
def test_panel(tmp_path: Path) -> None:
    shown = []
    for height in (0.3, 1.0):
        path = tmp_path / f"{height}.png"
        run("07_panel.py", "--exit-after", 0, "--height", height, "--screenshot", path)
        picture = np.asarray(Image.open(path)).astype(float)[:760, :800]
        shown.append((np.abs(picture - picture[2, 2]).max(axis=2) > 30).mean())
    assert shown[0] < 0.6 * shown[1]
