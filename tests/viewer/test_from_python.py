"""``show``: a window from Python, also beside a loop that goes on."""

import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kilonerf.model_io import CameraPath, DisplayError, SceneError
from kilonerf.viewer import LiveWindow, show

pytestmark = pytest.mark.skipif(not shutil.which("Xvfb"), reason="needs Xvfb")


def until(condition):
    end = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < end, "the window never got there"
        time.sleep(0.01)


@pytest.fixture
def window(toy_scene, tmp_path):
    with show(toy_scene, block=False, size=(640, 480), output_folder=tmp_path) as window:
        until(lambda: window._app is not None and window._app.view.shown is not None)
        yield window


@pytest.mark.slow
def test_another_scene_is_shown_and_the_camera_stays(window, toy_scene):
    app = window._app
    app.navigator.drag(0.3, 0.1)
    until(lambda: app.settled)
    camera = app.navigator.matrix()
    for background in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)):
        newer = replace(toy_scene, background=background)
        window.update(newer)
        until(lambda newer=newer: app.view.shown.request.shot.scene is newer)
    np.testing.assert_array_equal(app.navigator.matrix(), camera)
    assert not window.closed
    assert not window.wait(0.01)


def test_a_scene_that_comes_before_the_first_picture_is_the_first(toy_scene, tmp_path):
    other = replace(toy_scene, background=(0.1, 0.2, 0.3))
    with show(toy_scene, block=False, size=(640, 480), output_folder=tmp_path) as window:
        window.update(other)
        app = window._app
        assert app is not None
        until(lambda: app.view.shown is not None and app.scene is other)
        assert app.navigator.radius > 0.0


def test_the_newest_scene_can_be_waited_for(window, toy_scene):
    for background in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)):
        newer = replace(toy_scene, background=background)
        window.update(newer)
        assert window.wait_until_shown()
        assert window._app.view.shown.request.shot.scene is newer
        assert window._app.view.shown.request.scale == 1.0
    window.close()
    assert not window.wait_until_shown()


@pytest.mark.slow
def test_it_has_one_window_at_a_time_and_can_be_opened_again(window, toy_scene):
    for block in (False, True):
        with pytest.raises(DisplayError, match="a window is open already"):
            show(toy_scene, block=block, exit_after=0.0)
    window.close()
    assert window.closed
    window.update(toy_scene)  # nothing happens any more
    window.close()
    with show(toy_scene, block=False, exit_after=0.0) as again:
        assert again.wait(60.0)


def test_closing_saves_the_flight(window, tmp_path):
    app = window._app
    app.recording.toggle(app.scene, app.navigator.view, app.now)
    until(lambda: app.recording.seconds > 0.2)
    window.close()
    assert CameraPath.load(tmp_path / "flight_001.json").duration > 0.1


def test_a_panel_is_drawn_and_its_error_is_raised_to_who_waits(toy_scene, tmp_path):
    threads, fail = set(), threading.Event()

    def panel():
        threads.add(threading.current_thread().name)
        if fail.is_set():
            raise ArithmeticError("of the panel")

    window = show(toy_scene, block=False, size=(640, 480), output_folder=tmp_path, panel=panel)
    until(lambda: threads)
    assert threads == {"kilonerf-window"}
    fail.set()
    with pytest.raises(ArithmeticError, match="of the panel"):
        window.wait()
    assert window.closed


def test_what_cannot_be_shown_is_raised_by_whoever_asked(tmp_path):
    (tmp_path / "broken.knf").write_bytes(b"nothing")
    with pytest.raises(SceneError):
        show(tmp_path / "broken.knf", exit_after=0.0)
    window = show(tmp_path / "broken.knf", block=False)
    assert isinstance(window, LiveWindow)
    with pytest.raises(SceneError):
        window.wait()


def test_a_window_that_is_waited_for_leaves_its_screenshot(toy_scene, tmp_path):
    show(toy_scene, exit_after=0.0, size=(640, 480), screenshot=tmp_path / "window.png", output_folder=tmp_path)
    with Image.open(tmp_path / "window.png") as picture:
        assert picture.size == (640, 480)
