"""Speed and pivot inside a scene go by what is in view."""

from dataclasses import replace

import numpy as np
import pytest

from kilonerf.kernels import Frame, FrameStatistics
from kilonerf.model_io import Camera
from kilonerf.viewer.camera.depth_in_view import DepthInView, depth_in_view
from kilonerf.viewer.camera.navigator import MotionKeys, Navigator
from support.scenes import nested_scene

EYE = (0.3, 0.1, 0.2)


def frame_of(depth, alpha):
    depth, alpha = np.asarray(depth, np.float32), np.asarray(alpha, np.float32)
    return Frame(np.zeros((*depth.shape, 3), np.float32), alpha, depth, FrameStatistics())


def inside(scene=None):
    navigator = Navigator()
    camera = Camera.look_at(EYE, (2.0, 0.5, 0.0), 64, 48)
    navigator.set_scene(replace(scene or nested_scene(), start_camera=camera))
    return navigator


def test_depth_is_measured_on_what_is_opaque():
    depth, alpha = np.full((200, 300), 2.0), np.ones((200, 300))
    depth[:, 160:], alpha[:, 160:] = np.inf, 0.0  # sky
    depth[:40] = 9.0
    depth[80:120, 100:160] = 5.0
    assert depth_in_view(frame_of(depth, alpha)) == DepthInView(median=2.0, ahead=5.0)
    alpha[:] = 0.2  # haze
    assert depth_in_view(frame_of(depth, alpha)) is None
    assert depth_in_view(frame_of(np.zeros((0, 0)), np.zeros((0, 0)))) is None


def test_speed_goes_by_the_depth_in_view_and_not_by_the_outermost_box():
    few, many = inside(nested_scene(levels=2)), inside(nested_scene(levels=4))
    for navigator in (few, many):
        navigator.see(DepthInView(median=3.0, ahead=3.0))
    assert few.units_per_second == many.units_per_second == pytest.approx(0.75)


def test_speed_follows_a_new_depth_without_a_jump_and_alike_at_any_rate():
    speeds = []
    for steps in (6, 60):
        navigator = inside()
        navigator.see(DepthInView(4.0, 4.0))
        before = navigator.units_per_second
        navigator.see(DepthInView(1.0, 1.0))
        navigator.fly(MotionKeys(forward=1), 0.001)
        assert navigator.units_per_second == pytest.approx(before, rel=0.01)
        for _ in range(steps):
            navigator.fly(MotionKeys(forward=1), 0.6 / steps)
        speeds.append(navigator.units_per_second)
    assert speeds[0] == pytest.approx(speeds[1])
    assert speeds[0] == pytest.approx(0.25 * 4.0 ** np.exp(-2.0), rel=0.01)


def test_nothing_in_view_keeps_the_speed():
    navigator = inside()
    navigator.see(DepthInView(2.0, 2.0))
    before = navigator.units_per_second
    navigator.see(None)
    navigator.fly(MotionKeys(forward=1), 0.5)
    assert navigator.units_per_second == before


def test_inside_nested_boxes_the_first_picture_gives_the_pivot():
    navigator = inside()
    before = navigator.matrix()
    navigator.see(DepthInView(median=3.0, ahead=1.5))
    np.testing.assert_allclose(navigator.matrix(), before, atol=1e-12)
    np.testing.assert_allclose(navigator.target, before[:3, 3] - 1.5 * before[:3, 2])
    navigator.see(DepthInView(median=3.0, ahead=2.5))  # later ones do not
    assert navigator.distance_ahead == pytest.approx(1.5)


def test_who_steers_before_the_first_picture_keeps_the_pivot():
    navigator = inside()
    pivot = navigator.distance_ahead
    navigator.drag(0.1, 0.0)
    navigator.see(DepthInView(median=3.0, ahead=1.5))
    assert navigator.distance_ahead == pytest.approx(pivot)


def test_a_bounded_scene_is_turned_around_its_middle(toy_scene):
    navigator = Navigator()
    navigator.set_scene(toy_scene)
    pivot = navigator.distance_ahead
    navigator.see(DepthInView(median=3.0, ahead=1.5))
    assert navigator.distance_ahead == pivot


def test_orbit_after_a_flight_turns_around_what_is_ahead():
    navigator = inside()
    navigator.fly(MotionKeys(forward=1), 0.1)
    navigator.see(DepthInView(median=3.0, ahead=0.7))
    navigator.set_mode("orbit")
    assert navigator.distance_ahead == pytest.approx(0.7)


def test_a_flight_comes_to_rest_softly_and_alike_at_any_rate():
    ends = []
    for steps in (5, 50):
        navigator = inside()
        navigator.fly(MotionKeys(forward=1), 0.2)
        navigator.advance(0.2)
        released = navigator.matrix()[:3, 3]
        assert navigator.moving_by_itself
        for _ in range(steps):
            navigator.advance(1.0 / steps)
        assert not navigator.moving_by_itself
        ends.append(np.linalg.norm(navigator.matrix()[:3, 3] - released) / navigator.units_per_second)
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)
    assert 0.05 < ends[0] < 0.12  # seconds at full speed


def test_held_keys_move_at_once_and_are_not_coasted_on_top():
    navigator = inside()
    before = navigator.matrix()[:3, 3]
    for _ in range(10):
        navigator.fly(MotionKeys(forward=1), 0.05)
        navigator.advance(0.05)
    assert np.linalg.norm(navigator.matrix()[:3, 3] - before) == pytest.approx(0.5 * navigator.units_per_second)
