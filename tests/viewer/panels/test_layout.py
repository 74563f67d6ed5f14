"""What a hand on the mouse relies on: rows stay, tooltips do not cover the next row, sections stay folded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imgui_bundle import imgui

from kilonerf.kernels import BackendChoice, Frame, FrameStatistics, RenderOptions
from kilonerf.model_io import Camera
from kilonerf.viewer import theme
from kilonerf.viewer.appearance import folding
from kilonerf.viewer.camera.navigator import Navigator
from kilonerf.viewer.drawing.overlays import OverlayOptions
from kilonerf.viewer.inspection.detail import LevelOfDetail
from kilonerf.viewer.live_statistics import LiveStatistics
from kilonerf.viewer.notices import Notices
from kilonerf.viewer.panels import PictureMessages, SidePanel, widgets
from kilonerf.viewer.panels.status_bar import StatusBar
from kilonerf.viewer.recording.recording import Recording
from kilonerf.viewer.recording.take_queue import QueueProgress
from kilonerf.viewer.rectangle import Rectangle
from kilonerf.viewer.rendering.resolution import Shot
from kilonerf.viewer.rendering.worker import RenderRequest, RenderResult
from kilonerf.viewer.scene_loading import SceneLoader
from kilonerf.viewer.settings import ViewerSettings
from support.imgui_frames import SECTIONS, open_sections


class Window:
    """Side panel, status bar and messages, without a program."""

    def __init__(self, frames, places, scene, size=(1280.0, 1400.0)):
        theme.apply(1.0)
        open_sections()
        style = imgui.get_style()
        style.hover_stationary_delay = style.hover_delay_short = 0.0
        frames.io.display_size = imgui.ImVec2(*size)
        self.frames, self.places, self.scene, self.size = frames, places, scene, size
        self.settings, self.navigator, self.statistics = ViewerSettings(), Navigator(), LiveStatistics()
        self.navigator.set_scene(scene)
        self.notices = Notices()
        self.recording = Recording(self.settings, Path(), self.notices)
        self.asked = []
        program: Any = type("Program", (), {"__getattr__": lambda _, name: lambda *a: self.asked.append(name)})()
        program.detail = LevelOfDetail(SceneLoader())
        parts = (self.settings, self.navigator, self.statistics, self.recording, self.notices, program)
        self.panel = SidePanel(*parts)
        self.bar = StatusBar(self.settings, self.recording, program)
        self.messages = PictureMessages(self.recording)
        frames.frames(self.draw)

    def draw(self):
        width, height = self.size
        self.panel.draw(self.scene, Path("toy.knf"), None, None, 0.0)
        area = Rectangle(0.0, 0.0, width - SidePanel.width(width), height - StatusBar.height())
        self.messages.draw(area, self.notices.shown(0.5), None, False)
        below = Rectangle(0.0, height - StatusBar.height(), width, StatusBar.height())
        self.bar.draw(below, mode="Orbit", size=(240, 288), rate=20.0, message="")

    def show_picture(self, stages):
        camera = Camera.look_at((3, 2, 1), (0, 0, 0), 4, 3)
        request = RenderRequest(Shot(self.scene, BackendChoice("cpu"), camera, RenderOptions()), 0.5, camera)
        plane = np.zeros((3, 4), np.float32)
        statistics = FrameStatistics(10, 12, 12, 5, 36.0, stages, 2)
        frame = Frame(np.zeros((3, 4, 3), np.float32), plane, plane, statistics)
        self.statistics.add(RenderResult(request, frame, 36.0, "fake"), 1.0)


@pytest.fixture
def window(frames, places, toy_scene):
    return Window(frames, places, toy_scene)


def rows(window):
    window.places.places.clear()
    window.frames.frames(window.draw)
    return {label: place[1] for label, place in window.places.places.items()}


def test_rows_stay_where_they_are_whatever_the_program_does_by_itself(window, monkeypatch):
    stages = {f"stage {i}": 1.0 for i in range(6)}
    for _ in range(3):
        window.show_picture(stages)
    before = rows(window)
    window.show_picture({"all": 1.0})
    assert rows(window) == before
    window.notices.add("something", "info", 0.0)
    window.settings.heat_map = "depth"
    window.settings.video.lens_blur = 0.1
    progress = QueueProgress(Path("flight_001.mp4"), 3, 10, 1, 12.0)
    monkeypatch.setattr(Recording, "progress", property(lambda _: progress))
    assert rows(window) | before == rows(window)
    for backend in ("reference", "cpu", "auto"):
        window.settings.backend = BackendChoice(backend)
        there = rows(window)
        assert {label: before[label] for label in there if label in before} == {
            label: there[label] for label in there if label in before
        }


@pytest.mark.parametrize("size", [(1280.0, 1400.0), (480.0, 320.0)])
@pytest.mark.parametrize("milliseconds", [0.0, 9.96, 99.94, 99.96, 999.4, 999.6, 1234.5, 9996.0, 123456.7])
def test_times_of_stages_end_before_the_edge_of_the_panel(frames, places, toy_scene, monkeypatch, size, milliseconds):
    window, drawn = Window(frames, places, toy_scene, size), []
    write = imgui.text_unformatted

    def recorded(text):
        write(text)
        drawn.append((text, imgui.get_item_rect_max().x))

    monkeypatch.setattr(imgui, "text_unformatted", recorded)
    window.show_picture({"cells": milliseconds, "networks": milliseconds})
    frames.frame(window.draw)
    padding = imgui.get_style().window_padding.x
    times = [(text, right) for text, right in drawn if text == widgets.short_time(milliseconds)]
    assert len(times) >= 2
    for text, right in times:
        assert right <= size[0] - padding, text
        assert float(text.split()[0]) * (1.0 if text.endswith("ms") else 1e3) == pytest.approx(milliseconds, rel=6e-3)


def tooltip():
    """Place and size of the one that is shown."""
    for number in range(4):
        window = imgui.internal.find_window_by_name(f"##Tooltip_{number:02d}")
        if window is not None and window.active and not window.hidden:
            return window.pos, window.size
    return None


@pytest.mark.parametrize("size", [(1280.0, 1400.0), (480.0, 320.0)])
def test_tooltips_cover_neither_the_panel_nor_the_bar(frames, places, toy_scene, size):
    window = Window(frames, places, toy_scene, size)
    seen = 0
    for label, (left, top, _, bottom) in list(places.places.items()):
        if label in SECTIONS or not 0.0 <= top < bottom <= size[1]:
            continue
        frames.move(window.draw, left + 5.0, 0.5 * (top + bottom))
        frames.frames(window.draw, 4)
        found = tooltip()
        if found is None:
            continue
        seen += 1
        place, extent = found
        in_bar = top > size[1] - StatusBar.height() - 1.0
        if in_bar:
            assert place.y + extent.y <= top, label
        else:
            assert place.x + extent.x <= size[0] - SidePanel.width(size[0]) + 0.5, label
            assert place.x >= 0.0, label
        assert place.y >= 0.0, label
        assert place.y + extent.y <= size[1], label
    assert seen >= (25 if size[1] > 1000.0 else 4)


def test_sections_stay_as_they_were_left(window):
    window.frames.click(window.draw, *window.places.at("Overlays", 0.5))
    assert "Box" not in rows(window)
    assert folding.sections.chosen["Overlays"] is False
    window.frames.click(window.draw, *window.places.at("Overlays", 0.5))
    assert "Box" in rows(window)


def test_at_first_what_is_rarely_wanted_is_folded(window):
    folding.sections.restore({})
    there = rows(window)
    assert {"ESS", "##Backend", "Open ..."} <= set(there)
    assert not {"Box", "##Precision", "##Video size", "##Fly speed"} & set(there)
    window.show_picture({f"stage {i}": 1.0 for i in range(6)})
    window.show_picture({f"stage {i}": 1.0 for i in range(6)})
    assert max(top for label, top in rows(window).items() if "status" not in label) < 800.0 - StatusBar.height()


@pytest.mark.parametrize("width", [480.0, 1280.0])
def test_record_screenshot_and_overlays_are_always_there(frames, places, toy_scene, width):
    window = Window(frames, places, toy_scene, (width, 800.0))
    for label, asked in (
        ("Record###status record", ["toggle_recording"]),
        ("Screenshot###status screenshot", ["take_screenshot"]),
    ):
        window.asked.clear()
        frames.click(window.draw, *places.at(label))
        assert window.asked == asked
    right = places.places["Overlays###status overlays"][2]
    assert right < width
    frames.click(window.draw, *places.at("Overlays###status overlays"))
    em = imgui.get_font_size()
    left, top = places.places["Overlays###status overlays"][:2]
    for step in range(1, 9):  # up through the menu, which stays open
        frames.click(window.draw, left + 2.0 * em, top - 1.3 * em * step)
    shown = window.settings.overlays
    assert shown != OverlayOptions()
    assert shown.box or shown.network_grid
    assert shown.axes or shown.ground or shown.cameras
    frames.io.add_key_event(imgui.Key.escape, True)
    frames.frames(window.draw)
    frames.io.add_key_event(imgui.Key.escape, False)
    frames.frames(window.draw)
    assert not imgui.is_popup_open("", imgui.PopupFlags_.any_popup.value)


def test_the_buttons_stay_where_they_are_while_a_flight_is_recorded(window, monkeypatch):
    before = {label: place for label, place in window.places.places.items() if "###status" in label}
    monkeypatch.setattr(Recording, "stage", property(lambda _: "recording"))
    for seconds in (0.1, 99.9, 123.4):
        monkeypatch.setattr(Recording, "seconds", property(lambda _, seconds=seconds: seconds))
        window.frames.frames(window.draw)
        for label in ("Screenshot###status screenshot", "Overlays###status overlays"):
            assert window.places.places[label] == before[label]


def test_a_message_is_dismissed_by_a_click_on_it(window):
    for text in ("first", "second"):
        window.notices.add(text, "error", 0.0)
    window.frames.frames(window.draw)
    place = imgui.internal.find_window_by_name("message 0")
    x, y = place.pos.x + 0.5 * place.size.x, place.pos.y + 0.5 * place.size.y
    window.frames.click(window.draw, x, y)
    assert [notice.text for notice in window.notices.shown(0.5)] == ["first"]
    assert len(window.notices.log) == 2  # the list keeps them


def test_messages_of_any_length_stay_inside_of_the_smallest_window(frames, places, toy_scene):
    window = Window(frames, places, toy_scene, (480.0, 320.0))
    for number in range(6):
        window.notices.add(f"{number} " + "/a/very/long/path" * 40, "error", 0.0)
    frames.frames(window.draw)
    shown = [found for i in range(6) if (found := imgui.internal.find_window_by_name(f"message {i}"))]
    assert shown
    for found in shown:
        assert found.pos.x >= 0.0
        assert found.pos.y >= 0.0
        assert found.pos.x + found.size.x <= 240.0
