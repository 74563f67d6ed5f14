"""Editing a camera path: keys, times, undo, presets, what is kept from run to run."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kilonerf.model_io import Camera, CameraPath
from kilonerf.viewer.camera_path.autosave import INTERVAL, Autosave
from kilonerf.viewer.camera_path.editor import SECTION_SECONDS, PathEditor, roll_of
from kilonerf.viewer.camera_path.path_lines import Pen
from kilonerf.viewer.camera_path.presets import PRESETS
from kilonerf.viewer.rectangle import Rectangle


def view(x, y=-4.0, z=1.0):
    return Camera.look_at((x, y, z), (0.0, 0.0, 0.0), 100, 100)


@pytest.fixture
def editor():
    editor = PathEditor()
    for x in (0.0, 1.0, 4.0, 5.0, 9.0):
        editor.add(view(x))
    return editor


def test_five_keys_make_ten_seconds_of_even_speed(editor):
    assert editor.duration == 4 * SECTION_SECONDS == 10.0
    positions = editor.path.poses(np.linspace(0.0, 10.0, 301)).positions
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    assert steps.max() / steps.min() < 1.02
    assert (editor.selected, editor.playhead) == (4, 10.0)


def test_a_key_is_inserted_at_the_playhead(editor):
    editor.seek(4.0)
    editor.insert(view(3.0))
    assert len(editor.keys) == 6
    assert editor.duration == 10.0
    assert editor.keys[editor.selected].c2w == view(3.0).c2w
    assert editor.times[editor.selected] == editor.playhead


def test_the_selected_key_is_overwritten_duplicated_and_deleted(editor):
    editor.select(2)
    time = editor.times[2]
    editor.overwrite(view(2.0, -6.0))
    assert editor.keys[2].c2w == view(2.0, -6.0).c2w
    time = editor.times[2]
    editor.duplicate()
    assert (len(editor.keys), editor.selected) == (6, 3)
    assert editor.keys[2].c2w == editor.keys[3].c2w
    assert editor.times[2] == pytest.approx(time)
    resting = 0.5 * (editor.times[2] + editor.times[3])
    np.testing.assert_allclose(editor.path.camera_at(resting, 8, 8).matrix, np.array(editor.keys[2].c2w), atol=1e-9)
    editor.delete()
    assert len(editor.keys) == 5
    for _ in range(5):
        editor.delete()
    assert (editor.path, editor.selected, editor.duration) == (None, None, 0.0)


def test_the_first_key_that_goes_leaves_a_path_that_begins_at_zero(editor):
    editor.select(0)
    editor.delete()
    assert editor.times[0] == 0.0


def test_a_moved_key_keeps_its_time_and_its_place_in_the_order(editor):
    editor.select(2)
    editor.move(5.0)
    assert editor.times[2] == pytest.approx(5.0)
    assert editor.keys[2].timed
    editor.select(1)
    editor.move(7.0)
    assert editor.times[1] < editor.times[2] == pytest.approx(5.0)
    editor.select(2)
    editor.set_timed(False)
    assert not editor.keys[2].timed
    editor.select(4)
    editor.move(20.0)
    assert editor.duration == 20.0


def test_a_drag_is_one_step_of_undo_and_a_click_none(editor):
    before = editor.path
    editor.select(2)
    editor.begin_gesture()
    for seconds in (4.0, 4.5, 5.0):
        editor.move(seconds)
    editor.end_gesture()
    editor.begin_gesture()
    editor.end_gesture()
    after = editor.path
    editor.undo()
    assert editor.path == before
    editor.redo()
    assert editor.path == after
    for _ in range(10):
        editor.undo()
    assert editor.path is None
    assert not editor.can_undo


def test_a_path_that_comes_back_with_its_scene_cannot_be_undone(editor):
    path = editor.path
    editor.reset(path)
    assert (editor.path, editor.can_undo, editor.selected, editor.playhead) == (path, False, None, 0.0)
    editor.reset(None)
    assert editor.keys == ()


def test_length_loop_and_speed_of_the_whole_path(editor):
    editor.select(1)
    editor.set_duration(5.0)
    assert editor.duration == 5.0
    editor.set_closed(True)
    assert editor.path.closed
    assert editor.duration > 5.0
    even = editor.times
    editor.set_even(False)
    assert editor.times == pytest.approx(even)
    assert editor.path.speed == "keys"
    editor.set_closed(False)
    assert editor.duration == pytest.approx(editor.times[-1])


def test_lens_and_roll_of_a_key(editor):
    editor.select(1)
    editor.set_lens(1.0)
    editor.roll(0.25)
    assert editor.keys[1].fov_y == 1.0
    assert roll_of(editor.keys[1]) == pytest.approx(0.25)
    assert roll_of(editor.keys[0]) == pytest.approx(0.0)


def test_playing_goes_to_the_end_or_round(editor):
    editor.toggle_playing()  # from the end: from the start
    editor.advance(4.0)
    assert (editor.playing, editor.playhead) == (True, 4.0)
    editor.advance(7.0)
    assert (editor.playing, editor.playhead) == (False, 10.0)
    editor.set_closed(True)
    editor.toggle_playing()
    editor.advance(editor.duration)
    assert editor.playing
    assert editor.playhead == pytest.approx(10.0)  # once round, from where it was
    editor.step_key(-1)
    assert not editor.playing
    assert editor.playhead == editor.times[editor.selected] < 10.0


def test_presets_pass_the_view_that_they_began_with():
    target = np.zeros(3)
    for name, preset in PRESETS.items():
        path = preset(view(3.0), target)
        distances = np.linalg.norm(path.poses(np.linspace(0.0, path.duration, 200)).positions - target, axis=1)
        start = np.linalg.norm(view(3.0).position)
        if name == "Push in":
            assert distances[-1] == pytest.approx(0.5 * start)
        else:
            assert distances.min() > 0.94 * start, name
        assert any(np.allclose(key.c2w, view(3.0).c2w) for key in path.keyframes), name
    assert PRESETS["Orbit"](view(3.0), target).closed


def test_a_path_survives_kill_9_and_belongs_to_its_scene(tmp_path):
    scene, other = tmp_path / "a.knf", tmp_path / "b.knf"
    editor, store = PathEditor(), Autosave(tmp_path / "state")
    assert store.open(scene, editor.revision) is None
    editor.add(view(1.0))
    store.keep(editor.path, editor.revision, 100.0)
    editor.add(view(2.0))
    store.keep(editor.path, editor.revision, 100.0 + 0.5 * INTERVAL)  # too soon
    left = Autosave(tmp_path / "state").open(scene, 0)  # as a new process finds it
    assert left is not None
    assert len(left.keyframes) == 1
    store.keep(editor.path, editor.revision, 100.0 + INTERVAL)
    assert Autosave(tmp_path / "state").open(scene, 0) == editor.path
    assert INTERVAL <= 0.5  # with a frame of the window each half second at rest: a second at most
    assert Autosave(tmp_path / "state").open(other, 0) is None
    editor.load(None)
    store.flush(editor.path, editor.revision)
    assert Autosave(tmp_path / "state").open(scene, 0) is None


def test_a_state_folder_that_cannot_be_written_is_passed_over(tmp_path):
    (tmp_path / "file").touch()
    store = Autosave(tmp_path / "file")
    assert store.open(tmp_path / "a.knf", 0) is None
    store.flush(CameraPath.from_cameras([0.0], [view(1.0)]), 1)


def test_a_turned_up_orbit_stays_below_the_pole():
    path = PRESETS["Rising orbit"](view(0.1, -0.5, 4.0), np.zeros(3))
    positions = path.poses(path.key_times()).positions
    heights = np.arcsin(positions[:, 2] / np.linalg.norm(positions, axis=1))
    assert heights.max() < math.radians(85.5)


def test_lines_behind_the_scene_are_known_by_its_depth():
    camera = Camera.look_at((0.0, -4.0, 0.0), (0.0, 0.0, 0.0), 20, 20)
    depth, alpha = np.full((20, 20), 4.0, np.float32), np.ones((20, 20), np.float32)
    alpha[:, :10] = 0.0  # nothing on the left
    frame = SimpleNamespace(depth=depth, alpha=alpha, resident=None)
    shown: Any = SimpleNamespace(frame=frame, request=SimpleNamespace(camera=camera))
    nothing: Any = None
    pen = Pen(nothing, Rectangle(0.0, 0.0, 100.0, 100.0), camera, 0.01, shown)
    points = np.array([[0.3, 1.0, 0.0], [0.3, -1.0, 0.0], [-0.3, 1.0, 0.0], [0.3, -9.0, 0.0]])
    assert pen.hidden(points).tolist() == [True, False, False, False]
    frame.resident = object()  # on a GPU: not worth a copy of every picture
    assert not Pen(nothing, Rectangle(0.0, 0.0, 1.0, 1.0), camera, 0.01, shown).hidden(points).any()


def test_a_line_through_the_eye_s_plane_is_cut_off_in_front_of_it():
    camera = Camera.look_at((0.0, -4.0, 0.0), (0.0, 0.0, 0.0), 20, 20)
    nothing: Any = None
    pen = Pen(nothing, Rectangle(0.0, 0.0, 100.0, 100.0), camera, 0.01, None)
    ends = pen.ends(np.array([[0.5, 0.0, 0.0], [0.5, -8.0, 0.0], [0.5, -9.0, 0.0]]))
    assert len(ends) == 1
    assert all(np.isfinite([a.x, a.y, b.x, b.y]).all() for _, a, b in ends)
    assert ends[0][1].x == pytest.approx(50.0 + 100.0 * 0.5 / 4.0 * camera.fx / 20.0, abs=0.1)
