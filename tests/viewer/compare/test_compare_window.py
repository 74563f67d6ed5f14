"""Comparing in the real window, under Xvfb."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.model_io import BackendError, save_scene
from kilonerf.viewer.compare.photo_side import nearest_photo
from kilonerf.viewer.drawing.overlays import OverlayOptions
from kilonerf.viewer.rendering.worker import RenderRequest
from kilonerf.viewer.settings import ViewerSettings
from support.driving import Driver
from support.gated_renderer import GatedRenderer
from support.photo_sets import ellipsoid_photo, ring, write_blender
from support.scenes import random_scene

pytestmark = pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")


def sides(driver):
    comparison = driver.app.compare.comparison
    assert comparison.together
    assert comparison.first is not None
    assert comparison.second is not None
    return comparison.first, comparison.second


def rendered(driver, scene, **options):
    camera = driver.app.view.shown.request.camera
    return (
        create_renderer(scene, "auto").render(camera, RenderOptions(background=scene.background, **options)).to_rgb8()
    )


def test_the_right_of_the_divider_is_the_other_picture_bit_for_bit(driver, toy_scene):
    driver.press("b")
    driver.settle()
    assert driver.settings.compare.against == "ess"
    first, second = sides(driver)
    assert first.request.camera == second.request.camera
    picture = driver.picture()
    middle, rows = picture.shape[1] // 2, slice(200, 330)  # between the labels and the grip
    for ess, columns in ((True, slice(100, middle - 8)), (False, slice(middle + 8, 2 * middle - 100))):
        expected = rendered(driver, toy_scene, ess=ess)[rows, columns]
        assert np.abs(picture[rows, columns] - expected).max() <= 1.0
    assert np.abs(rendered(driver, toy_scene, ess=False).astype(int) - rendered(driver, toy_scene)).max() > 8
    driver.press("b")
    driver.settle()
    assert np.abs(driver.picture()[rows, 100:500] - rendered(driver, toy_scene)[rows, 100:500]).max() <= 1.0


@pytest.mark.slow
def test_the_divider_is_dragged_and_the_camera_stays(driver):
    driver.press("b")
    driver.settle()
    before, width = driver.app.navigator.matrix(), driver.app.view.shown.request.camera.width
    driver.drag((width // 2, 500), (width // 4, 500))
    assert driver.settings.compare.divider == pytest.approx(0.25, abs=0.01)
    assert np.array_equal(driver.app.navigator.matrix(), before)
    driver.press("x")
    assert driver.settings.compare.divider == 0.0
    driver.press("x")
    assert driver.settings.compare.divider == 1.0


@pytest.mark.slow
def test_in_motion_both_sides_are_of_one_camera(toy_scene, tmp_path):
    """Whatever is on the screen while the camera turns: never a side of an older camera beside a newer one."""
    settings = ViewerSettings(target_fps=2.0)  # which both reach on any machine
    settings.compare.against = "ert"
    with Driver(tmp_path, toy_scene, settings=settings, make_renderer=GatedRenderer) as driver:
        pairs = set()

        def five_pairs():
            comparison, shown = driver.app.compare.comparison, driver.app.view.shown
            if comparison.together and comparison.second is not None and shown is not None:
                assert comparison.second.request.shot.camera == shown.request.shot.camera
                assert comparison.second.request.camera == shown.request.camera
                pairs.add(shown)
            return len(pairs) >= 5

        driver.app.navigator.set_turntable(True)
        driver.until(five_pairs)
        driver.app.navigator.set_turntable(False)
        driver.settle()
        assert sides(driver)[1].request.scale == 1.0


def test_a_picture_waits_for_its_other_side_unless_the_camera_rests(toy_scene, tmp_path):
    settings = ViewerSettings(target_fps=2.0)
    settings.compare.against = "ert"
    with Driver(tmp_path, toy_scene, settings=settings, make_renderer=GatedRenderer) as driver:
        comparison, (shown, _) = driver.app.compare.comparison, sides(driver)
        for seconds, waits in (
            (1.0, False),
            (0.001, True),
        ):  # it was made so quickly that the window asked for no newer
            matrix = shown.request.camera.matrix.copy()
            matrix[0, 3] += 0.01 * seconds
            camera = shown.request.camera.moved(matrix)
            request = RenderRequest(replace(shown.request.shot, camera=camera), 1.0, camera)
            comparison.go_on(driver.app.now)
            assert not comparison.holds(request.shot)
            comparison.go_on(driver.app.now + seconds)
            result = replace(shown, request=request)
            assert comparison.take(result) is (None if waits else result)
            assert comparison.holds(request.shot) is waits


@pytest.mark.slow
def test_a_slow_other_side_neither_stops_the_window_nor_makes_it_coarse(toy_scene, tmp_path):
    """The other side takes a second; while the camera moves the window goes on without it."""

    made = {}

    def make(scene, backend):
        slow = backend.name == "reference"
        made[backend.name] = GatedRenderer(scene, backend, seconds=1.0 if slow else 0.0)
        return made[backend.name]

    settings = ViewerSettings()
    settings.compare.against = "backend"
    with Driver(tmp_path, toy_scene, settings=settings, make_renderer=make) as driver:
        assert sides(driver)[1].milliseconds >= 1000.0
        driver.app.navigator.set_turntable(True)
        shown, tried = set(), len(made["reference"].started)
        driver.until(lambda: shown.add(driver.app.view.shown) or len(shown) > 5)
        assert len(made["reference"].started) == tried
        assert not driver.app.compare.comparison.together
        assert driver.app.picture.scheduler.resolution.scale > 0.5
        driver.app.navigator.set_turntable(False)
        driver.settle()
        sides(driver)


def test_a_difference_is_shown_and_saved(driver, tmp_path):
    driver.settings.compare.against = "ess"
    driver.settings.compare.difference, driver.settings.compare.divider = True, 0.0
    driver.settle()
    difference = driver.app.compare.comparison.difference
    assert difference is not None
    assert 5.0 < difference.psnr < 60.0
    picture = driver.picture()[200:330]
    expected = np.clip(255.0 * difference.colors(driver.settings.compare.gain)[200:330], 0, 255)
    assert np.abs(picture[:, 100:500] - expected[:, 100:500]).max() <= 1.0
    driver.press("F12")
    driver.until(lambda: (tmp_path / "screenshot_001.png").is_file())
    with Image.open(tmp_path / "screenshot_001.png") as image:
        saved = np.asarray(image)
    assert np.abs(saved[200:330, 100:500] - expected[:, 100:500]).max() <= 1.0


@pytest.mark.slow
def test_one_renderer_serves_both_sides_and_equal_pictures_are_identical(toy_scene, tmp_path):
    made = []

    def make(scene, backend):
        made.append(backend)
        return create_renderer(scene, backend)

    with Driver(tmp_path, toy_scene, make_renderer=make) as driver:
        driver.settings.ert_threshold = 0.0  # which ends no ray: ERT on and off are the same
        driver.settings.compare.against = "ert"
        driver.settle()
        difference = driver.app.compare.comparison.difference
        assert difference is not None
        assert difference.identical
        assert len(made) == 1
        driver.settings.compare.against, driver.settings.compare.path = "path", "baseline"
        driver.settle()
        assert [choice.cpu_path for choice in made] == ["auto", "baseline"]


def test_another_scene_is_read_and_compared(driver, tmp_path):
    save_scene(random_scene(seed=5), tmp_path / "other.knf")
    driver.settings.compare.scene = tmp_path / "other.knf"
    driver.settings.compare.against = "scene"
    driver.settle()
    first, second = sides(driver)
    assert first.request.shot.scene is not second.request.shot.scene
    assert not driver.app.compare.comparison.difference.identical


def test_what_cannot_be_compared_is_said_and_switched_off(driver, tmp_path):
    for against in ("scene", "photo"):
        driver.settings.compare.scene = tmp_path / "missing.knf"
        driver.settings.compare.against = against
        driver.settle()
        assert driver.settings.compare.against == "off"
        assert "Cannot compare" in driver.app.notices.log[-1].text
        assert driver.app.compare.comparison.gave_up


@pytest.mark.slow
def test_fog_is_explained_where_ess_is_off(driver, monkeypatch):
    from kilonerf.viewer.compare import interface

    said = []
    monkeypatch.setattr(interface, "_label", lambda area, x, align, title, lines: said.append((align, title, lines)))
    driver.steps(2)
    assert said == []
    driver.settings.ess = False
    driver.settle()
    assert said[-1] == (0.5, "ESS off", [interface.FOG])
    driver.settings.compare.against = "ess"
    driver.settle()
    assert [interface.FOG in lines for _, _, lines in said[-2:]] == [True, False]  # the window's own side is the fog


@pytest.mark.slow
def test_the_photo_is_gone_to_and_compared_where_it_was_taken(driver, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    size = np.array([0.5, 0.5, 0.5])
    write_blender(folder, ring(4, 160, 160), lambda camera: ellipsoid_photo(camera, np.zeros(3), size))
    driver.app.orientation.open_data(folder)
    driver.settings.overlays = OverlayOptions()
    driver.settings.compare.against = "photo"
    driver.settle()
    comparison, photos = driver.app.compare.comparison, driver.app.orientation.photos.all
    shown = driver.app.view.shown.request.camera
    found = nearest_photo(photos, shown)
    assert found is not None
    assert found[1] < 1e-6
    assert comparison.photo_name == photos[found[0]].name
    difference = comparison.difference
    assert difference is not None
    assert difference.pixels < shown.width * shown.height  # a square photo in a wide or tall window
    second = sides(driver)[1].frame.rgb
    red = (second[..., 0] > 0.5) & (second[..., 1] < 0.3)
    assert 0.02 < red.mean() < 0.5
    driver.drag((250, 300), (400, 340))  # away from it: nothing beside a newer picture
    driver.settle()
    assert not comparison.together
    driver.press("period")
    driver.settle()
    assert comparison.together


def test_a_renderer_that_fails_is_not_waited_for(toy_scene, tmp_path):
    def broken(camera, options):
        if camera.position[0] != start:
            raise BackendError("the backend broke")

    start = toy_scene.start_camera.position[0]
    settings = ViewerSettings()
    settings.compare.against = "ess"
    with Driver(
        tmp_path, toy_scene, settings=settings, make_renderer=lambda *of: GatedRenderer(*of, on_render=broken)
    ) as driver:
        sides(driver)
        driver.drag((250, 300), (400, 340))
        driver.settle()  # although the other side of the newest picture never comes
        assert any("the backend broke" in notice.text for notice in driver.app.notices.log)


@pytest.mark.slow
def test_pictures_of_one_sample_are_compared_also_where_the_view_had_more(driver, toy_scene):
    driver.settings.rest_samples = 4
    driver.until(lambda: driver.app.view.shown.request.samples == 4)
    driver.press("b")
    driver.settle()
    first, second = sides(driver)
    assert driver.app.view.shown.request.samples == first.request.samples == second.request.samples == 1
    assert np.array_equal(driver.app.view.shown.frame.rgb, first.frame.rgb)
    assert driver.app.compare.comparison.difference is not None
    driver.press("b")
    driver.until(lambda: driver.app.view.shown.request.samples == 4)
