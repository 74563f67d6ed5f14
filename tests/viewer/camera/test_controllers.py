import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilonerf.viewer.camera.controllers import FlyController, OrbitController, OrbitState, heading_axes, heading_of

angles = st.floats(-10.0, 10.0)
pitches = st.floats(-math.pi / 2, math.pi / 2)
units = st.floats(-5.0, 5.0)
points = st.tuples(units, units, units).map(np.array)
orbits = st.builds(OrbitState, points, st.floats(0.1, 10.0), angles, pitches)


def assert_proper_without_roll(c2w):
    rotation = c2w[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert rotation[2, 0] == pytest.approx(0.0, abs=1e-12)  # the right axis stays level
    assert rotation[2, 1] >= -1e-12  # and up never points down
    np.testing.assert_array_equal(c2w[3], [0, 0, 0, 1])


@given(angles, pitches)
def test_heading_survives_the_way_through_a_matrix(yaw, pitch):
    again = heading_of(heading_axes(yaw, pitch))
    np.testing.assert_allclose(heading_axes(*again), heading_axes(yaw, pitch), atol=1e-6)


@pytest.mark.parametrize("pitch", [-math.pi / 2, math.pi / 2])
def test_heading_at_a_pole_keeps_its_yaw(pitch):
    assert heading_of(heading_axes(1.2, pitch)) == pytest.approx((1.2, pitch))


@given(orbits, st.lists(st.tuples(angles, angles), max_size=8))
def test_orbit_stays_on_its_sphere_and_never_rolls(state, turns):
    orbit = OrbitController(state)
    for turn in turns:
        orbit.rotate(*turn)
        c2w = orbit.matrix()
        assert_proper_without_roll(c2w)
        assert np.linalg.norm(c2w[:3, 3] - state.target) == pytest.approx(state.distance)
        ahead = c2w[:3, 3] - state.distance * c2w[:3, 2]
        np.testing.assert_allclose(ahead, state.target, atol=1e-9)


@given(orbits, st.floats(-1, 1), st.floats(-0.5, 0.5))
def test_orbit_half_turns_add_up(state, yaw, pitch):
    whole, halves = OrbitController(state), OrbitController(state)
    whole.rotate(yaw, pitch)
    halves.rotate(yaw / 2, pitch / 2)
    halves.rotate(yaw / 2, pitch / 2)
    np.testing.assert_allclose(whole.matrix(), halves.matrix(), atol=1e-9)


@given(angles)
def test_orbit_passes_no_pole_and_does_not_flip(yaw):
    orbit = OrbitController(OrbitState(np.zeros(3), 2.0, yaw, 1.5))
    before = orbit.matrix()[:3, 0]
    for _ in range(20):
        orbit.rotate(0.0, 0.02)
        np.testing.assert_allclose(orbit.matrix()[:3, 0], before, atol=1e-9)
    assert orbit.state.pitch == math.pi / 2


@given(orbits, units, units)
def test_pan_moves_eye_and_target_alike_in_the_picture_plane(state, right, up):
    orbit = OrbitController(state)
    before = orbit.matrix()
    orbit.pan(right, up)
    after = orbit.matrix()
    np.testing.assert_allclose(after[:3, :3], before[:3, :3])
    shift = after[:3, 3] - before[:3, 3]
    np.testing.assert_allclose(before[:3, :3].T @ shift, [right, up, 0.0], atol=1e-9)


@given(orbits, points, st.floats(0.3, 3.0))
def test_zoom_keeps_the_anchor_under_the_cursor(state, anchor, factor):
    orbit = OrbitController(state)
    local = np.linalg.inv(orbit.matrix()) @ [*anchor, 1.0]
    orbit.zoom(factor, anchor)
    after = np.linalg.inv(orbit.matrix()) @ [*anchor, 1.0]
    np.testing.assert_allclose(after[:3], factor * local[:3], atol=1e-7)  # same direction, other depth


def test_zoom_stops_at_its_bounds():
    orbit = OrbitController(OrbitState(np.zeros(3), 1.0, 0.0, 0.0), nearest=0.5, farthest=2.0)
    orbit.zoom(0.01)
    assert orbit.state.distance == 0.5
    orbit.zoom(100.0)
    assert orbit.state.distance == 2.0


@given(orbits, points)
def test_focus_looks_at_the_point_from_the_same_place(state, point):
    orbit = OrbitController(state)
    eye = orbit.matrix()[:3, 3]
    if np.linalg.norm(eye - point) < 0.1:
        return
    orbit.focus(point)
    c2w = orbit.matrix()
    np.testing.assert_allclose(c2w[:3, 3], eye, atol=1e-7)
    local = np.linalg.inv(c2w) @ [*point, 1.0]
    np.testing.assert_allclose(local[:2], 0.0, atol=1e-6)
    assert local[2] < 0.0
    assert_proper_without_roll(c2w)


@given(orbits, orbits, st.floats(0.05, 0.9))
def test_a_glide_ends_where_it_should_and_does_not_depend_on_the_frame_rate(start, end, at):
    whole, parts = OrbitController(start), OrbitController(start)
    whole.glide_to(end, 1.0)
    parts.glide_to(end, 1.0)
    whole.advance(at)
    parts.advance(at / 2)
    assert parts.gliding
    parts.advance(at / 2)
    np.testing.assert_allclose(whole.matrix(), parts.matrix(), atol=1e-9)
    assert_proper_without_roll(whole.matrix())
    whole.advance(1.0)
    assert not whole.gliding
    np.testing.assert_allclose(whole.matrix(), end.matrix(), atol=1e-9)


keys = st.sampled_from([-1, 0, 1])


@given(orbits, keys, keys, keys, st.floats(0.01, 10.0), st.floats(0.0, 1.0))
def test_flying_is_scaled_by_time(state, right, up, forward, speed, seconds):
    whole, halves = FlyController(state.matrix()), FlyController(state.matrix())
    whole.move(right, up, forward, speed, seconds)
    halves.move(right, up, forward, speed, seconds / 2)
    halves.move(right, up, forward, speed, seconds / 2)
    np.testing.assert_allclose(whole.matrix(), halves.matrix(), atol=1e-9)
    assert np.linalg.norm(whole.position - state.matrix()[:3, 3]) <= speed * seconds + 1e-9


def test_flying_forward_goes_where_the_camera_looks():
    fly = FlyController(OrbitState(np.zeros(3), 2.0, 0.3, 0.4).matrix())
    fly.move(0, 0, 1, speed=0.5, seconds=4.0)
    np.testing.assert_allclose(fly.position, 0.0, atol=1e-12)


@given(orbits, st.lists(st.tuples(angles, angles), max_size=8))
def test_looking_around_stays_on_the_spot_and_never_rolls(state, turns):
    fly = FlyController(state.matrix())
    for turn in turns:
        fly.look(*turn)
        assert_proper_without_roll(fly.matrix())
        np.testing.assert_allclose(fly.position, state.matrix()[:3, 3])
