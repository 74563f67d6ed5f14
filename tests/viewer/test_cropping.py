"""The crop box in the window: handles, Esc, numbers that are remembered."""

import json
import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from imgui_bundle import imgui

from kilonerf.kernels import Crop, RenderOptions, create_renderer
from kilonerf.model_io import Camera, save_scene
from kilonerf.viewer.cropping.handles import HANDLES, along_axis, edge_points, handle_places, with_face
from kilonerf.viewer.cropping.tool import CropTool, occupied_box
from kilonerf.viewer.orientation.camera_markers import projected
from kilonerf.viewer.orientation.scene_memory import SceneMemories, SceneMemory
from kilonerf.viewer.panels.recent_files import state_file
from kilonerf.viewer.rectangle import Rectangle
from kilonerf.viewer.settings import CropSettings, ViewerSettings
from support.driving import Driver
from support.scenes import nested_scene, random_scene

CAMERA = Camera.look_at((3.0, 2.0, 1.5), (0.2, 0.1, 0.0), 300, 200)
BOX = Crop((-0.5, -0.6, -0.7), (0.8, 0.9, 1.0))
AREA = Rectangle(0.0, 0.0, 300.0, 200.0)
needs_window = pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")


def test_the_mouse_on_a_handle_says_where_it_is():
    places = handle_places(BOX)
    (seen, _), numbers = projected(CAMERA, AREA, places), [BOX.min, BOX.max]
    for handle, place, (x, y) in zip(HANDLES, places, seen, strict=True):
        at = along_axis(CAMERA, x / 300.0, y / 200.0, place, handle.axis)
        assert at is not None
        assert at == pytest.approx(numbers[handle.upper][handle.axis], abs=1e-9)
        moved = place.copy()
        moved[handle.axis] += 0.3
        ((x, y),), _ = projected(CAMERA, AREA, moved)
        assert along_axis(CAMERA, x / 300.0, y / 200.0, place, handle.axis) == pytest.approx(at + 0.3, abs=1e-9)


def test_an_axis_that_points_at_the_eye_cannot_be_dragged():
    camera = Camera.look_at((0.0, 0.0, 5.0), (0.0, 0.0, 0.0), 100, 100)
    assert along_axis(camera, 0.5, 0.5, np.zeros(3), 2) is None
    assert along_axis(camera, 0.5, 0.5, np.zeros(3), 0) == pytest.approx(0.0)


def test_a_face_stays_in_the_scene_and_before_the_face_opposite():
    limits = random_scene().cells.box
    for handle in HANDLES:
        for coordinate in (-100.0, 100.0):
            crop = with_face(BOX, handle, coordinate, limits)
            assert (np.array(crop.min) < crop.max).all()
            assert handle.upper or crop.min[handle.axis] >= min(limits.min[handle.axis], BOX.min[handle.axis])
            assert not handle.upper or crop.max[handle.axis] <= max(limits.max[handle.axis], BOX.max[handle.axis])
    assert with_face(BOX, HANDLES[1], 0.25, limits) == Crop(BOX.min, (0.25, 0.9, 1.0))


def test_a_box_has_twelve_edges():
    edges = edge_points(BOX, 4)
    assert edges.shape == (12, 5, 3)
    lengths = np.linalg.norm(edges[:, -1] - edges[:, 0], axis=1)
    assert lengths.sum() == pytest.approx(4 * (1.3 + 1.5 + 1.7))


@pytest.mark.parametrize("scene", [random_scene(), nested_scene()], ids=["bounded", "nested"])
def test_the_occupied_box_holds_every_sample(scene):
    camera = Camera.look_at((4.0, 3.0, 2.0), (0.0, 0.0, 0.0), 40, 30)
    whole = create_renderer(scene, "cpu").render(camera, RenderOptions(ert=False))
    fitted = create_renderer(scene, "cpu").render(camera, RenderOptions(ert=False, crop=Crop.of(occupied_box(scene))))
    assert whole.statistics.samples > 1000
    assert whole.statistics.samples == fitted.statistics.samples


def test_what_is_remembered_of_a_crop_survives_the_file(tmp_path):
    memories = SceneMemories(tmp_path / "scenes.json")
    scene = tmp_path / "a.knf"
    memories.keep(scene, SceneMemory(crop=BOX, cropped=True))
    assert (memories.of(scene).crop, memories.of(scene).cropped) == (BOX, True)
    text = (tmp_path / "scenes.json").read_text()
    for wrong in ("null", "[]", '{"min": [1, 2], "max": [1, 2, 3]}', '{"min": [1, 2, 3], "max": [1, "x", 3]}'):
        document = json.loads(text)
        document[next(iter(document))]["crop"] = json.loads(wrong)
        (tmp_path / "scenes.json").write_text(json.dumps(document))
        assert memories.of(scene).crop is None


@pytest.mark.slow
@needs_window
def test_a_handle_is_dragged_esc_takes_it_back_and_the_crop_is_remembered(toy_scene, chair_path, tmp_path):
    path = tmp_path / "toy.knf"
    save_scene(toy_scene, path)
    with Driver(tmp_path) as driver:
        driver.app.open_scene(path)
        driver.until(lambda: driver.app.scene is not None and driver.app.settled)
        crop = driver.settings.crop
        crop.on, crop.box, driver.settings.ert = True, BOX, False
        driver.settle()
        frame = driver.app.statistics.frame
        assert frame is not None

        def place(handle) -> tuple[int, int]:
            camera, area = driver.app.view.displayed, driver.app._picture_area()
            assert camera is not None
            assert crop.box is not None
            seen, _ = projected(camera, area, handle_places(crop.box))
            x, y = np.rint(seen[HANDLES.index(handle)]).astype(int).tolist()
            return x, y

        before = driver.app.view.displayed
        top = HANDLES[5]
        x, y = place(top)
        driver.drag((x, y), (x, y + 60))
        driver.settle()
        assert driver.app.view.displayed == before  # the camera stays
        assert crop.box.min == BOX.min
        assert crop.box.max[:2] == BOX.max[:2]
        assert crop.box.max[2] < BOX.max[2] - 0.05
        fewer = driver.app.statistics.frame
        assert fewer is not None
        assert fewer.samples < frame.samples
        assert np.abs(np.subtract(place(top), (x, y + 60))).max() <= 2  # it is under the mouse

        dragged = crop.box
        x, y = place(top)
        driver.move(x, y)
        driver.xdotool("mousedown", 1)
        driver.steps(3)
        driver.move(x, y + 40)
        assert crop.box != dragged
        driver.press("Escape")
        assert crop.box == dragged
        driver.move(x, y + 80)  # still held: nothing follows
        driver.xdotool("mouseup", 1)
        driver.steps(3)
        assert crop.box == dragged
        assert driver.app.view.displayed == before

        driver.drag((30, 400), (80, 420))  # beside the handles: the camera turns
        assert driver.app.view.displayed != before
        driver.settle()
        shown = driver.app.view.shown
        assert shown is not None
        assert shown.frame is not None
        assert driver.app.scene is not None
        expected = create_renderer(driver.app.scene, "cpu").render(shown.request.camera, shown.request.shot.options)
        assert shown.request.shot.options.crop == dragged
        np.testing.assert_array_equal(shown.frame.rgb, expected.rgb)
    assert SceneMemories(state_file().with_name("scenes.json")).of(path).crop == dragged
    with Driver(tmp_path) as driver:
        driver.app.open_scene(path)
        driver.until(lambda: driver.app.scene is not None and driver.app.settled)
        assert driver.settings.crop.on
        assert driver.settings.crop.box == dragged
        driver.app.open_scene(chair_path)
        driver.until(lambda: driver.app.scene_path == chair_path and driver.app.settled)
        assert not driver.settings.crop.on  # it is the other scene's


@pytest.mark.parametrize("scene", [random_scene(), nested_scene()], ids=["bounded", "nested"])
def test_the_section_switches_resets_and_remembers(frames, places, scene):
    kept = []
    orientation: Any = SimpleNamespace(memory=SceneMemory(), remember_crop=lambda crop, *, on: kept.append((crop, on)))
    settings = ViewerSettings()
    tool = CropTool(settings, orientation)
    tool.set_scene(scene)

    def draw():
        imgui.set_next_window_size(imgui.ImVec2(400.0, 600.0))
        imgui.begin("panel")
        tool.draw_panel()
        imgui.end()

    frames.frames(draw)
    frames.click(draw, *places.at("Crop"))
    assert settings.crop == CropSettings()
    frames.click(draw, *places.at("Crop##on", 0.2))
    inner, occupied = Crop.of(scene.levels[0].box), Crop.of(occupied_box(scene))
    assert settings.crop.on
    assert settings.crop.box == (inner if scene.outer else occupied)
    frames.click(draw, *places.at("Fit to the scene"))
    assert settings.crop.box == occupied
    if scene.outer:
        frames.click(draw, *places.at("Innermost box"))
        assert settings.crop.box == inner
    frames.click(draw, *places.at("Crop##on", 0.2))
    assert not settings.crop.on
    assert kept[0] == (settings.crop.box if scene.outer else occupied, True)
    assert kept[-1] == (settings.crop.box, False)
    assert settings.render_options(scene).crop is None
    settings.crop.on = True
    assert settings.render_options(scene).crop == settings.crop.box
    other = random_scene(seed=3)
    orientation.memory = SceneMemory(crop=BOX)
    tool.set_scene(other)
    assert settings.crop == CropSettings(on=False, box=BOX)


def test_a_crop_that_was_typed_is_for_the_first_scene():
    settings = ViewerSettings(crop=CropSettings(on=True, box=BOX))
    orientation: Any = SimpleNamespace(memory=SceneMemory())
    tool = CropTool(settings, orientation)
    tool.set_scene(random_scene())
    assert settings.crop == CropSettings(on=True, box=BOX)
    tool.set_scene(random_scene(seed=3))
    assert settings.crop == CropSettings()
