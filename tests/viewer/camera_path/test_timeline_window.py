"""Camera paths made in the real window, under Xvfb: xdotool is the user."""

import shutil

import av
import numpy as np
import pytest

from kilonerf.model_io import CameraPath
from kilonerf.viewer.recording.render_job import path_cameras
from support.driving import Driver

pytestmark = pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")


@pytest.fixture
def wide(toy_scene, tmp_path, places):
    with Driver(tmp_path, toy_scene, size=(1280, 800)) as driver:
        yield driver


def make_five_keys(driver):
    driver.settle()
    driver.press("k")
    for i in range(4):
        driver.drag((300, 300), (360 + 40 * i, 300 + 12 * i))
        driver.xdotool("keydown", "w")
        driver.steps(4 + 3 * i)
        driver.xdotool("keyup", "w")
        driver.steps(2)
        driver.press("k")


def key_place(driver, index):
    track = driver.app.camera_path.timeline.track
    x = track.x_of(driver.app.camera_path.editor.times[index])
    return round(x), round(track.area.y + 0.7 * track.area.height)


@pytest.mark.slow
def test_five_keys_become_a_ten_second_video_of_even_speed(wide, places, tmp_path):
    wide.settings.video.set_size(64, 36)
    make_five_keys(wide)
    assert len(wide.app.camera_path.editor.keys) == 5
    wide.click(*places.at("Render"))
    wide.until(lambda: wide.app.recording.stage == "idle")
    assert wide.app.notices.log[-1].kind == "good"
    path = CameraPath.load(tmp_path / "flight_001.json")
    with av.open(str(tmp_path / "flight_001.mp4")) as video:
        stream = video.streams.video[0]
        frames = sum(1 for _ in video.decode(video=0))
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 30)
        assert frames == 301
        assert video.duration == pytest.approx(301 / 30 * 1e6, abs=2e3)  # microseconds
    positions = np.array([camera.position for camera in path_cameras(path, 64, 36, 30)])
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    assert steps.min() > 0.0
    assert steps.max() / steps.mean() < 1.02
    assert steps.min() / steps.mean() > 0.98


@pytest.mark.slow
def test_keys_are_dragged_inserted_and_taken_back(wide, places):
    make_five_keys(wide)
    editor = wide.app.camera_path.editor
    before = editor.path
    start = key_place(wide, 2)
    wide.click(*start)
    assert editor.selected == 2
    assert wide.app.camera_path.following
    wide.drag(start, (start[0] + 60, start[1]))
    assert editor.times[2] > before.keyframes[2].seconds + 0.3
    assert editor.keys[2].timed
    wide.xdotool("key", "ctrl+z")
    wide.steps(3)
    assert editor.path == before
    area = wide.app.camera_path.timeline.track.area
    wide.click(round(wide.app.camera_path.timeline.track.x_of(5.0)), round(area.y + 5))
    wide.click(*places.at("Insert"))
    assert len(editor.keys) == 6
    wide.press("Delete")
    assert len(editor.keys) == 5


@pytest.mark.slow
def test_the_view_follows_the_path_until_the_user_steers(wide):
    make_five_keys(wide)
    editor, tool = wide.app.camera_path.editor, wide.app.camera_path
    wide.press("l")
    assert editor.playing
    wide.until(lambda: editor.playhead > 0.5)
    wide.press("l")
    wide.settle()
    shown = wide.app.view.shown.request.shot.camera
    np.testing.assert_array_equal(shown.matrix, editor.camera(8, 8).matrix)
    wide.drag((300, 300), (340, 300))
    assert not tool.following
    np.testing.assert_allclose(wide.app.navigator.matrix()[:3, 3], editor.camera(8, 8).position, atol=1e-9)


@pytest.mark.slow
def test_the_inset_shows_the_path_and_leaves_the_view(wide, places):
    make_five_keys(wide)
    wide.settle()
    plain = wide.picture()
    view = wide.app.navigator.view
    wide.click(*places.at("Inset"))
    track = wide.app.camera_path.timeline.track
    wide.click(round(track.x_of(2.0)), round(track.area.y + 5))
    wide.settle()
    assert wide.app.navigator.view == view
    inset = np.abs(wide.picture() - plain)[20:160, -290:-30]
    assert inset.mean() > 5.0


@pytest.mark.slow
def test_a_path_that_is_opened_and_a_flight_become_keys(wide, places, tmp_path):
    wide.settings.video.set_size(32, 18)
    wide.settle()
    wide.press("F9")
    wide.xdotool("keydown", "d")
    wide.until(lambda: wide.app.recording.seconds > 1.5)
    wide.xdotool("keyup", "d")
    wide.press("F9")
    wide.app.camera_path.use_flight()
    keys = wide.app.camera_path.editor.keys
    assert 2 <= len(keys) < len(wide.app.recording.last_flight.keyframes)
    wide.app.camera_path.save()
    assert CameraPath.load(tmp_path / "path_001.json") == wide.app.camera_path.editor.path
    wide.app.camera_path.editor.load(None)
    wide.drop_files(tmp_path / "path_001.json")
    wide.steps(6)
    wide.click(*places.at("Edit it"))
    wide.until(lambda: wide.app.camera_path.editor.keys == keys)


@pytest.mark.slow
def test_the_menu_makes_an_orbit_and_escape_closes_it(wide, places):
    wide.settle()
    wide.press("k")
    wide.click(*places.at("Path ..."))
    wide.press("Escape")
    wide.press("Tab")  # with a menu open, keys would do nothing
    assert not wide.settings.show_panel
    wide.press("Tab")
    assert wide.settings.show_panel  # Tab did not go to a number of the timeline instead
    wide.app.camera_path.use_preset("Orbit")
    wide.settle()
    path = wide.app.camera_path.editor.path
    assert path is not None
    assert path.closed


@pytest.mark.slow
def test_the_smallest_window_keeps_the_timeline_inside(wide):
    make_five_keys(wide)
    wide.xdotool("windowsize", wide.id, 480, 320)
    wide.until(lambda: wide.app.window.size == (480, 320))
    wide.settle()
    area = wide.app.camera_path.timeline.track.area
    assert area.y + area.height < 320
    assert area.x + area.width <= 480


@pytest.mark.slow
def test_each_scene_keeps_its_path_from_run_to_run(wide, scene_file):
    wide.settle()
    wide.app.open_scene(scene_file)
    wide.until(lambda: wide.app.scene_path == scene_file)
    wide.settle()
    wide.press("k")
    wide.drag((300, 300), (360, 300))
    wide.press("k")
    path = wide.app.camera_path.editor.path
    assert len(path.keyframes) == 2
    wide.app.open_scene(scene_file)  # as the next run does; the file was written meanwhile
    wide.until(lambda: wide.app.camera_path.editor.selected is None)
    assert wide.app.camera_path.editor.path == path
