import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilonerf.model_io import Camera
from kilonerf.viewer.recording.flight_recorder import FlightRecorder


def camera_on_a_line(x: float) -> Camera:
    return Camera.look_at((3.0 + x, 2.0, 1.0), (x, 0.0, 0.0), 64, 48)


def record(moments: list[tuple[float, float]]):
    """Record cameras at (seconds, place on the line)."""
    recorder = FlightRecorder()
    recorder.start(100.0)
    for seconds, x in moments:
        recorder.add(camera_on_a_line(x), 100.0 + seconds)
    return recorder.stop()


def test_a_flight_is_kept_as_it_was():
    moments = [(k / 60, k / 30) for k in range(61)]
    path = record(moments)
    assert path.duration == pytest.approx(1.0)
    assert len(path.keyframes) == 61
    for seconds, x in moments:
        np.testing.assert_allclose(path.camera_at(seconds, 64, 48).position, (3.0 + x, 2.0, 1.0), atol=1e-9)


def test_a_fast_window_is_thinned_and_the_flight_stays():
    moments = [(k / 240, k / 240) for k in range(241)]
    path = record(moments)
    assert 50 <= len(path.keyframes) <= 77
    assert path.duration == pytest.approx(1.0)
    for seconds, x in moments:
        np.testing.assert_allclose(path.camera_at(seconds, 64, 48).position[0], 3.0 + x, atol=1e-9)


def test_an_uneven_60_hz_window_loses_no_frame():
    rng = np.random.default_rng(3)
    moments = [(k / 60 + rng.uniform(-1e-3, 1e-3) * (k > 0), k / 60) for k in range(121)]
    assert len(record(moments).keyframes) == 121


def test_a_rest_keeps_two_cameras_and_its_whole_time():
    moving = [(k / 60, k / 60) for k in range(31)]
    resting = [(k / 60, 0.5) for k in range(31, 300)]
    leaving = [(k / 60, 0.5 + (k - 299) / 60) for k in range(300, 331)]
    path = record(moving + resting + leaving)
    assert len(path.keyframes) == 31 + 1 + 31
    for seconds in np.linspace(30 / 60, 299 / 60, 40):
        np.testing.assert_allclose(path.camera_at(seconds, 64, 48).position[0], 3.5, atol=1e-12)
    assert path.camera_at(315 / 60, 64, 48).position[0] == pytest.approx(3.5 + 16 / 60)


@given(st.lists(st.tuples(st.floats(0.014, 0.1), st.integers(0, 3)), min_size=1, max_size=60))
def test_any_motion_keeps_its_length_its_end_and_every_rest(steps):
    seconds, moments = 0.0, []
    for step, x in steps:
        seconds += step
        moments.append((seconds, float(x)))
    path = record(moments)
    places = [x for _, x in moments]
    # What was there first was there since the start; the first and the last rest are left out.
    first = max((i for i in range(len(places)) if len(set(places[: i + 1])) == 1), default=0)
    last = min(i for i in range(len(places)) if len(set(places[i:])) == 1)
    begin, end = (moments[first][0], moments[last][0]) if first < last else (0.0, moments[-1][0])
    assert path.start == 0.0
    assert path.duration == pytest.approx(end - begin, abs=1e-9)
    for (t0, x0), (t1, x1) in itertools.pairwise(moments):
        if x0 == x1 and t1 - t0 > 0.03 and begin <= t0 and t1 <= end:
            middle = path.camera_at(0.5 * (t0 + t1) - begin, 64, 48).position[0]
            assert middle == pytest.approx(3.0 + x0, abs=1e-9)


def test_rests_at_both_ends_are_left_out():
    moments = [(k / 60, min(max(k - 60, 0), 30) / 60) for k in range(240)]
    path = record(moments)
    assert path.duration == pytest.approx(0.5)
    for seconds in np.linspace(0.0, 0.5, 31):
        np.testing.assert_allclose(path.camera_at(seconds, 64, 48).position[0], 3.0 + seconds, atol=1e-9)


def test_a_camera_that_never_moves_is_kept_as_long_as_it_was_shown():
    assert record([(k / 60, 0.0) for k in range(121)]).duration == pytest.approx(2.0)


def test_states_and_seconds():
    recorder = FlightRecorder()
    recorder.add(camera_on_a_line(0.0), 1.0)
    assert not recorder.recording
    assert recorder.seconds == 0.0
    recorder.start(5.0)
    assert recorder.recording
    with pytest.raises(ValueError, match="no camera"):
        recorder.stop()
    recorder.start(5.0)
    recorder.add(camera_on_a_line(0.0), 5.0)
    recorder.add(camera_on_a_line(0.0), 4.0)  # a clock that runs backwards is ignored
    assert recorder.seconds == 0.0
    recorder.add(camera_on_a_line(1.0), 7.5)
    assert recorder.seconds == 2.5
    assert recorder.stop().duration == 2.5
    assert not recorder.recording
    recorder.start(9.0)
    recorder.add(camera_on_a_line(4.0), 9.5)
    path = recorder.stop()
    assert path.duration == 0.5
    assert path.camera_at(0.0, 64, 48).position[0] == pytest.approx(7.0)
