"""What may go wrong around the program is a message at most: full disks, vanished folders, lost encoders."""

import os
import resource
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from av.error import ExternalError
from PIL import Image

from benchmarks.performance.stress import run_events
from kilonerf.model_io import CameraPath, save_scene
from kilonerf.viewer.recording.video import VideoWriter
from kilonerf.viewer.scene_loading import LoadedScene
from support.driving import Driver
from support.gated_renderer import GatedRenderer
from support.scenes import nested_scene

pytestmark = pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")


@contextmanager
def full_disk(most=200):
    """No file gets longer than so many bytes: the system refuses as it does where a disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fly(driver, seconds=0.4):
    """A short flight with its video."""
    driver.press("F9")
    driver.app.navigator.set_turntable(True)
    driver.until(lambda: driver.app.recording.seconds >= seconds)
    driver.app.navigator.set_turntable(False)
    driver.press("F9")
    driver.until(lambda: not driver.app.recording.rendering)
    driver.steps(2)


def rgb_shown(driver):
    """The newest picture, float32 [H, W, 3]."""
    return driver.app.view.shown.frame.rgb.copy()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_random_events_are_answered_by_messages_only(scene_file, tmp_path, monkeypatch, seed):
    monkeypatch.setenv("HOME", str(tmp_path))  # where flights are rescued to
    happened = run_events(scene_file, 300, seed)
    assert happened["settled"]


@pytest.mark.slow
def test_windows_of_any_size_show_the_picture(toy_scene, tmp_path):
    with Driver(tmp_path, toy_scene, make_renderer=GatedRenderer) as driver:
        for width, height in ((1, 1), (1, 700), (700, 2), (7680, 4320), (480, 320)):
            driver.xdotool("windowsize", driver.id, width, height)
            driver.until(lambda size=(width, height): driver.app.window.size == size)
            for key in ("Tab", "j", "h", "Escape", "j", "Tab"):
                driver.press(key)
            driver.settle()
            assert driver.pixels().shape == (height, width, 3)
            shown = driver.app.view.shown
            assert shown is not None
            if width == 1:
                driver.press("F12")
                driver.until(lambda: not driver.app._screenshots.writing)
    assert not [notice for notice in driver.app.notices.log if notice.kind == "error"]
    with Image.open(tmp_path / "screenshot_001.png") as picture:
        assert picture.size == (1, 1)


@pytest.mark.slow
def test_on_a_full_disk_nothing_is_lost_but_what_cannot_be_written(driver, tmp_path):
    driver.settings.video.set_size(96, 64)
    driver.settle()
    with full_disk():
        fly(driver)  # whose path is longer than the disk has left
        driver.press("Escape")
        driver.press("F12")
        driver.until(lambda: not driver.app._screenshots.writing)
        driver.press("k")
        driver.app.navigator.drag(0.3, 0.1)
        driver.press("k")
        driver.app.camera_path.save()
        driver.settings.theme = "light"
        driver.settle()
    errors = [notice.text for notice in driver.app.notices.log if notice.kind == "error"]
    assert any("the flight is kept" in text for text in errors)
    assert any(text.startswith("Screenshot failed") for text in errors)
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".json", ".png", ".mp4", ".part")]
    (tmp_path / "other").mkdir()
    driver.app.recording.choose_folder(tmp_path / "other", driver.app.now)
    driver.until(lambda: not driver.app.recording.rendering)
    assert CameraPath.load(tmp_path / "other" / "flight_001.json").keyframes
    assert (tmp_path / "other" / "flight_001.mp4").is_file()


@pytest.mark.slow
def test_a_disk_that_is_full_in_the_middle_of_a_video_keeps_its_path(driver, tmp_path):
    driver.settings.video.set_size(320, 240)
    driver.settle()
    with full_disk(12_000):
        fly(driver, 0.3)
    assert "cannot write" in driver.app.notices.log[-1].text
    assert [path.name for path in tmp_path.iterdir()] == ["flight_001.json"]
    fly(driver)
    assert driver.app.notices.log[-1].kind == "good"


def test_a_folder_that_vanishes_during_a_flight_is_asked_for_again(driver, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    driver.app.recording.choose_folder(folder, driver.app.now)
    driver.settings.video.set_size(96, 64)
    driver.settle()
    driver.press("F9")
    driver.until(lambda: driver.app.recording.seconds >= 0.3)
    shutil.rmtree(folder)
    driver.press("F9")
    assert str(folder) in driver.app.notices.log[-1].text
    assert len(driver.app.recording.unsaved) == 1
    folder.mkdir()
    driver.app.recording.choose_folder(folder, driver.app.now)
    driver.until(lambda: not driver.app.recording.rendering)
    assert sorted(path.name for path in folder.iterdir()) == ["flight_001.json", "flight_001.mp4"]


@pytest.mark.slow
def test_an_encoder_that_is_lost_ends_its_video_only(driver, tmp_path, monkeypatch):
    class Lost:
        def __init__(self, stream):
            self.stream, self.left = stream, 1

        def encode(self, frame):
            self.left -= 1
            if self.left < 0:
                raise ExternalError(542398533, "Generic error in an external library", "encoder")
            return self.stream.encode(frame)

    opened = VideoWriter._open

    def open_one_that_dies(self, encoder, quality):
        opened(self, encoder, quality)
        self._stream = Lost(self._stream)

    driver.settings.video.set_size(96, 64)
    driver.settle()
    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, "_open", open_one_that_dies)
        fly(driver)
    assert "cannot write: Generic error in an external library" in driver.app.notices.log[-1].text
    assert [path.name for path in tmp_path.iterdir()] == ["flight_001.json"]
    fly(driver)
    assert driver.app.notices.log[-1].kind == "good"


@pytest.mark.parametrize(
    "how",
    ["cut short", *(pytest.param(how, marks=pytest.mark.slow) for how in ("deleted", "overwritten"))],
)
def test_a_scene_whose_file_goes_stays_open(tmp_path, how):
    scene, file = nested_scene(), tmp_path / "scene.knf"
    save_scene(scene, file)
    with Driver(tmp_path, scene, size=(500, 480)) as driver:
        driver.app.open_scene(file)
        driver.until(lambda: driver.app.scene_path == file)
        driver.settle()
        before = rgb_shown(driver)
        if how == "deleted":
            file.unlink()
        elif how == "cut short":
            os.truncate(file, 100)
        else:
            file.write_bytes(b"\x7f" * file.stat().st_size)
        driver.settings.video.set_size(96, 64)
        fly(driver)  # with a renderer that is made now
        assert driver.app.notices.log[-1].kind == "good"
        driver.app.reset_camera()
        driver.settings.ert = False
        driver.settle()
        assert np.abs(rgb_shown(driver) - before).mean() < 0.05
        driver.app.open_scene(file)  # again, as a user would
        driver.until(lambda: driver.app._loader.loading is None)
        driver.steps(2)
        assert driver.app.notices.log[-1].kind == "error"
        assert driver.app.scene is not None


def test_the_interface_shrinks_with_a_window_that_is_too_small(driver):
    def bar():
        return driver.app.window.size[1] - driver.app.view.shown.request.shot.camera.height

    for width, height, expected in ((1920, 1280, 96), (960, 640, 64), (480, 320, 32), (240, 160, 16)):
        driver.app.window.content_scale = 3.0
        driver.xdotool("windowsize", driver.id, width, height)
        driver.until(lambda size=(width, height): driver.app.window.size == size)
        driver.settle()
        assert bar() == pytest.approx(expected, abs=1.0)


def test_files_have_the_scenes_background_and_the_window_a_calm_one(driver, toy_scene, tmp_path):
    driver.settings.backdrop = True
    driver.settings.theme = "light"
    empty = replace(toy_scene, occupancy=np.zeros_like(toy_scene.occupancy))
    driver.app._loader.give(LoadedScene(tmp_path / "empty.knf", empty))
    driver.until(lambda: driver.app.scene is empty)
    driver.settle()
    shown = driver.app.view.shown.request.shot
    assert shown.options == driver.settings.window_options(driver.app.scene)
    np.testing.assert_allclose(driver.picture()[5, 5], 255.0 * np.array(shown.options.background), atol=1.0)
    driver.press("F12")
    driver.until(lambda: driver.app.notices.log)
    own = 255.0 * np.array(driver.app.scene.background)
    np.testing.assert_allclose(np.asarray(Image.open(tmp_path / "screenshot_001.png"))[5, 5], own, atol=1.0)
    driver.settings.frame_guide = True  # what a video will show
    driver.settle()
    assert driver.app.view.shown.request.shot.options == driver.settings.render_options(driver.app.scene)
    panel = driver.pixels()[700:, 880:].reshape(-1, 3)
    assert np.median(panel) > 200
