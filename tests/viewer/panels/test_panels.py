from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imgui_bundle import imgui

from kilonerf.kernels import PER_RAY, PICTURE, BackendChoice, Frame, FrameStatistics, RenderOptions
from kilonerf.model_io import Camera
from kilonerf.viewer import theme
from kilonerf.viewer.camera.navigator import Navigator
from kilonerf.viewer.drawing.overlays import OverlayOptions
from kilonerf.viewer.inspection.detail import LevelOfDetail
from kilonerf.viewer.live_statistics import LiveStatistics
from kilonerf.viewer.notices import Notices
from kilonerf.viewer.panels import FileBrowser, HelpOverlay, SidePanel, statistics_panel
from kilonerf.viewer.panels.file_browser import list_folder
from kilonerf.viewer.panels.recording_panel import duration
from kilonerf.viewer.panels.widgets import thousands
from kilonerf.viewer.recording.recording import Recording
from kilonerf.viewer.rendering.resolution import Shot
from kilonerf.viewer.rendering.worker import RenderRequest, RenderResult
from kilonerf.viewer.scene_loading import SceneLoader
from kilonerf.viewer.settings import VideoSettings, ViewerSettings
from support.imgui_frames import open_sections


class Calls:
    """A substitute for the program: remembers what panels asked for."""

    def __init__(self):
        self.made = []

    def __getattr__(self, name):
        return lambda *arguments: self.made.append(name)


class Panel:
    def __init__(self, frames, places, scene):
        theme.apply(1.0)
        open_sections()
        self.frames, self.places, self.scene = frames, places, scene
        self.settings, self.navigator, self.statistics = ViewerSettings(), Navigator(), LiveStatistics()
        self.navigator.set_scene(scene)
        self.calls: Any = Calls()
        self.calls.detail = LevelOfDetail(SceneLoader())
        self.notices = Notices()
        self.recording = Recording(self.settings, Path(), self.notices)
        self.panel = SidePanel(self.settings, self.navigator, self.statistics, self.recording, self.notices, self.calls)
        frames.frames(self.draw)

    def draw(self):
        self.panel.draw(self.scene, Path("folder/toy.knf"), None, None, 0.0)

    def click(self, label, x=0.5):
        self.frames.frames(self.draw)
        self.frames.click(self.draw, *self.places.at(label, x))


@pytest.fixture
def panel(frames, places, toy_scene):
    return Panel(frames, places, toy_scene)


def test_drawing_alone_changes_nothing(panel, frames):
    before = panel.navigator.camera(64, 48)
    frames.frames(panel.draw, 10)
    assert panel.settings == ViewerSettings()
    assert panel.navigator.camera(64, 48) == before
    assert panel.calls.made == []


@pytest.mark.parametrize(("label", "name"), [("ESS", "ess"), ("ERT", "ert")])
def test_switches_reach_the_render_options(panel, toy_scene, label, name):
    assert getattr(panel.settings.render_options(toy_scene), name)
    panel.click(label, x=0.2)
    assert not getattr(panel.settings.render_options(toy_scene), name)
    panel.click(label, x=0.2)
    assert getattr(panel.settings.render_options(toy_scene), name)


@pytest.mark.parametrize(
    ("label", "name"), [("Box", "box"), ("Networks", "network_grid"), ("Occupancy", "occupancy_grid")]
)
def test_overlays_are_switched_one_by_one(panel, label, name):
    panel.click(label, x=0.2)
    assert panel.settings.overlays == OverlayOptions(**{name: True})


def test_a_level_is_chosen_from_the_list(panel, frames):
    panel.click("Occupancy", x=0.2)
    panel.click("##Occupancy at", x=0.5)
    left, top = panel.places.at("##Occupancy at", 0.3, 0.5)
    frames.click(panel.draw, left, top + 70)  # the list opens below; some line of it is there
    assert 1 <= panel.settings.overlays.occupancy_level <= 4


def test_precision_is_chosen_where_there_is_a_choice(panel, frames, toy_scene):
    chosen = set()
    for below in range(20, 120, 12):  # the list opens below, each of its lines is under one of these
        panel.click("##Precision", x=0.5)
        left, top = panel.places.at("##Precision", 0.3, 0.5)
        frames.click(panel.draw, left, top + below)
        frames.click(panel.draw, 2, 2)  # beside the panel: a list that is still open closes
        assert panel.settings.render_options(toy_scene).precision == panel.settings.precision
        chosen.add(panel.settings.precision)
    assert chosen == {"auto", "float32", "float16", "int8"}
    for backend in ("cuda", "cpu", "reference"):
        panel.settings.backend = BackendChoice(backend)
        panel.places.places.clear()
        frames.frames(panel.draw)
        assert ("##Precision" in panel.places.places) == (backend != "reference")


def test_heat_maps_are_chosen_where_a_backend_may_count(panel, frames):
    chosen = set()
    # As the newest picture's renderer says: "auto" may have become the CPU.
    for backend, outputs in (("reference", PICTURE | PER_RAY), ("cpu", PICTURE), ("auto", PICTURE)):
        panel.settings.backend, panel.statistics.outputs = BackendChoice(backend), outputs
        for below in range(20, 200, 12):
            panel.click("##Show", x=0.5)
            left, top = panel.places.at("##Show", 0.3, 0.5)
            frames.click(panel.draw, left, top + below)
            frames.click(panel.draw, 2, 2)
            chosen.add(panel.settings.heat_map)
        plain = {"off", "depth", "alpha", "normals"}
        assert chosen == (plain | {"samples", "networks"} if backend == "reference" else plain)
        panel.settings.heat_map = "off"
        chosen.clear()


def test_the_way_of_pictures_from_a_gpu_is_shown(panel, frames, monkeypatch, toy_scene):
    shown = []
    monkeypatch.setattr(statistics_panel.widgets, "figures", lambda rows: shown.extend(rows))
    camera = Camera.look_at((3.0, 2.0, 1.0), (0.0, 0.0, 0.0), 64, 48)
    plane = np.zeros((48, 64), np.float32)
    frame = Frame(np.zeros((48, 64, 3), np.float32), plane, plane, FrameStatistics())
    request = RenderRequest(Shot(toy_scene, BackendChoice("cuda"), camera, RenderOptions()), 1.0, camera)
    panel.statistics.add(RenderResult(request, frame, 5.0), now=1.0)
    for transfer in ("", "shared texture"):
        shown.clear()
        panel.statistics.transfer = transfer
        frames.frames(panel.draw)
        values = {name: value for row in shown for name, value, _ in row}
        assert values.get("Transfer", "") == transfer


def test_the_threshold_slider_stays_in_range(panel, toy_scene):
    panel.click("##ERT threshold", x=0.98)
    assert panel.settings.ert_threshold == pytest.approx(0.5, rel=0.1)
    panel.click("##ERT threshold", x=0.02)
    assert panel.settings.ert_threshold == pytest.approx(1e-4, rel=0.3)
    assert panel.settings.render_options(toy_scene).ert_threshold == panel.settings.ert_threshold


def test_a_fixed_scale_replaces_the_target_rate(panel):
    assert "##Scale" not in panel.places.places
    panel.click("Automatic resolution", x=0.1)
    assert not panel.settings.automatic_resolution
    panel.click("##Scale", x=0.98)
    assert panel.settings.fixed_scale == pytest.approx(1.0, abs=0.02)


def test_reprojection_is_switched(panel):
    panel.click("Reprojection", x=0.2)
    assert not panel.settings.reprojection
    panel.click("Reprojection", x=0.2)
    assert panel.settings.reprojection


def test_turntable_reset_and_lens(panel):
    panel.click("##Field of view", x=0.9)
    assert panel.navigator.fov > 1.5
    panel.click("Turntable", x=0.1)
    assert panel.navigator.turntable
    panel.click("Reset")
    assert not panel.navigator.turntable
    assert panel.navigator.fov < 1.0


def test_buttons_call_the_program(panel):
    panel.click("Open ...")
    panel.click("Screenshot")
    panel.click("Record flight###record")
    assert panel.calls.made == ["browse", "take_screenshot", "toggle_recording"]


def test_without_a_scene_nothing_can_be_recorded(panel):
    panel.scene = None
    panel.click("Screenshot")
    panel.click("Record flight###record")
    assert panel.calls.made == []


def test_statistics_of_every_shape_can_be_drawn(panel, frames, toy_scene):
    camera = Camera.look_at((3, 2, 1), (0, 0, 0), 4, 3)
    request = RenderRequest(Shot(toy_scene, BackendChoice("cpu"), camera, RenderOptions()), 0.5, camera)
    for stages in ({}, {"all": 0.0}, {f"stage {i}": float(i) for i in range(9)}):
        statistics = FrameStatistics(10, 12, 12, 5, 36.0, stages, 2, (7, 5)[: len(stages)])
        pixels = np.zeros((3, 4), np.float32)
        panel.statistics.add(
            RenderResult(request, Frame(np.zeros((3, 4, 3), np.float32), pixels, pixels, statistics), 36.0, "fake"), 1.0
        )
        frames.frames(panel.draw)
    assert panel.statistics.size == (4, 3)
    np.testing.assert_allclose(panel.statistics.milliseconds, 36.0)
    assert panel.statistics.picture_rate.rate(1.5) == 3.0
    assert panel.statistics.picture_rate.rate(2.5) == 0.0


def test_messages_are_listed_and_repeats_counted(panel, frames):
    for _ in range(3):
        panel.notices.add("Cannot open: x.knf: 100 % broken %s", "error", 1.0)
    panel.notices.add("fine", "info", 2.0)
    frames.frames(panel.draw)
    assert [notice.times for notice in panel.notices.log] == [3, 1]
    assert [notice.text for notice in panel.notices.shown(9.0)] == ["Cannot open: x.knf: 100 % broken %s"]
    assert panel.notices.shown(20.0) == []


def test_a_video_size_is_made_even_and_bounded():
    video = VideoSettings()
    video.set_size(801, 3)
    assert (video.width % 2, video.height) == (0, 16)


@pytest.mark.parametrize(("seconds", "text"), [(7.6, "8 s"), (59.6, "1:00 min"), (125, "2:05 min"), (3720, "1:02 h")])
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(812, "812"), (23_400, "23.4 k"), (732_100, "732 k"), (999_700, "1.00 M"), (1_070_000, "1.07 M")],
)
def test_counts_read_well(count, text):
    assert thousands(count) == text


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.knf").write_bytes(b"x" * 2_000_000)
    (tmp_path / "sub" / "a.knf").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".hidden.knf").touch()
    return tmp_path


def test_the_file_list_has_folders_first_and_only_scenes(folder):
    assert [entry.path.name for entry in list_folder(folder)] == ["sub", "b.knf"]


def test_a_scene_is_chosen_through_a_folder(frames, places, folder):
    chosen = []
    browser = FileBrowser()

    def draw():
        path = browser.draw()
        if path:
            chosen.append(path)

    browser.open(folder)
    frames.frames(draw)
    x, y = places.at(f"sub/##{folder / 'sub'}", 0.1)
    frames.click(draw, x, y)
    frames.click(draw, x, y)  # the second click of a double click
    assert f"a.knf##{folder / 'sub' / 'a.knf'}" in places.places
    frames.click(draw, *places.at("Open"))
    assert chosen == []  # nothing is selected yet
    frames.click(draw, *places.at(f"a.knf##{folder / 'sub' / 'a.knf'}", 0.1))
    frames.click(draw, *places.at("Open"))
    assert chosen == [folder / "sub" / "a.knf"]


def test_a_folder_that_cannot_be_read_is_a_message(frames, places, folder):
    browser = FileBrowser()
    browser.open(folder / "missing")
    frames.frames(browser.draw)
    assert "Open" in places.places


@pytest.mark.parametrize("size", [(480.0, 320.0), (1280.0, 800.0)])
def test_the_list_of_keys_is_inside_of_any_window(frames, size):
    theme.apply(1.0)
    frames.io.display_size = imgui.ImVec2(*size)
    helped = HelpOverlay()
    frames.frames(lambda: helped.draw(0.25 * size[0], 0.45 * size[1], True), 5)
    window = imgui.internal.find_window_by_name("Keys")
    assert window.pos.x >= 0.0
    assert window.pos.y >= 0.0
    assert window.pos.x + window.size.x <= size[0]
    assert window.pos.y + window.size.y <= size[1]
