"""Paths of even speed, closed paths, and flights with few keyframes."""

import math
from itertools import pairwise

import numpy as np
import pytest

from kilonerf.model_io import Camera, CameraPath, CameraPathError, Keyframe
from kilonerf.model_io.camera.simplify import simplified


def key(seconds, x, y, z, yaw=0.0, fov=0.8, *, timed=False):
    c, s = math.cos(yaw), math.sin(yaw)
    return Keyframe(seconds, ((c, -s, 0.0, x), (s, c, 0.0, y), (0.0, 0.0, 1.0, z), (0.0, 0.0, 0.0, 1.0)), fov, timed)


UNEVEN = (key(0, 0, 0, 0), key(1, 0.2, 3, 1), key(2, 4, 3.5, 0), key(3, 4.2, 3.4, 0.2), key(10, -2, 0, 3, 1.0))


def speeds(path, count=300):
    positions = path.poses(np.linspace(path.start, path.start + path.duration, count + 1)).positions
    return np.linalg.norm(np.diff(positions, axis=0), axis=1) * count / path.duration


def test_the_speed_of_an_even_path_is_the_same_everywhere():
    measured = speeds(CameraPath(UNEVEN, "even"))
    assert measured.max() / measured.min() < 1.02
    assert speeds(CameraPath(UNEVEN)).max() / speeds(CameraPath(UNEVEN)).min() > 3.0


def test_an_even_path_passes_through_its_keys_in_their_order():
    path = CameraPath(UNEVEN, "even")
    times = path.key_times()
    assert times[0] == 0.0
    assert times[-1] == 10.0
    assert all(before < after for before, after in pairwise(times))
    for seconds, expected in zip(times, UNEVEN, strict=True):
        camera = path.camera_at(seconds, 64, 48)
        np.testing.assert_allclose(camera.matrix, np.array(expected.c2w), atol=2e-4)


def test_a_timed_key_is_passed_at_its_time():
    keys = (*UNEVEN[:2], key(8.0, 4, 3.5, 0, timed=True), UNEVEN[4])
    path = CameraPath(keys, "even")
    np.testing.assert_allclose(path.key_times()[2], 8.0, atol=1e-9)
    np.testing.assert_allclose(path.camera_at(8.0, 64, 48).position, [4, 3.5, 0], atol=1e-6)


def test_a_turn_on_the_spot_takes_its_time():
    path = CameraPath((key(0, 0, 0, 0), key(1, 4, 0, 0), key(2, 4, 0, 0, math.pi), key(6, 8, 0, 0, math.pi)), "even")
    times = path.key_times()
    assert times[2] - times[1] > 1.0  # half a turn, at 120 degrees a second at most


def test_equal_neighbours_make_no_path_that_stands_still_in_time():
    path = CameraPath((key(0, 0, 0, 0), key(1, 1, 0, 0), key(2, 1, 0, 0), key(3, 2, 0, 0)), "even").settled()
    assert path.duration == 3.0


def test_a_closed_path_comes_back_without_a_jerk():
    for speed in ("keys", "even"):
        path = CameraPath((key(0, 1, 0, 0), key(1, 0, 1, 0), key(2, -1, 0, 0), key(3, 0, -1, 0)), speed, 1.0)
        assert path.duration == 4.0
        np.testing.assert_allclose(path.camera_at(4.0, 8, 8).position, [1, 0, 0])
        near = path.poses([0.0, 0.001, 3.999, 4.0]).positions
        np.testing.assert_allclose(near[1] - near[0], near[3] - near[2], atol=1e-5)


def test_an_even_closed_path_is_even_over_its_seam():
    measured = speeds(CameraPath((key(0, 1, 0, 0), key(1, 0, 1, 0), key(3, -1, -1, 0)), "even", 2.0))
    assert measured.max() / measured.min() < 1.02


def test_speed_and_closing_survive_the_file(tmp_path):
    path = CameraPath((*UNEVEN[:2], key(8.0, 4, 3.5, 0, timed=True), UNEVEN[4]), "even", 2.0).settled()
    path.save(tmp_path / "p.json")
    again = CameraPath.load(tmp_path / "p.json")
    assert again.speed == "even"
    assert again.closing_seconds == path.closing_seconds > 0.0
    assert [k.timed for k in again.keyframes] == [k.timed for k in path.keyframes]
    for seconds in np.linspace(0.0, path.duration, 40).tolist():
        np.testing.assert_allclose(
            again.camera_at(seconds, 8, 8).matrix, path.camera_at(seconds, 8, 8).matrix, atol=1e-9
        )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [('"even"', '"odd"', "speed"), ("2.0,", "-1,", "closing_seconds"), ("true", "3", "timed")],
)
def test_a_wrong_field_is_named(tmp_path, old, new, said):
    file = tmp_path / "p.json"
    CameraPath((UNEVEN[0], key(1.0, 4, 3.5, 0, timed=True)), "even", 2.0).save(file)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(CameraPathError, match=said):
        CameraPath.load(file)


def test_a_dense_flight_keeps_its_motion_with_few_keys():
    times = np.arange(0.0, 10.0, 1.0 / 60.0)
    cameras = [
        Camera.look_at((4 * math.cos(0.5 * t), 4 * math.sin(0.5 * t), 1 + 0.3 * t), (0, 0, 0), 640, 480) for t in times
    ]
    dense = CameraPath.from_cameras(times, cameras)
    few = simplified(dense)
    assert 4 <= len(few.keyframes) <= 20
    assert set(few.keyframes) <= set(dense.keyframes)
    difference = dense.poses(times).positions - few.poses(times).positions
    extent = np.linalg.norm(np.ptp(dense.poses(times).positions, axis=0))
    assert np.linalg.norm(difference, axis=1).max() < 0.0051 * extent
