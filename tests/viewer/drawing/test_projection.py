import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilonerf.model_io import Camera
from kilonerf.viewer.drawing.projection import (
    NEAREST_SHARE,
    ClipPlanes,
    clip_from_picture,
    clip_planes,
    projection_matrix,
    view_matrix,
)

coordinate = st.floats(-5.0, 5.0)
point = st.tuples(coordinate, coordinate, coordinate)


@st.composite
def cameras(draw):
    eye, target = np.array(draw(point)), np.array(draw(point))
    if np.linalg.norm(eye - target) < 0.1:
        target = eye + np.array([0.3, 0.5, 0.7])
    camera = Camera.look_at(eye, target, draw(st.integers(1, 2000)), draw(st.integers(1, 2000)))
    return Camera.from_matrix(
        camera.matrix,
        camera.width,
        camera.height,
        fx=draw(st.floats(10.0, 3000.0)),
        fy=draw(st.floats(10.0, 3000.0)),
        cx=draw(st.floats(-100.0, 2100.0)),
        cy=draw(st.floats(-100.0, 2100.0)),
    )


@given(cameras(), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.2, 9.0))
def test_a_point_on_a_pixels_ray_projects_to_that_pixel_and_depth(camera, across, down, t):
    column, row = across * camera.width - 0.5, down * camera.height - 0.5  # continuous pixel coordinates
    direction = camera.matrix[:3, :3] @ (
        (column + 0.5 - camera.cx) / camera.fx,
        -(row + 0.5 - camera.cy) / camera.fy,
        -1.0,
    )
    world = camera.position + t * direction
    near, far = 0.1, 10.0
    clip = projection_matrix(camera, near, far) @ view_matrix(camera) @ (*world, 1.0)
    ndc = clip[:3] / clip[3]
    assert clip[3] == pytest.approx(t, rel=1e-6)
    assert 0.5 * (ndc[0] + 1.0) * camera.width - 0.5 == pytest.approx(column, abs=1e-4)
    assert 0.5 * (1.0 - ndc[1]) * camera.height - 0.5 == pytest.approx(row, abs=1e-4)
    assert 0.5 * (ndc[2] + 1.0) == pytest.approx(far * (t - near) / (t * (far - near)), abs=1e-6)


@given(cameras(), point, st.tuples(*[st.floats(0.01, 8.0)] * 3), st.integers(0, 2**32 - 1))
def test_clip_planes_hold_what_is_in_front_of_the_camera(camera, low, size, seed):
    low, size = np.array(low), np.array(size)
    near, far = clip_planes(camera, low, low + size)
    assert 0.0 < near < far
    assert np.isfinite(far)
    points = low + np.random.default_rng(seed).random((50, 3)) * size
    depths = -(points - camera.position) @ camera.matrix[:3, 2]
    in_front = depths > NEAREST_SHARE * far
    assert np.all((depths[in_front] >= near) & (depths[in_front] <= far))


def test_clip_planes_are_tight_from_outside():
    camera = Camera.look_at((0.0, 0.0, 5.0), (0.0, 0.0, 0.0), 10, 10)
    near, far = clip_planes(camera, (-1, -1, -1), (1, 1, 1))
    assert near == pytest.approx(4.0, abs=0.01)
    assert far == pytest.approx(6.0, abs=0.01)


def test_clip_planes_of_a_box_behind_the_camera_are_valid():
    camera = Camera.look_at((0.0, 0.0, 5.0), (0.0, 0.0, 9.0), 10, 10)
    near, far = clip_planes(camera, (-1, -1, -1), (1, 1, 1))
    assert 0.0 < near < far


@given(cameras(), cameras(), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.2, 9.0))
def test_a_pixel_and_its_depth_are_the_same_point_for_another_camera(source, displayed, across, down, t):
    x, y = across * source.width, down * source.height
    direction = ((x - source.cx) / source.fx, -(y - source.cy) / source.fy, -1.0)
    world = source.position + t * (source.matrix[:3, :3] @ direction)
    expected = projection_matrix(displayed, 0.1, 10.0) @ view_matrix(displayed) @ (*world, 1.0)
    clip = clip_from_picture(source, displayed, ClipPlanes(0.1, 10.0)) @ (x, y, 1.0, 1.0 / t)
    np.testing.assert_allclose(clip * t, expected, rtol=1e-9, atol=1e-6)


@given(cameras(), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_infinitely_far_keeps_its_pixel_wherever_the_camera_goes(source, across, down):
    x, y = across * source.width, down * source.height
    moved = source.matrix.copy()
    moved[:3, 3] += (0.3, -2.0, 1.0)
    clip = clip_from_picture(source, source.moved(moved), ClipPlanes(0.1, 10.0)) @ (x, y, 1.0, 0.0)
    assert clip[3] == pytest.approx(1.0)
    assert (0.5 + 0.5 * clip[0] / clip[3]) * source.width == pytest.approx(x, abs=1e-6 * (1 + abs(source.cx)))
    assert (0.5 - 0.5 * clip[1] / clip[3]) * source.height == pytest.approx(y, abs=1e-6 * (1 + abs(source.cy)))
