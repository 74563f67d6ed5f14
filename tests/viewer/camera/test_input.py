import numpy as np
import pytest
from imgui_bundle import imgui

from kilonerf.viewer.camera.input import ViewInput
from kilonerf.viewer.camera.navigator import Navigator
from kilonerf.viewer.rectangle import Rectangle
from support.imgui_frames import STEP

AREA = Rectangle(0.0, 0.0, 800.0, 600.0)


class Stage:
    """A navigator steered by injected events."""

    def __init__(self, frames, scene, hit=None):
        self.frames = frames
        self.io = frames.io
        self.navigator = Navigator()
        self.navigator.set_scene(scene)
        self.pressed = []
        self.picked = []
        self.hit = hit
        self.input = ViewInput(self.navigator, {imgui.Key.f9: lambda: self.pressed.append("F9")})
        self.steering = False
        self.extra = lambda: None

    def pick(self, u, v):
        self.picked.append((u, v))
        return self.hit

    def draw(self):
        self.extra()
        self.steering = self.input.update(AREA, STEP, self.pick)

    def run(self, count=3):
        self.frames.frames(self.draw, count)

    def move(self, x, y):
        self.io.add_mouse_pos_event(x, y)
        self.run()

    def button(self, button, down):
        self.io.add_mouse_button_event(button, down)
        self.run()

    def key(self, key, down):
        self.io.add_key_event(key, down)
        self.run()

    @property
    def position(self):
        return self.navigator.matrix()[:3, 3]


@pytest.fixture
def stage(frames, toy_scene):
    return Stage(frames, toy_scene)


def drag(stage, button, start=(400, 300), end=(460, 270)):
    stage.move(*start)
    stage.button(button, True)
    stage.move(*end)
    stage.button(button, False)


def test_a_left_drag_orbits_as_far_as_the_mouse_moved(stage, toy_scene):
    expected = Navigator()
    expected.set_scene(toy_scene)
    expected.drag(60 / 600, -30 / 600)
    drag(stage, 0)
    np.testing.assert_allclose(stage.navigator.matrix(), expected.matrix(), atol=1e-6)
    assert not stage.steering


@pytest.mark.parametrize("button", [1, 2])
def test_right_and_middle_drags_pan_by_the_depth_where_they_began(frames, toy_scene, button):
    stage = Stage(frames, toy_scene, hit=(np.zeros(3), 2.5))
    expected = Navigator()
    expected.set_scene(toy_scene)
    expected.pan(60 / 600, -30 / 600, 2.5)
    drag(stage, button)
    np.testing.assert_allclose(stage.navigator.matrix(), expected.matrix(), atol=1e-6)
    assert stage.picked == [(0.5, 0.5)]


def test_the_wheel_zooms_towards_the_point_under_the_cursor(frames, toy_scene):
    anchor = np.array([0.1, 0.2, 0.3])
    stage = Stage(frames, toy_scene, hit=(anchor, 2.0))
    before = stage.position
    stage.move(200, 450)
    stage.io.add_mouse_wheel_event(0.0, 1.0)
    stage.run()
    assert stage.picked == [(0.25, 0.75)]
    stage.navigator.advance(2.0)  # the way there is eased
    np.testing.assert_allclose(stage.position - anchor, 0.88 * (before - anchor), rtol=1e-6)


def test_a_held_key_flies_for_as_long_as_it_is_held(stage):
    before = stage.position
    stage.key(imgui.Key.w, True)
    stage.run(30)
    assert stage.steering
    stage.key(imgui.Key.w, False)
    flown = np.linalg.norm(stage.position - before)
    assert stage.navigator.mode == "fly"
    held = 33  # frames: three when it went down, thirty after
    assert flown == pytest.approx(held * STEP * stage.navigator.units_per_second, rel=0.1)
    after = stage.position
    stage.run(5)
    np.testing.assert_array_equal(stage.position, after)


@pytest.mark.parametrize(("modifier", "factor"), [(imgui.Key.mod_shift, 4.0), (imgui.Key.mod_alt, 0.25)])
def test_shift_and_alt_change_the_speed(stage, modifier, factor):
    def flown():
        before = stage.position
        stage.run(10)
        return np.linalg.norm(stage.position - before)

    stage.key(imgui.Key.d, True)
    plain = flown()
    stage.key(modifier, True)
    assert flown() == pytest.approx(factor * plain)


def test_opposite_keys_cancel_and_two_keys_are_not_faster(stage):
    before = stage.position
    stage.io.add_key_event(imgui.Key.a, True)
    stage.key(imgui.Key.d, True)
    stage.run(10)
    assert np.linalg.norm(stage.position - before) < 0.05 * stage.navigator.units_per_second
    assert not stage.steering


def test_f_and_a_double_click_focus(frames, toy_scene):
    point = np.array([0.2, -0.3, 0.4])
    stage = Stage(frames, toy_scene, hit=(point, 2.0))
    stage.move(300, 300)
    stage.key(imgui.Key.f, True)
    stage.key(imgui.Key.f, False)
    assert stage.navigator.moving_by_itself
    stage.navigator.advance(1.0)
    ahead = np.linalg.inv(stage.navigator.matrix()) @ [*point, 1.0]
    np.testing.assert_allclose(ahead[:2], 0.0, atol=1e-6)
    stage.hit = (np.array([-0.2, 0.1, 0.0]), 2.0)
    for down in (True, False, True, False):
        stage.button(0, down)
    assert stage.navigator.moving_by_itself


def test_a_shortcut_acts_once_per_press(stage):
    stage.key(imgui.Key.f9, True)
    stage.run(60)
    stage.key(imgui.Key.f9, False)
    assert stage.pressed == ["F9"]


def test_what_a_panel_takes_does_not_move_the_camera(stage):
    def panel():
        imgui.set_next_window_pos(imgui.ImVec2(300, 200))
        imgui.set_next_window_size(imgui.ImVec2(300, 200))
        imgui.begin("panel")
        imgui.end()

    stage.extra = panel
    stage.run()
    before = stage.navigator.matrix()
    drag(stage, 0, (400, 250), (500, 300))
    stage.io.add_mouse_wheel_event(0.0, 2.0)
    stage.run()
    np.testing.assert_array_equal(stage.navigator.matrix(), before)


def test_a_drag_goes_on_over_a_panel_and_ends_outside_the_picture(stage):
    stage.move(400, 300)
    stage.button(0, True)
    before = stage.position
    stage.move(900, 300)  # beyond the picture
    assert stage.steering
    assert not np.allclose(stage.position, before)
    stage.button(0, False)
    assert not stage.steering
    stage.button(0, True)  # and one that begins there is none
    after = stage.position
    stage.move(400, 300)
    np.testing.assert_array_equal(stage.position, after)


def test_typing_into_a_field_does_not_fly(stage):
    text = ["", False]

    def field():
        imgui.begin("field")
        if not text[1]:
            imgui.set_keyboard_focus_here()
            text[1] = True
        text[0] = imgui.input_text("##text", text[0])[1]
        imgui.end()

    stage.extra = field
    stage.run()
    before = stage.position
    stage.io.add_input_character(ord("w"))
    stage.key(imgui.Key.w, True)
    stage.key(imgui.Key.f9, True)
    stage.run(5)
    assert text[0] == "w"
    np.testing.assert_array_equal(stage.position, before)
    assert stage.pressed == []
