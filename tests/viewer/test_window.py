"""The real program in a real window, under Xvfb: xdotool is the user."""

import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
from imgui_bundle import imgui
from PIL import Image

from kilonerf.kernels import PICTURE, Frame
from kilonerf.model_io import BackendError, save_scene
from kilonerf.viewer.appearance import folding
from kilonerf.viewer.panels.side_panel import SidePanel
from kilonerf.viewer.panels.status_bar import StatusBar
from support.driving import Driver
from support.gated_renderer import GatedRenderer

pytestmark = pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")


class ColourfulRenderer(GatedRenderer):
    """Its picture has another colour at every place, and the depth of a wall."""

    def render(self, camera, options, outputs=PICTURE, *, on_device=False, cancel=None):
        frame = super().render(camera, options, outputs, cancel=cancel)
        ys, xs = np.mgrid[: camera.height, : camera.width].astype(np.float32)
        red, green = 0.5 + 0.5 * np.sin(60.0 * xs / camera.width), 0.5 + 0.5 * np.sin(50.0 * ys / camera.height)
        return frame.with_colors(np.stack([red, green, 0.0 * red], axis=-1))


def picture_of(driver):
    return driver.picture()


def test_the_picture_is_what_the_renderer_made(driver):
    driver.move(200, 300)  # where no tooltip comes up
    driver.settle()
    frame = driver.app.view.shown.frame
    shown = driver.picture()
    assert driver.app.view.shown.request.scale == 1.0
    assert frame.rgb.shape[0] == 940 - StatusBar.height()
    difference = np.abs(shown.astype(int) - frame.to_rgb8().astype(int)).max(axis=2)
    difference[:, :2] = 0
    assert (difference <= 1).mean() > 0.999
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 100  # and it is no blank


@pytest.mark.slow
def test_clicking_a_switch_makes_another_picture(driver, places):
    driver.settle()
    before, samples = driver.app.view.shown, driver.app.statistics.frame.samples
    driver.click(*places.at("ESS", 0.2))
    driver.settle()
    assert not driver.settings.ess
    assert driver.app.view.shown is not before
    assert driver.app.statistics.frame.samples > samples


@pytest.mark.slow
def test_dragging_turns_the_camera_and_the_picture_follows(driver):
    driver.settle()
    before, picture = driver.app.navigator.matrix(), picture_of(driver)
    driver.drag((250, 300), (400, 340))
    driver.settle()
    after = driver.app.navigator.matrix()
    target = driver.app.navigator._orbit.state.target
    assert np.linalg.norm(after[:3, 3] - target) == pytest.approx(np.linalg.norm(before[:3, 3] - target))
    assert not np.allclose(after, before, atol=0.1)
    np.testing.assert_array_equal(driver.app.view.shown.request.camera.matrix, after)
    assert np.abs(picture_of(driver) - picture).mean() > 1.0


def test_holding_w_flies_forward(driver):
    driver.settle()
    before = driver.app.navigator.matrix()
    driver.xdotool("keydown", "w")
    driver.until(lambda: np.linalg.norm(driver.app.navigator.matrix()[:3, 3] - before[:3, 3]) > 0.3)
    driver.xdotool("keyup", "w")
    driver.settle()
    after = driver.app.navigator.matrix()
    moved = after[:3, 3] - before[:3, 3]
    np.testing.assert_allclose(moved / np.linalg.norm(moved), -before[:3, 2], atol=1e-6)
    assert driver.app.navigator.mode == "fly"


def test_the_wheel_zooms(driver):
    driver.settle()
    before = np.linalg.norm(driver.app.navigator.matrix()[:3, 3])
    driver.move(250, 300)
    driver.xdotool("click", 4)
    driver.until(lambda: np.linalg.norm(driver.app.navigator.matrix()[:3, 3]) < before)


@pytest.mark.slow
def test_resizing_resizes_the_picture(driver):
    for width, height in ((1100, 700), (640, 500)):
        driver.xdotool("windowsize", driver.id, width, height)
        driver.until(lambda size=(width, height): driver.app.window.size == size)
        driver.settle()
        assert driver.pixels().shape == (height, width, 3)
        camera = driver.app.view.shown.request.camera
        assert camera.height == height - StatusBar.height()
        assert 0 < camera.width < width


@pytest.mark.parametrize("size", [(400, 250), (900, 700)])
def test_what_is_asked_for_between_two_frames_has_the_window_s_size(toy_scene, tmp_path, size):
    """Smaller than 480x320, where all of it is smaller, ImGui's font has its usual size between frames."""
    with Driver(tmp_path, toy_scene, size=size) as driver:
        app = driver.app
        for timeline in (False, True):
            if timeline:
                app.toggle_timeline()
            driver.settle()
            assert app.view.shown is not None
            shown = app.view.shown.request.camera
            app.take_screenshot()  # as a script does
            driver.until(lambda: not app._screenshots.writing)
            with Image.open(sorted(tmp_path.glob("*.png"))[-1]) as picture:
                assert picture.size == (shown.width, shown.height)


@pytest.mark.slow
def test_tab_hides_the_panel_and_h_shows_the_keys(driver):
    driver.press("Tab")
    driver.settle()
    assert driver.app.view.shown.request.camera.width == 900
    assert not driver.settings.show_help
    driver.press("h")
    assert driver.settings.show_help
    driver.press("Escape")
    assert not driver.settings.show_help


@pytest.mark.slow
def test_overlays_are_drawn_over_the_picture(driver, places):
    folding.sections.choose("Statistics", is_open=False)  # to reach what is below
    driver.settle()
    plain = picture_of(driver)
    driver.click(*places.at("Box", 0.2))
    driver.settle()
    changed = np.abs(picture_of(driver) - plain).max(axis=2) > 30
    assert 0.001 < changed.mean() < 0.2


@pytest.mark.slow
def test_a_good_file_dropped_is_opened_and_a_broken_one_is_a_message(driver, toy_scene, tmp_path):
    broken, good = tmp_path / "broken.knf", tmp_path / "good.knf"
    broken.write_bytes(b"\x10\0\0\0\0\0\0\0not a scene at all")
    save_scene(replace(toy_scene, background=(0.0, 0.0, 1.0), start_camera=None), good)
    driver.settle()
    before = driver.app.view.shown
    driver.drop_files(broken)
    driver.until(lambda: driver.app.notices.log)
    assert driver.app.notices.log[-1].kind == "error"
    assert "broken.knf" in driver.app.notices.log[-1].text
    assert driver.app.scene is toy_scene
    assert driver.app.view.shown is before
    driver.drop_files(good)
    driver.until(lambda: driver.app.scene is not toy_scene)
    driver.settle()
    assert driver.app.scene_path == good
    np.testing.assert_array_equal(picture_of(driver)[2, 2], [0, 0, 255])


def test_f12_saves_the_whole_picture_without_the_panel(driver, tmp_path):
    driver.move(100, 100)  # away from the panel, whose tooltips cover the picture
    driver.settle()
    for number in (1, 2):
        driver.press("F12")
        path = tmp_path / f"screenshot_{number:03d}.png"
        driver.until(lambda path=path: path.exists() and driver.app.notices.log)
    camera = driver.app.view.shown.request.shot.camera
    with Image.open(path) as image:
        assert image.size == (camera.width, camera.height)
        np.testing.assert_array_equal(np.asarray(image)[:700], picture_of(driver)[:700])  # a message is below


@pytest.mark.slow
def test_a_screenshot_that_cannot_be_written_is_a_message(toy_scene, tmp_path):
    folder = tmp_path / "gone"
    with Driver(folder, toy_scene) as driver:
        driver.settle()
        driver.press("F12")
        driver.until(lambda: driver.app.notices.log)
        assert driver.app.notices.log[-1].kind == "error"
        assert "gone" in driver.app.notices.log[-1].text


def test_the_window_answers_while_a_slow_picture_is_made(toy_scene, tmp_path, places):
    gate = threading.Event()
    gate.set()
    with Driver(tmp_path, toy_scene, make_renderer=lambda s, b: GatedRenderer(s, b, gate=gate)) as driver:
        driver.settle()
        gate.clear()  # from here on no picture is ever finished
        shown, before = driver.app.view.shown, driver.app.navigator.matrix()
        driver.drag((250, 300), (400, 340))
        driver.click(*places.at("Box", 0.2))
        assert driver.app.worker.busy
        assert driver.app.view.shown is shown
        assert driver.settings.overlays.box
        assert not np.allclose(driver.app.navigator.matrix(), before)
        due = driver.app.next_frame_times()[1] - driver.app.now
        assert due <= 1.0 / 30.0  # while it waits for a picture, too
        gate.set()
        driver.settle()
        assert driver.app.view.shown is not shown


@pytest.mark.slow
@pytest.mark.parametrize("reprojection", [True, False])
def test_the_view_follows_the_hand_before_the_next_picture_is_there(toy_scene, tmp_path, reprojection):
    gate = threading.Event()
    gate.set()
    with Driver(tmp_path, toy_scene, make_renderer=lambda s, b: ColourfulRenderer(s, b, gate=gate)) as driver:
        driver.settings.reprojection = reprojection
        driver.settle()
        before, shown = picture_of(driver), driver.app.view.shown
        gate.clear()  # from here on no picture is ever finished
        driver.drag((250, 300), (330, 340))
        moved = picture_of(driver)
        assert driver.app.view.shown is shown
        displayed = driver.app.view.displayed
        assert shown is not None
        assert displayed is not None
        if reprojection:
            np.testing.assert_array_equal(displayed.matrix, driver.app.navigator.matrix())
            assert np.abs(moved - before).mean() > 3.0
        else:
            assert displayed == shown.request.shot.camera
            np.testing.assert_array_equal(moved, before)
        gate.set()
        driver.settle()
        newest = driver.app.view.shown
        assert newest is not None
        assert isinstance(newest.frame, Frame)
        assert driver.app.view.displayed == newest.request.shot.camera
        difference = np.abs(picture_of(driver) - newest.frame.to_rgb8()).max(axis=2)
        assert (difference <= 1).mean() > 0.99


def test_a_picture_that_follows_wakes_nothing_once_the_hand_rests(toy_scene, tmp_path):
    gate = threading.Event()
    gate.set()
    with Driver(tmp_path, toy_scene, make_renderer=lambda s, b: ColourfulRenderer(s, b, gate=gate)) as driver:
        driver.settle()
        driver.drag((250, 300), (330, 340))
        driver.settle()
        driver.until(lambda: driver.app.next_frame_times()[1] - driver.app.now > 0.3)
        assert not driver.app.worker.busy


def test_a_renderer_that_fails_is_a_message_and_the_program_lives_on(toy_scene, tmp_path):
    def fail_without_ess(camera, options):
        if not options.ess:
            raise ArithmeticError("no way")

    def make(scene, backend):
        return GatedRenderer(scene, backend, on_render=fail_without_ess)

    with Driver(tmp_path, toy_scene, make_renderer=make) as driver:
        driver.settle()
        shown = driver.app.view.shown
        driver.settings.ess = False
        driver.settle()
        assert "no way" in driver.app.notices.log[-1].text
        assert driver.app.view.shown is shown
        driver.settings.ess = True
        driver.steps(5)
        driver.settle()
        assert len(driver.app.notices.log) == 1


@pytest.mark.slow
def test_a_gpu_that_fails_is_said_once_and_left_for_the_cpu_at_the_same_camera(toy_scene, tmp_path):
    full = threading.Event()
    text = "backend 'cuda': a picture of 900x940 needs 20 MiB, H200 has 3 MiB free"

    def run_out(camera, options):
        if full.is_set():
            raise BackendError(text)

    def make(scene, backend):
        if backend.name in ("auto", "cuda"):
            return GatedRenderer(scene, "cuda", on_render=run_out)
        return GatedRenderer(scene, backend)

    with Driver(tmp_path, toy_scene, make_renderer=make) as driver:
        driver.drag((250, 300), (400, 340))
        driver.settle()
        camera, shown = driver.app.navigator.matrix(), driver.app.view.shown
        assert shown is not None
        assert shown.backend == "cuda"
        full.set()
        driver.settings.ess = False
        driver.until(lambda: driver.app.view.shown is not None and driver.app.view.shown.backend == "cpu")
        driver.settle()
        (said,) = [notice.text for notice in driver.app.notices.log]
        assert said.startswith("Rendering on the CPU: ")
        assert text in said
        assert driver.settings.backend.name == "auto"
        np.testing.assert_array_equal(driver.app.navigator.matrix(), camera)


def test_an_empty_window_invites_and_browses(tmp_path, places):
    with Driver(tmp_path) as driver:
        assert driver.app.scene is None
        assert driver.app.settled
        driver.press("F12")  # nothing to save, nothing to record
        driver.press("F9")
        assert driver.app.recording.stage == "idle"
        driver.press("o")
        assert "Cancel" in places.places
        driver.click(*places.at("Cancel"))


def test_at_rest_the_window_hardly_draws(driver):
    driver.settle()
    driver.until(lambda: driver.app.next_frame_times()[1] - driver.app.now > 0.3)


@pytest.mark.slow
def test_f_and_the_mouse_focus_on_what_is_under_the_cursor(driver):
    driver.settle()
    camera = driver.app.view.shown.request.camera
    ys, xs = np.nonzero(driver.app.view.shown.frame.alpha > 0.9)
    x, y = int(xs[len(xs) // 3]), int(ys[len(ys) // 3])
    point, _ = driver.app.view.pick((x + 0.5) / camera.width, (y + 0.5) / camera.height)
    driver.move(x, y)
    driver.press("f")
    driver.settle()
    ahead = np.linalg.inv(driver.app.navigator.matrix()) @ [*point, 1.0]
    assert abs(ahead[0] / ahead[2]) < 0.05
    assert abs(ahead[1] / ahead[2]) < 0.05


@pytest.mark.slow
def test_a_section_of_ones_own_is_drawn_in_the_panel(driver):
    pressed, asked = [], []

    def section():
        asked.append(imgui.get_window_width())
        if imgui.button("Mine"):
            pressed.append(1)

    driver.app.sections.append(section)
    driver.steps(3)
    assert len(asked) >= 3
    assert set(asked) == {SidePanel.width(driver.app.window.size[0])}
    assert not pressed
