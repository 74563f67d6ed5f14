"""How often the window is redrawn; the test is the clock."""

from kilonerf.viewer.notices import Notices
from kilonerf.viewer.pacing import (
    AWAKE_SECONDS,
    BUSY_INTERVAL,
    IDLE_INTERVAL,
    INTERACTIVE_INTERVAL,
    LONGEST_STEP,
    SOFTWARE_INTERVAL,
    Pacing,
)


def test_at_rest_the_window_sleeps_and_an_event_wakes_it_for_a_while():
    pacing = Pacing(10.0, software=False)
    assert pacing.next_frame_times(recording=False, busy=False) == (10.0 + INTERACTIVE_INTERVAL, 10.0 + IDLE_INTERVAL)
    assert pacing.next_frame_times(recording=False, busy=True)[1] == 10.0 + BUSY_INTERVAL
    assert pacing.next_frame_times(recording=True, busy=False)[1] == 10.0 + INTERACTIVE_INTERVAL
    pacing.begin_frame(11.0, event=True)
    assert pacing.next_frame_times(recording=False, busy=False)[1] == 11.0 + INTERACTIVE_INTERVAL
    pacing.begin_frame(11.0 + AWAKE_SECONDS, event=False)
    assert pacing.next_frame_times(recording=False, busy=False)[1] == 11.0 + AWAKE_SECONDS + IDLE_INTERVAL


def test_held_keys_count_from_the_first_frame_of_a_motion_and_never_for_a_stall():
    pacing = Pacing(0.0, software=True)
    assert pacing.begin_frame(5.0, event=True) == SOFTWARE_INTERVAL  # it rested until now
    pacing.resting = False
    assert abs(pacing.begin_frame(5.02, event=False) - 0.02) < 1e-9
    assert pacing.begin_frame(9.0, event=False) == LONGEST_STEP
    assert pacing.now == 9.0


def test_dismissed_messages_leave_the_picture_and_stay_in_the_list():
    notices = Notices()
    notices.add("one", "error", 10.0)
    assert [notice.text for notice in notices.shown(11.0)] == ["one"]
    notices.dismiss()
    assert notices.shown(11.0) == []
    notices.add("two", "info", 11.0)
    assert [notice.text for notice in notices.log] == ["one", "two"]
    assert [notice.text for notice in notices.shown(11.5)] == ["two"]
