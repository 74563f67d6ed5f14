import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilonerf.model_io import Camera, CameraPathError, OutputError
from kilonerf.model_io.camera.path import CameraPath, Keyframe
from kilonerf.model_io.camera.rotation import (
    exponential,
    logarithm,
    matrix_from_quaternion,
    multiply,
    quaternion_from_matrix,
)

numbers = st.floats(-10.0, 10.0)
vectors = st.tuples(numbers, numbers, numbers)
rotation_vectors = st.tuples(*[st.floats(-4.0, 4.0)] * 3)


@st.composite
def paths(draw, minimum=1):
    count = draw(st.integers(minimum, 7))
    seconds = draw(st.floats(-5.0, 5.0))
    keyframes = []
    for _ in range(count):
        c2w = np.eye(4)
        c2w[:3, :3] = matrix_from_quaternion(exponential(np.array(draw(rotation_vectors))))
        c2w[:3, 3] = draw(vectors)
        pose = Camera.from_matrix(c2w, 1, 1, fx=1.0)
        keyframes.append(Keyframe(seconds, pose.c2w, draw(st.floats(0.05, 2.5))))
        seconds += draw(st.floats(0.01, 4.0))
    return CameraPath(tuple(keyframes))


@given(rotation_vectors)
def test_quaternions_and_matrices_are_the_same_rotations(vector):
    q = exponential(np.array(vector))
    matrix = matrix_from_quaternion(q)
    back = quaternion_from_matrix(matrix)
    assert min(np.abs(back - q).max(), np.abs(back + q).max()) < 1e-12
    np.testing.assert_allclose(matrix_from_quaternion(exponential(logarithm(q))), matrix, atol=1e-12)


def test_a_product_turns_first_by_its_right_factor():
    about_x, about_z = exponential(np.array([math.pi / 2, 0, 0])), exponential(np.array([0, 0, math.pi / 2]))
    turned = matrix_from_quaternion(multiply(about_x, about_z)) @ np.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(turned, [0.0, 0.0, 1.0], atol=1e-15)  # x -> y about z, then y -> z about x


@given(paths())
def test_exact_at_the_keyframes_and_clamped_outside(path):
    for key in path.keyframes:
        camera = path.camera_at(key.seconds, 64, 48)
        assert camera.c2w == key.c2w
        assert camera.fov_y == pytest.approx(key.fov_y, rel=1e-12)
        assert (camera.width, camera.height, camera.cx, camera.cy) == (64, 48, 32.0, 24.0)
    assert path.camera_at(path.start - 7.0, 64, 48).c2w == path.keyframes[0].c2w
    assert path.camera_at(path.start + path.duration + 7.0, 64, 48).c2w == path.keyframes[-1].c2w


@given(paths(), st.floats(0.0, 1.0))
def test_every_camera_is_a_rotation_a_place_and_a_field_of_view(path, where):
    camera = path.camera_at(path.start + where * path.duration, 32, 32)
    rotation = camera.matrix[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) > 0.0
    assert 0.0 < camera.fov_y < math.pi


@given(paths(minimum=2), st.data())
def test_continuous_in_place_and_velocity_across_keyframes(path, data):
    key = path.keyframes[data.draw(st.integers(1, len(path.keyframes) - 1))]
    gap = 1e-6

    def pose(seconds):
        return path.camera_at(seconds, 32, 32).matrix

    before, at, after = pose(key.seconds - gap), pose(key.seconds), pose(key.seconds + gap)
    speed_limit = 3000.0 * (1.0 + 20.0)  # the closest keys are 0.01 s apart, 35 units at most between them
    assert np.abs(after - at).max() < speed_limit * gap
    assert np.abs(at - before).max() < speed_limit * gap
    if key is not path.keyframes[-1]:
        # One-sided speeds agree up to the acceleration (speed / step) times the gap.
        np.testing.assert_allclose((at - before) / gap, (after - at) / gap, atol=speed_limit / 0.01 * 4 * gap)


def test_a_rest_stays_a_rest_after_and_before_motion():
    far = Camera.look_at((9, 3, 2), (0, 0, 1), 8, 8)
    rest = Camera.look_at((3, 3, 2), (0, 0, 0), 8, 8)
    path = CameraPath.from_cameras([0.0, 0.1, 5.0, 5.1], [far, rest, rest, far])
    for seconds in np.linspace(0.1, 5.0, 50):
        np.testing.assert_allclose(path.camera_at(seconds, 8, 8).matrix, rest.matrix, atol=1e-12)


def test_a_steady_turn_and_a_straight_flight_are_steady():
    times = [0.0, 0.4, 1.0, 1.2, 2.0]
    cameras = []
    for t in times:
        c2w = np.eye(4)
        c2w[:3, :3] = matrix_from_quaternion(exponential(np.array([0.0, 0.0, 1.1 * t])))
        c2w[:3, 3] = (2.0 * t, -t, 5.0)
        cameras.append(Camera.from_matrix(c2w, 8, 8, fx=8.0))
    path = CameraPath.from_cameras(times, cameras)
    for t in np.linspace(0.0, 2.0, 23):
        matrix = path.camera_at(t, 8, 8).matrix
        np.testing.assert_allclose(matrix[:3, 3], (2.0 * t, -t, 5.0), atol=1e-12)
        expected = matrix_from_quaternion(exponential(np.array([0.0, 0.0, 1.1 * t])))
        np.testing.assert_allclose(matrix[:3, :3], expected, atol=1e-12)


def test_steady_acceleration_is_followed_exactly_whatever_the_times():
    times = [1.0, 1.4, 2.0, 2.2, 3.0]
    eyes = [np.array([t * t, 2.0 * t, 0.0]) for t in times]
    path = CameraPath.from_cameras(times, [Camera.look_at(eye, eye - (0, 1, 0), 8, 8) for eye in eyes])
    for t in np.linspace(1.0, 3.0, 23):
        np.testing.assert_allclose(path.camera_at(t, 8, 8).position, (t * t, 2.0 * t, 0.0), atol=1e-12)


@given(paths())
def test_a_file_gives_back_the_same_path_exactly(tmp_path_factory, path):
    file = tmp_path_factory.mktemp("path") / "flight.json"
    path.save(file)
    assert CameraPath.load(file) == path
    assert [entry.name for entry in file.parent.iterdir()] == ["flight.json"]


def still() -> CameraPath:
    return CameraPath.from_cameras([0.0], [Camera.look_at((3, 0, 0), (0, 0, 0), 8, 8)])


def broken(**changes):
    identity = np.eye(4).tolist()
    key = {"seconds": 0.0, "fov_y": 0.7, "c2w": identity} | changes
    return {"format": "kilonerf-camera-path", "version": 1, "keyframes": [key]}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "format"),
        ({"format": "other", "version": 1, "keyframes": []}, "format"),
        (broken() | {"version": 2}, "version: expected 1, got 2"),
        (broken() | {"version": True}, "version"),
        (broken() | {"keyframes": {}}, "keyframes: expected a list"),
        (broken() | {"keyframes": []}, "at least one"),
        (broken() | {"keyframes": [3]}, "keyframes[0]: expected an object"),
        (broken() | {"keyframes": broken()["keyframes"] * 2}, "keyframes[1].seconds: expected more than 0.0"),
        (broken(seconds="0"), "keyframes[0].seconds: expected a number, got '0'"),
        (broken(seconds=True), "keyframes[0].seconds"),
        (broken(seconds=None), "keyframes[0].seconds"),
        (broken(seconds=math.nan), "keyframes[0].seconds: expected a finite number"),
        (broken(seconds=10**400), "keyframes[0].seconds: expected a finite number"),
        (broken(seconds=1e300), "keyframes[0].seconds"),
        (broken(fov_y=0.0), "keyframes[0].fov_y: expected radians"),
        (broken(fov_y=40.0), "keyframes[0].fov_y: expected radians"),
        (broken(c2w=[[1, 2], [3, 4]]), "keyframes[0].c2w: expected 4 rows"),
        (broken(c2w=[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]), "last row"),
        (broken(c2w=(2 * np.diag([1, 1, 1, 0.5])).tolist()), "rotation"),
        (broken(c2w=np.diag([1.0, 1, -1, 1]).tolist()), "rotation"),
        (broken(c2w=np.diag([math.inf, 1, 1, 1]).tolist()), "finite"),
        (broken(c2w=np.diag([1e200, 1, 1, 1]).tolist()), "keyframes[0].c2w"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong_in_it(tmp_path, document, says):
    file = tmp_path / "flight.json"
    file.write_text(json.dumps(document))
    with pytest.raises(CameraPathError) as caught:
        CameraPath.load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{", b"[" * 100_000, b"9" * 10_000])
def test_a_file_that_is_not_json_is_refused(tmp_path, content):
    file = tmp_path / "flight.json"
    file.write_bytes(content)
    with pytest.raises(CameraPathError, match="not UTF-8" if content == b"\xff\xfe" else "expected JSON"):
        CameraPath.load(file)


def test_missing_files_and_folders_are_refused(tmp_path):
    for file, got in ((tmp_path / "none.json", "nothing there"), (tmp_path, "a folder")):
        with pytest.raises(CameraPathError, match=f"expected a file, got {got}"):
            CameraPath.load(file)
    for file in (tmp_path / "none" / "flight.json", tmp_path):
        with pytest.raises(OutputError):
            still().save(file)
    assert list(tmp_path.iterdir()) == []


def test_counts_must_agree_and_a_still_is_a_path():
    with pytest.raises(CameraPathError, match="one time per camera"):
        CameraPath.from_cameras([0.0, 1.0], [Camera.look_at((3, 0, 0), (0, 0, 0), 8, 8)])
    assert still().duration == 0.0
    assert still().camera_at(12.0, 8, 8).c2w == still().keyframes[0].c2w
