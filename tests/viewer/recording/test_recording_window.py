"""Flights recorded in the real window, under Xvfb: xdotool is the user."""

import re
import shutil
import threading
from dataclasses import replace

import av
import numpy as np
import pytest

from kilonerf.model_io import CameraPath
from kilonerf.viewer.camera.navigator import TURNTABLE_SPEED
from kilonerf.viewer.recording.stills import PictureMaker
from support.driving import Driver

pytestmark = pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")


def test_two_seconds_of_flight_become_a_video(driver, tmp_path):
    driver.settle()
    driver.settings.video.set_size(96, 64)
    driver.settings.video.fps = 10
    driver.press("F9")
    assert driver.app.recording.stage == "recording"
    driver.xdotool("keydown", "d")
    driver.until(lambda: driver.app.navigator.mode == "fly")
    moving_from = driver.app.recording.seconds
    driver.until(lambda: driver.app.recording.seconds >= moving_from + 2.0)
    driver.xdotool("keyup", "d")
    driver.press("F9")
    driver.until(lambda: driver.app.recording.stage == "idle")
    assert driver.app.notices.log[-1].kind == "good"
    path = CameraPath.load(tmp_path / "flight_001.json")
    with av.open(str(tmp_path / "flight_001.mp4")) as video:
        pictures = [picture.to_ndarray(format="rgb24") for picture in video.decode(video=0)]
    assert path.duration >= 2.0
    assert len(pictures) == int(path.duration * 10 + 1e-6) + 1
    assert pictures[0].shape == (64, 96, 3)
    assert np.abs(pictures[0].astype(float) - pictures[-1]).mean() > 1.0  # the camera flew


def test_resizing_and_hiding_the_panel_do_not_zoom_the_recording(driver, tmp_path):
    driver.settle()
    fov, settings = driver.app.navigator.fov, driver.settings
    settings.video.set_size(64, 36)
    whole = driver.app.view.shown.request.shot.camera
    driver.press("F9")
    driver.settle()
    framed = driver.app.view.shown.request.shot.camera
    assert framed.fx < whole.fx  # the video is wider than this window: the guide fits into the picture
    driver.drag((250, 300), (300, 320))
    for width, height in ((1100, 500), (640, 900)):
        driver.xdotool("windowsize", driver.id, width, height)
        driver.until(lambda size=(width, height): driver.app.window.size == size)
        driver.drag((150, 300), (200, 320))
    driver.press("Tab")
    driver.drag((250, 300), (200, 320))
    driver.press("F9")
    driver.until(lambda: driver.app.recording.stage == "idle")
    keys = CameraPath.load(tmp_path / "flight_001.json").keyframes
    assert len(keys) > 10
    np.testing.assert_allclose([key.fov_y for key in keys], fov, atol=1e-9)


@pytest.mark.slow
def test_a_recording_begun_in_motion_has_no_double_first_step(driver, monkeypatch):
    shown = []
    monkeypatch.setattr(driver.app.recording, "add", lambda camera, now: shown.append((now, camera.position)))
    begun = []
    monkeypatch.setattr(driver.app.recording, "toggle", lambda scene, camera, now: begun.append((now, camera.position)))
    driver.settle()
    driver.app.navigator.set_turntable(True)
    driver.steps(20)
    driver.xdotool("keydown", "F9")
    driver.until(lambda: begun)
    driver.xdotool("keyup", "F9")
    driver.steps(3)
    (now, position), middle = begun[0], driver.app.navigator._orbit.state.target
    next_now, next_position = next(moment for moment in shown if moment[0] > now)
    angles = [np.arctan2(*(place - middle)[:2]) for place in (position, next_position)]
    turned = abs(np.angle(np.exp(1j * (angles[1] - angles[0]))))
    assert turned == pytest.approx(TURNTABLE_SPEED * (next_now - now), rel=1e-6)


@pytest.mark.slow
def test_a_video_can_be_aborted_and_leaves_only_the_path(driver, tmp_path):
    driver.settle()
    driver.settings.video.set_size(1920, 1080)
    driver.press("F9")
    driver.until(lambda: driver.app.recording.seconds >= 1.0)
    driver.press("F9")
    driver.until(lambda: driver.app.recording.progress is None or driver.app.recording.progress.done >= 1)
    driver.app.abort_video()
    driver.until(lambda: driver.app.recording.stage == "idle")
    assert [path.name for path in tmp_path.iterdir()] == ["flight_001.json"]


def test_closing_while_recording_keeps_the_path(toy_scene, tmp_path):
    with Driver(tmp_path, toy_scene) as driver:
        driver.settle()
        driver.press("F9")
        driver.until(lambda: driver.app.recording.seconds >= 0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["flight_001.json"]
    assert CameraPath.load(tmp_path / "flight_001.json").duration >= 0.5


@pytest.mark.slow
def test_leaving_during_a_video_must_be_said_twice(driver, tmp_path):
    driver.settle()
    driver.settings.video.set_size(1920, 1080)
    driver.press("F9")
    driver.until(lambda: driver.app.recording.seconds >= 1.0)
    driver.press("F9")
    assert driver.app.recording.stage == "rendering"
    driver.app.window.ask_to_close()
    assert not driver.app.leaving()
    driver.steps(2)
    assert not driver.app.leaving()
    driver.app.window.ask_to_close()
    assert driver.app.leaving()


def test_overlays_are_in_the_video_if_that_is_asked_for(driver, tmp_path):
    driver.settle()
    driver.settings.video.set_size(96, 64)
    driver.settings.video.fps = 10
    pictures = []
    for number, as_seen in ((1, False), (2, True)):
        driver.settings.overlays = replace(driver.settings.overlays, box=True)
        driver.settings.video.as_seen = as_seen
        driver.press("F9")
        driver.until(lambda: driver.app.recording.seconds >= 0.2)
        driver.press("F9")
        driver.until(lambda: driver.app.recording.stage == "idle")
        with av.open(str(tmp_path / f"flight_00{number}.mp4")) as video:
            pictures.append(next(video.decode(video=0)).to_ndarray(format="rgb24").astype(float))
    changed = np.abs(pictures[1] - pictures[0]).max(axis=2) > 40
    assert 0.002 < changed.mean() < 0.3


@pytest.mark.slow
def test_a_flight_is_recorded_while_another_renders_and_the_title_tells_how_far_it_is(driver, monkeypatch):
    titles = []
    monkeypatch.setattr(driver.app.window, "set_title", titles.append)
    gate, make = threading.Event(), PictureMaker.values
    monkeypatch.setattr(PictureMaker, "values", lambda *of: make(*of) if gate.wait(60) else None)
    driver.settle()
    driver.settings.video.set_size(96, 64)
    driver.press("Tab")  # also without the panel
    for _ in range(2):
        driver.press("F9")
        assert driver.app.recording.stage == "recording"
        driver.until(lambda: driver.app.recording.seconds >= 0.5)
        driver.press("F9")
    assert driver.app.recording.stage == "rendering"
    driver.steps(2)
    gate.set()
    driver.until(lambda: driver.app.recording.stage == "idle")
    driver.steps(2)
    assert any(re.fullmatch(r"\d+ %.* - given.knf - kilonerf-view", title) for title in titles)
    assert titles[-1] == "given.knf - kilonerf-view"
    assert sum(notice.text.startswith("Video saved") for notice in driver.app.notices.log) == 2
