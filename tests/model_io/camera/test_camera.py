import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kilonerf.model_io import Camera

coordinates = st.floats(-10, 10, allow_subnormal=False)
points = st.tuples(coordinates, coordinates, coordinates)
sizes = st.integers(1, 4000)
fields_of_view = st.floats(0.05, 3.0)


def ray(camera: Camera, x: float, y: float) -> np.ndarray:
    """The direction of the ray through (x, y) in continuous pixel coordinates, as Camera's docstring says."""
    local = np.array([(x - camera.cx) / camera.fx, -(y - camera.cy) / camera.fy, -1.0])
    return camera.matrix[:3, :3] @ local


@st.composite
def cameras(draw):
    eye, target, up = (np.array(draw(points)) for _ in range(3))
    assume(np.linalg.norm(eye - target) > 0.01)
    assume(np.linalg.norm(up) > 0.01)
    return Camera.look_at(eye, target, draw(sizes), draw(sizes), up=up, fov_y=draw(fields_of_view)), eye, target, up


@given(cameras())
def test_look_at_gives_a_rotation(made):
    camera, eye, _, _ = made
    rotation = camera.matrix[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    np.testing.assert_array_equal(camera.position, eye)
    assert camera.c2w[3] == (0.0, 0.0, 0.0, 1.0)


@given(cameras())
def test_look_at_looks_at_the_target_with_up_upwards(made):
    camera, eye, target, up = made
    forward = ray(camera, camera.cx, camera.cy)  # through the principal point: -z
    np.testing.assert_array_equal(forward, -camera.matrix[:3, 2])
    np.testing.assert_allclose(forward, (target - eye) / np.linalg.norm(target - eye), atol=1e-9)
    assert camera.matrix[:3, 1] @ up >= -1e-6 * np.linalg.norm(up)


@given(cameras())
def test_the_picture_is_as_high_as_the_field_of_view(made):
    camera, *_ = made
    top, bottom = ray(camera, camera.cx, 0.0), ray(camera, camera.cx, camera.height)
    cosine = top @ bottom / (np.linalg.norm(top) * np.linalg.norm(bottom))
    assert math.acos(np.clip(cosine, -1, 1)) == pytest.approx(camera.fov_y, abs=1e-6)
    assert top @ camera.matrix[:3, 1] > 0  # row 0 is on top


@given(cameras(), sizes, sizes)
def test_resized_keeps_the_view(made, width, height):
    camera, *_ = made
    resized = camera.resized(width, height)
    assert resized.c2w == camera.c2w
    assert resized.fov_y == pytest.approx(camera.fov_y)
    assert resized.fx / resized.fy == pytest.approx(camera.fx / camera.fy)
    middle = ray(resized, width / 2, height / 2)
    np.testing.assert_allclose(middle, ray(camera, camera.width / 2, camera.height / 2), atol=1e-9)
    for y in (0.0, 1.0):  # the top and bottom edges stay where they were
        np.testing.assert_allclose(
            ray(resized, width / 2, y * height), ray(camera, camera.width / 2, y * camera.height), rtol=1e-6, atol=1e-6
        )


@given(cameras())
def test_resized_there_and_back_is_the_same_camera(made):
    camera, *_ = made
    back = camera.resized(123, 2 * camera.height).resized(camera.width, camera.height)
    for field in ("fx", "fy", "cx", "cy"):
        assert getattr(back, field) == pytest.approx(getattr(camera, field))


def test_equality_is_by_every_number():
    camera = Camera.look_at((3, 2, 1), (0, 0, 0), 64, 48)
    assert camera == Camera.look_at((3, 2, 1), (0, 0, 0), 64, 48)
    assert hash(camera) == hash(Camera.look_at((3, 2, 1), (0, 0, 0), 64, 48))
    assert camera != camera.resized(64, 49)
    moved = camera.matrix.copy()
    moved[0, 3] += 1e-12
    assert camera != camera.moved(moved)
    assert camera == camera.moved(camera.matrix[:3])


def test_looking_along_up_still_gives_a_rotation():
    for eye in ((0, 0, 5), (0, 0, -5)):
        rotation = Camera.look_at(eye, (0, 0, 0), 10, 10).matrix[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"c2w": np.eye(3)},
        {"c2w": np.full((4, 4), np.nan)},
        {"fx": 0.0},
        {"fx": -1.0},
        {"fx": math.inf},
        {"width": -1},
        {"cx": math.nan},
    ],
    ids=str,
)
def test_a_camera_that_cannot_be_is_refused(wrong):
    given_values = {"c2w": np.eye(4), "width": 8, "height": 6, "fx": 9.0} | wrong
    c2w, width, height = given_values.pop("c2w"), given_values.pop("width"), given_values.pop("height")
    with pytest.raises(ValueError, match="Camera: "):
        Camera.from_matrix(c2w, width, height, **given_values)


def test_its_matrix_cannot_be_written():
    camera = Camera.look_at((3, 2, 1), (0, 0, 0), 64, 48)
    with pytest.raises(ValueError, match="read-only"):
        camera.matrix[0, 0] = 2.0
