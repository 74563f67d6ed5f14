"""Views as text, and what is remembered of scenes."""

import json
import math

import numpy as np
import pytest

from kilonerf.model_io import Camera, KiloNeRFError
from kilonerf.viewer.camera.frames import plane_normal, roll_of, rolled, rotation_to
from kilonerf.viewer.camera.navigator import Navigator
from kilonerf.viewer.camera.place import Place
from kilonerf.viewer.orientation.scene_memory import SceneMemories, SceneMemory
from kilonerf.viewer.orientation.view_text import parse_view, view_text


def some_place(roll=0.3):
    camera = Camera.look_at((3.0, -1.0, 2.0), (0.2, 0.1, 0.4), 64, 48)
    return Place(rolled(camera.matrix, roll), 0.8123, 2.5)


def test_a_copied_view_comes_back_bit_for_bit():
    place = some_place()
    back = parse_view(view_text(place), 1.0)
    np.testing.assert_array_equal(back.matrix, place.matrix)
    assert (back.fov, back.distance) == (place.fov, place.distance)


def test_views_of_other_files_are_taken_too():
    matrix = some_place().matrix
    frame = json.dumps({"file_path": "a.png", "transform_matrix": matrix.tolist()})
    np.testing.assert_array_equal(parse_view(frame, 0.7).matrix, matrix)
    assert parse_view(frame, 0.7).fov == 0.7
    assert parse_view(json.dumps({"c2w": matrix[:3].tolist(), "fov_y": 0.5}), 0.7).fov == 0.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        '{"c2w": 3}',
        '{"c2w": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, "x", 0]]}',
        '{"c2w": [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]]}',
        '{"c2w": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0]]}',
        '{"c2w": [[1, 0, 0, NaN], [0, 1, 0, 0], [0, 0, 1, 0]]}',
        '{"c2w": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "fov_y": 4.0}',
        '{"c2w": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "distance": 0}',
    ],
)
def test_what_is_no_view_is_refused_in_one_line(text):
    with pytest.raises(KiloNeRFError, match=r"^view: expected") as error:
        parse_view(text, 0.7)
    assert "\n" not in str(error.value)


def test_scenes_are_remembered_from_run_to_run(tmp_path):
    file, scene = tmp_path / "state" / "scenes.json", tmp_path / "a.knf"
    memory = SceneMemory({3: some_place()}, (0.0, 0.6, 0.8), -1.5)
    SceneMemories(file).keep(scene, memory)
    SceneMemories(file).keep(tmp_path / "b.knf", SceneMemory())
    back = SceneMemories(file).of(scene)
    assert (back.up, back.ground) == (memory.up, memory.ground)
    np.testing.assert_array_equal(back.bookmarks[3].matrix, memory.bookmarks[3].matrix)
    assert SceneMemories(file).of(tmp_path / "c.knf").bookmarks == {}


@pytest.mark.parametrize("content", ["", "[]", '{"%s": 7}', '{"%s": {"bookmarks": {"x": 1, "1": 2}, "up": [0, 0]}}'])
def test_a_spoilt_memory_is_passed_over(tmp_path, content):
    scene, file = tmp_path / "a.knf", tmp_path / "scenes.json"
    file.write_text(content.replace("%s", str(scene)))
    memory = SceneMemories(file).of(scene)
    assert (memory.bookmarks, memory.up, memory.ground) == ({}, (0.0, 0.0, 1.0), None)


@pytest.mark.parametrize("up", [(0, 0, 1), (0, 0, -2), (1, 2, 3), (0.3, -0.9, -0.1)])
def test_the_rotation_to_up_is_one(up):
    rotation = rotation_to(up)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(rotation[:, 2], np.array(up) / np.linalg.norm(up), atol=1e-12)


def test_three_points_give_the_side_of_the_camera():
    points = [(0, 0, 1), (1, 0, 1), (0, 2, 1)]
    for place, expected in (((0, 0, 5), (0, 0, 1)), ((0, 0, 0), (0, 0, -1))):
        normal = plane_normal(points, place)
        assert normal is not None
        np.testing.assert_allclose(normal, expected)
    assert plane_normal([(0, 0, 0), (1, 1, 1), (2, 2, 2.0000001)], (0, 0, 5)) is None
    assert plane_normal([(0, 0, 0), (0, 0, 0), (2, 2, 2)], (0, 0, 5)) is None


@pytest.fixture
def navigator(toy_scene):
    navigator = Navigator()
    navigator.set_scene(toy_scene)
    return navigator


def test_going_to_a_view_shows_exactly_that_view_with_its_roll(navigator):
    place = some_place(roll=-0.4)
    assert roll_of(place.matrix[:3, :3]) == pytest.approx(-0.4)
    navigator.go_to(place)
    assert navigator.moving_by_itself
    for _ in range(60):
        navigator.advance(1 / 60)
    np.testing.assert_allclose(navigator.matrix(), place.matrix, atol=1e-9)
    assert navigator.fov == place.fov
    np.testing.assert_allclose(navigator.target, place.matrix[:3, 3] - 2.5 * place.matrix[:3, 2], atol=1e-9)


def test_each_jump_can_be_taken_back(navigator):
    views = [navigator.matrix()]
    navigator.go_to(some_place(), 0.0)
    views.append(navigator.matrix())
    navigator.focus((0.1, 0.2, 0.3), 0.0)
    views.append(navigator.matrix())
    navigator.look_along((0.0, 0.0, -1.0), 0.0)
    navigator.reset(0.0)
    assert navigator.back(0.0)
    for view in reversed(views):
        assert navigator.back(0.0)
        np.testing.assert_allclose(navigator.matrix(), view, atol=1e-9)
    assert not navigator.back(0.0)


def test_another_up_keeps_the_eye_and_levels_the_picture(navigator):
    before = navigator.matrix()
    up = np.array([0.1, -0.2, 0.97])
    navigator.set_up(up, 0.0)
    navigator.advance(0.0)
    after = navigator.matrix()
    np.testing.assert_allclose(after[:3, 2:], before[:3, 2:], atol=1e-9)
    assert after[:3, 0] @ up == pytest.approx(0.0, abs=1e-9)  # the horizon is level
    navigator.drag(0.3, 0.1)
    assert navigator.matrix()[:3, 0] @ up == pytest.approx(0.0, abs=1e-9)
    height = navigator.matrix()[:3, 3] @ up
    navigator.set_turntable(True)
    navigator.advance(3.0)
    assert navigator.matrix()[:3, 3] @ up == pytest.approx(height)


@pytest.mark.parametrize("roll", [0.0, 0.9])
def test_what_is_panned_follows_the_cursor_also_when_rolled(navigator, roll):
    navigator.roll = roll
    point = navigator.target
    navigator.pan(0.2, 0.1, None)
    local = np.linalg.inv(navigator.matrix()) @ [*point, 1.0]
    height = -2.0 * local[2] * math.tan(0.5 * navigator.fov)
    assert (local[0] / height, -local[1] / height) == pytest.approx((0.2, 0.1))
