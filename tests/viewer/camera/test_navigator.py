import math
from dataclasses import replace

import numpy as np
import pytest

from kilonerf.kernels import Frame, FrameStatistics
from kilonerf.model_io import Camera
from kilonerf.viewer.camera.navigator import MotionKeys, Navigator, scaled_camera
from kilonerf.viewer.camera.picking import picked_point
from kilonerf.viewer.rectangle import Rectangle


@pytest.fixture
def navigator(toy_scene):
    navigator = Navigator()
    navigator.set_scene(toy_scene)
    return navigator


def project(camera: Camera, point) -> tuple[float, float]:
    x, y, z, _ = np.linalg.inv(camera.matrix) @ [*point, 1.0]
    return camera.cx - camera.fx * x / z, camera.cy + camera.fy * y / z


def test_begins_at_the_start_camera(navigator, toy_scene):
    np.testing.assert_allclose(navigator.camera(64, 48).matrix, toy_scene.start_camera.matrix, atol=1e-9)
    assert navigator.camera(64, 48).fy == pytest.approx(toy_scene.start_camera.fy)


def test_without_a_start_camera_the_whole_box_is_seen(toy_scene):
    navigator = Navigator()
    navigator.set_scene(replace(toy_scene, start_camera=None))
    camera = navigator.camera(80, 60)
    low, high = toy_scene.box_min, toy_scene.box_max
    for corner in np.stack(np.meshgrid(*zip(low, high, strict=True)), axis=-1).reshape(-1, 3):
        x, y = project(camera, corner)
        assert 0 <= x <= 80
        assert 0 <= y <= 60


def test_a_mode_change_keeps_the_picture(navigator):
    navigator.drag(0.2, 0.1)
    before = navigator.matrix()
    navigator.set_mode("fly")
    np.testing.assert_allclose(navigator.matrix(), before, atol=1e-9)
    navigator.set_mode("orbit")
    np.testing.assert_allclose(navigator.matrix(), before, atol=1e-9)


def test_a_motion_key_switches_to_fly_and_modifiers_scale_the_speed(navigator):
    def distance(keys):
        before = navigator.matrix()[:3, 3]
        navigator.fly(keys, 0.5)
        return np.linalg.norm(navigator.matrix()[:3, 3] - before)

    plain = distance(MotionKeys(forward=1))
    assert navigator.mode == "fly"
    assert plain == pytest.approx(0.5 * navigator.units_per_second)
    assert distance(MotionKeys(right=1, fast=True)) == pytest.approx(4.0 * plain)
    assert distance(MotionKeys(up=-1, slow=True)) == pytest.approx(0.25 * plain)


def test_fly_speed_grows_with_the_scene(toy_scene):
    navigator = Navigator()
    navigator.set_scene(toy_scene)
    small = navigator.units_per_second
    navigator.set_scene(replace(toy_scene, box_min=toy_scene.box_min * 10, box_max=toy_scene.box_max * 10))
    assert navigator.units_per_second == pytest.approx(10.0 * small, rel=1e-5)


def test_the_wheel_zooms_in_orbit_and_changes_the_speed_in_fly(navigator):
    before = navigator.matrix()
    navigator.wheel(2, None)
    navigator.advance(1.0)
    assert not np.allclose(navigator.matrix(), before)
    navigator.set_mode("fly")
    before, speed = navigator.matrix(), navigator.speed
    navigator.wheel(2, None)
    np.testing.assert_array_equal(navigator.matrix(), before)
    assert navigator.speed > speed
    navigator.wheel(-1000, None)
    assert navigator.speed > 0.0


def test_what_lies_at_the_picked_depth_follows_the_panning_cursor(navigator):
    camera = navigator.camera(800, 600)
    point = camera.position + camera.matrix[:3, :3] @ np.array([0.3, 0.2, -2.5])
    x, y = project(camera, point)
    navigator.pan(60 / 600, -45 / 600, depth=2.5)
    assert project(navigator.camera(800, 600), point) == pytest.approx((x + 60, y - 45))


def test_reset_comes_back_from_anywhere(navigator):
    start = navigator.matrix()
    navigator.fly(MotionKeys(forward=1, right=1), 1.0)
    navigator.fov = 1.4
    navigator.set_turntable(True)
    navigator.reset()
    assert navigator.moving_by_itself
    navigator.advance(10.0)
    np.testing.assert_allclose(navigator.matrix(), start, atol=1e-9)
    assert not navigator.moving_by_itself


def test_the_turntable_goes_round_at_its_distance(navigator):
    navigator.set_turntable(True)
    before = navigator.matrix()
    for _ in range(20):
        navigator.advance(1.0)
    np.testing.assert_allclose(navigator.matrix(), before, atol=1e-9)  # one turn in 20 s
    navigator.advance(5.0)
    assert navigator.matrix()[:3, 3] @ before[:3, 3] < np.linalg.norm(before[:3, 3]) ** 2 * 0.9


def test_focus_puts_the_point_in_the_middle(navigator):
    camera = navigator.camera(800, 600)
    point = camera.position + camera.matrix[:3, :3] @ np.array([0.3, 0.2, -2.5])
    navigator.set_mode("fly")
    navigator.focus(point, seconds=0.0)
    assert navigator.mode == "orbit"
    assert project(navigator.camera(800, 600), point) == pytest.approx((400, 300))


@pytest.mark.parametrize("size", [(800, 400), (400, 800)])
def test_the_field_of_view_is_vertical(navigator, size):
    navigator.fov = math.radians(50)
    assert navigator.camera(*size).fov_y == pytest.approx(math.radians(50))
    assert navigator.view.fov_y == pytest.approx(math.radians(50))


@pytest.mark.parametrize("size", [(800, 400), (600, 600), (300, 900)])
def test_a_wider_frame_fits_into_the_picture(navigator, size):
    width, height = size
    camera = navigator.camera(width, height, 16 / 9)
    frame = Rectangle(0.0, 0.0, width, height).fitted(16 / 9)
    assert frame.width / frame.height == pytest.approx(16 / 9)
    in_frame = 2.0 * math.atan(0.5 * frame.height / camera.fy)
    assert in_frame == pytest.approx(navigator.fov)  # the frame has the lens, whatever the window's shape
    assert camera.fx == camera.fy


def test_a_frame_within_the_picture_leaves_its_camera_alone(navigator):
    assert navigator.camera(800, 400, 1.0) == navigator.camera(800, 400)


def test_a_wheel_step_is_a_motion_without_a_jump_in_speed(navigator):
    start = np.linalg.norm(navigator.matrix()[:3, 3] - navigator._orbit.state.target)
    navigator.wheel(1, None)
    distances = [start]
    while navigator.moving_by_itself:
        navigator.advance(1 / 60)
        distances.append(np.linalg.norm(navigator.matrix()[:3, 3] - navigator._orbit.state.target))
    assert distances[-1] == pytest.approx(0.88 * start)
    speeds = -np.diff(np.log(distances))
    assert speeds.min() >= 0.0
    assert 10 < len(speeds) < 60
    assert np.abs(np.diff(speeds, prepend=0.0)).max() < 0.12 * -math.log(0.88)


def test_a_wheel_step_ends_in_the_same_place_at_any_rate(navigator):
    slow = Navigator()
    slow._start, slow._orbit.state = navigator._start, navigator._orbit.state
    for one, times in ((navigator, [1 / 60] * 6), (slow, [0.1])):
        one.wheel(3, (0.1, 0.2, 0.3))
        for seconds in times:
            one.advance(seconds)
    np.testing.assert_allclose(slow.matrix(), navigator.matrix(), atol=1e-9)
    navigator.reset(0.0)
    before = navigator.matrix()
    navigator.advance(0.1)
    np.testing.assert_array_equal(navigator.matrix(), before)  # a reset ends the wheel's motion


@pytest.mark.parametrize("scale", [1.0, 0.37, 1 / 16, 1e-4])
def test_a_scaled_camera_fills_the_same_rectangle(navigator, scale):
    camera = navigator.camera(641, 479)
    small = scaled_camera(camera, scale)
    assert small.width >= 1
    assert small.height >= 1
    assert small.width / small.fx == pytest.approx(camera.width / camera.fx)
    assert small.height / small.fy == pytest.approx(camera.height / camera.fy)
    assert small.cx / small.width == pytest.approx(0.5)


def test_a_picked_point_projects_back_to_where_it_was_picked(navigator):
    camera = scaled_camera(navigator.camera(800, 600), 0.25)
    shape = (camera.height, camera.width)
    depth, alpha = np.full(shape, np.inf, np.float32), np.zeros(shape, np.float32)
    frame = Frame(np.zeros((*shape, 3), np.float32), alpha, depth, FrameStatistics())
    assert picked_point(camera, frame, 0.3, 0.6) is None
    depth[90, 60], alpha[90, 60] = 3.0, 1.0
    picked = picked_point(camera, frame, 0.3, 0.6)
    assert picked is not None
    point, z = picked
    assert z == 3.0
    assert project(camera, point) == pytest.approx((0.3 * camera.width, 0.6 * camera.height))
    assert picked_point(camera, frame, 1.0, 0.5) is None  # just outside the picture
    assert picked_point(camera, frame, -0.001, 0.5) is None
