"""Keys, cube, floor and cameras in the real window."""

import numpy as np
import pytest
from imgui_bundle import imgui

from kilonerf.model_io import save_scene
from kilonerf.viewer.actions import CAMERAS, GROUND
from support.photo_sets import ellipsoid_photo, ring, write_blender


def control(driver, key):
    driver.xdotool("keydown", "ctrl")
    driver.steps(3)
    driver.press(key)
    driver.xdotool("keyup", "ctrl")
    driver.steps(3)


def moved_away(driver):
    driver.app.navigator.drag(0.3, 0.1)
    driver.settle()
    return driver.app.navigator.matrix()


@pytest.mark.slow
def test_bookmarks_are_set_gone_to_and_remembered(driver, toy_scene, tmp_path):
    app, start = driver.app, driver.app.navigator.matrix()
    save_scene(toy_scene, tmp_path / "toy.knf")
    app.open_scene(tmp_path / "toy.knf")
    driver.until(lambda: app.scene_path == tmp_path / "toy.knf" and app.settled)
    driver.move(200, 200)
    control(driver, "1")
    away = moved_away(driver)
    control(driver, "2")
    for key, view in (("1", start), ("2", away), ("z", start), ("z", away)):
        driver.press(key)
        driver.settle()
        np.testing.assert_allclose(app.navigator.matrix(), view, atol=1e-6)
    app.open_scene(tmp_path / "toy.knf")  # again: from the file
    driver.until(lambda: app.settled and not app.orientation.memory.bookmarks.get(3))
    assert sorted(app.orientation.memory.bookmarks) == [1, 2]


@pytest.mark.slow
def test_a_view_is_copied_and_pasted(driver):
    driver.move(200, 200)
    control(driver, "c")
    start = driver.app.navigator.matrix()
    moved_away(driver)
    control(driver, "v")
    driver.settle()
    np.testing.assert_allclose(driver.app.navigator.matrix(), start, atol=1e-9)
    imgui.set_clipboard_text("nonsense")
    control(driver, "v")
    assert "Cannot paste" in driver.app.notices.log[-1].text


def test_a_click_on_the_cube_looks_along_an_axis(driver):
    driver.settings.show_cube = True
    driver.steps(3)
    area = driver.app._picture_area()
    em = 16.0
    size = 5.2 * em
    middle = area.x + area.width - 0.4 * em - 0.5 * size, area.y + 0.4 * em + 0.5 * size
    driver.click(round(middle[0]), round(middle[1]))
    driver.settle()
    forward = -driver.app.navigator.matrix()[:3, 2]
    assert np.abs(forward).max() == pytest.approx(1.0)
    assert driver.app.navigator.mode == "orbit"


def test_three_clicks_make_the_floor_level(driver):
    app = driver.app
    app.orientation.toggle_floor()
    area = app._picture_area()
    spots = []
    for y in np.linspace(0.25, 0.75, 11):  # where something is seen
        for x in np.linspace(0.25, 0.75, 11):
            place = round(area.x + x * area.width), round(area.y + y * area.height)
            hit = app.view.pick((place[0] - area.x) / area.width, (place[1] - area.y) / area.height)
            if hit is not None:
                spots.append((place, hit[0]))
    first, second, third = spots[0], spots[len(spots) // 2], spots[-1]
    before = app.navigator.matrix()
    for count, (place, _) in enumerate((first, second, third)):
        assert len(app.orientation.floor_points or ()) == count, app.orientation.hint
        driver.click(*place)
    driver.settle()
    assert app.orientation.floor_points is None
    up = app.navigator.up
    for _, point in (second, third):
        assert abs((point - first[1]) @ up) < 0.1 * np.linalg.norm(point - first[1])
    after = app.navigator.matrix()
    np.testing.assert_allclose(after[:3, 2:], before[:3, 2:], atol=1e-6)
    assert after[:3, 0] @ up == pytest.approx(0.0, abs=1e-6)


def test_a_dropped_data_set_shows_its_cameras_and_keys_go_through_them(driver, tmp_path):
    cameras = ring(4)
    write_blender(tmp_path, cameras, lambda camera: ellipsoid_photo(camera, np.zeros(3), np.array([0.5, 0.5, 0.5])))
    app = driver.app
    driver.drop_files(tmp_path)
    driver.until(lambda: app.orientation.photos.folder == tmp_path)
    driver.steps(3)
    assert imgui.is_popup_open("", imgui.PopupFlags_.any_popup.value)  # it is offered to be trained as well
    driver.press("Escape")
    assert app.settings.overlays.cameras
    driver.move(200, 200)
    for key, expected in (("period", 0), ("period", 1), ("comma", 0), ("comma", 3)):
        driver.press(key)
        driver.settle()
        np.testing.assert_allclose(app.navigator.matrix(), cameras[expected].matrix, atol=1e-6)
        assert app.navigator.fov == pytest.approx(cameras[expected].fov_y)
    app.navigator.wheel(-12, None)
    driver.settle()
    with_cameras = driver.picture()
    driver.press("v")
    driver.settle()
    assert not app.settings.overlays.cameras
    assert np.abs(with_cameras - driver.picture()).max() > 60


def test_the_ground_is_shown_by_its_key(driver):
    driver.move(200, 200)
    before = driver.picture()
    driver.press("g")
    driver.settle()
    assert driver.settings.overlays.ground
    assert driver.settings.overlays.axes
    assert np.abs(before - driver.picture()).max() > 40
    assert (CAMERAS.first_key, GROUND.first_key) == ("V", "G")
