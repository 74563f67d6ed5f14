"""The file dialog by keyboard and where paths are wrong; what is offered for files that are no scenes."""

import json
from dataclasses import replace

import pytest
from imgui_bundle import imgui
from PIL import Image

from kilonerf.kernels import RenderOptions
from kilonerf.model_io import Camera, CameraPath, KiloNeRFError
from kilonerf.viewer import theme
from kilonerf.viewer.making.importing import ImportPlan
from kilonerf.viewer.making.training import TrainingPlan
from kilonerf.viewer.panels.file_browser import FileBrowser, shortened
from kilonerf.viewer.panels.offer import OfferDialog, offer_for
from kilonerf.viewer.panels.recent_files import RecentFiles
from kilonerf.viewer.recording.output_files import PngTake, TakeSettings
from kilonerf.viewer.settings import VideoSettings


class Dialog:
    def __init__(self, frames, recent=None):
        self.frames, self.browser, self.chosen = frames, FileBrowser(recent), []

    def draw(self):
        path = self.browser.draw()
        if path is not None:
            self.chosen.append(path)

    def press(self, *keys):
        for key in keys:
            for down in (True, False):
                self.frames.io.add_key_event(key, down)
                self.frames.frames(self.draw)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.knf", "b.knf", "椅子.knf", f"{'long ' * 40}end.knf"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def dialog(frames, places):
    theme.apply(1.0)
    return Dialog(frames)


def test_a_file_is_chosen_by_keyboard_alone(dialog, folder):
    dialog.browser.open(folder)
    dialog.frames.frames(dialog.draw)
    dialog.press(imgui.Key.down_arrow, imgui.Key.enter)  # into the folder
    assert dialog.browser._folder == folder / "sub"
    dialog.press(imgui.Key.backspace)  # and out again, on its row
    assert dialog.browser._folder == folder
    dialog.press(imgui.Key.down_arrow, imgui.Key.down_arrow, imgui.Key.enter)
    assert dialog.chosen == [folder / "b.knf"]


def test_a_letter_jumps_to_the_next_name(dialog, folder):
    dialog.browser.open(folder)
    dialog.frames.frames(dialog.draw)
    dialog.press(imgui.Key.b, imgui.Key.enter)
    assert dialog.chosen == [folder / "b.knf"]


def test_it_stays_after_a_wrong_path(dialog, places, folder):
    dialog.browser.open(folder)
    dialog.frames.frames(dialog.draw)
    assert dialog.browser._enter(folder / ("x" * 300)) is None  # too long for any file system
    assert "x" * 300 in dialog.browser._error
    dialog.frames.click(dialog.draw, *places.at("##path"))
    dialog.press(imgui.Key.end)
    dialog.frames.io.add_input_characters_utf8("/missing.knf")
    dialog.press(imgui.Key.enter)
    assert dialog.chosen == []
    assert dialog.browser._error == f"There is no such file: {folder / 'missing.knf'}"
    places.places.clear()
    dialog.frames.frames(dialog.draw)
    assert "Cancel" in places.places  # it is still there


def test_a_folder_is_chosen(dialog, frames, places, folder):
    dialog.browser.open(folder, "folder")
    dialog.press(imgui.Key.down_arrow, imgui.Key.enter)
    frames.click(dialog.draw, *places.at("Use this folder"))
    assert dialog.chosen == [folder / "sub"]


def test_everything_is_inside_the_smallest_window(dialog, frames, places, folder):
    frames.io.display_size = imgui.ImVec2(480.0, 320.0)
    dialog.browser.open(folder)
    frames.frames(dialog.draw)
    for label in ("Up", "Home", "Recent", "Cancel", "Open", f"a.knf##{folder / 'a.knf'}"):
        left, top, right, bottom = places.places[label]
        assert 0 <= left < right <= 480, label
        assert 0 <= top < bottom <= 320, label


def test_long_names_keep_their_ends(dialog, frames):
    def draw():
        name = f"{'long ' * 40}end.knf"
        return name, shortened(name, 200.0), shortened("a.knf", 200.0), imgui.calc_text_size(shortened(name, 200.0)).x

    name, short, same, width = frames.frame(draw)
    assert len(short) < len(name)
    assert short.endswith("end.knf")
    assert short.startswith("long ")
    assert width <= 200.0
    assert same == "a.knf"


def test_recent_files_are_remembered_newest_first_and_offered(dialog, frames, places, folder, tmp_path):
    state = tmp_path / "state" / "recent.json"
    recent = RecentFiles(state)
    for name in ("a.knf", "b.knf", "a.knf", "gone.knf"):
        recent.add(folder / name)
    again = RecentFiles(state)
    assert again.there == [folder / "a.knf", folder / "b.knf"]
    dialog.browser = FileBrowser(again)
    dialog.browser.open(folder / "sub")
    frames.frames(dialog.draw)
    frames.click(dialog.draw, *places.at("Recent"))
    dialog.press(imgui.Key.enter)
    assert dialog.chosen == [folder / "a.knf"]
    state.write_text("[1, {}")
    assert RecentFiles(state).there == []


def test_a_camera_path_is_offered_to_be_rendered(frames, places, tmp_path):
    theme.apply(1.0)
    camera = Camera.look_at((3, 2, 1), (0, 0, 0), 64, 48)
    path = CameraPath.from_cameras([0.0, 2.0], [camera, replace(camera, fx=90.0, fy=90.0)])
    path.save(tmp_path / "path.json")
    offer = offer_for(tmp_path / "path.json")
    assert offer is not None
    assert "2 keyframes, 2.0 s" in offer.text
    dialog, chosen = OfferDialog(), []
    dialog.show(offer)

    def draw():
        wanted = dialog.draw(can_render=True)
        if wanted is not None:
            chosen.append(wanted)

    frames.frames(draw)
    frames.click(draw, *places.at("Render its video"))
    assert chosen == [path]
    assert dialog.take is None
    take = PngTake(tmp_path / "path", TakeSettings(VideoSettings(format="png"), RenderOptions()), 7)
    dialog.show(replace(offer, take=take))
    frames.frames(draw)
    frames.click(draw, *places.at("Go on after 7 PNG files"))
    assert chosen == [path, path]
    assert dialog.take == take


def test_what_is_offered_for_checkpoints_data_sets_and_scenes(tmp_path):
    (tmp_path / "occupancy.pth").touch()
    (tmp_path / "check point.pth").touch()
    offer = offer_for(tmp_path / "check point.pth")
    assert offer is not None
    assert offer.checkpoint == tmp_path / "check point.pth"
    command = ImportPlan.of(tmp_path / "check point.pth").command
    assert "kilonerf-import '" in command
    assert f"--occupancy {tmp_path / 'occupancy.pth'} --bbox BBOX.TXT" in command
    (tmp_path / "data").mkdir()
    frame = {"file_path": "./train/r_0", "transform_matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]}
    text = json.dumps({"camera_angle_x": 0.7, "frames": [frame]})
    (tmp_path / "data" / "transforms_train.json").write_text(text)
    offer = offer_for(tmp_path / "data")
    assert offer is not None
    assert (offer.data, offer.has_poses, offer.text) == (tmp_path / "data", True, "Splits: train")
    plan = TrainingPlan(tmp_path / "data", tmp_path / "data.knf")
    assert plan.command == f"kilonerf-train {tmp_path / 'data'} -o {tmp_path / 'data.knf'} --preset fast --view"
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "photos" / "a.jpg")
    photos = offer_for(tmp_path / "photos")
    assert photos is not None
    assert (photos.data, photos.has_poses) == (tmp_path / "photos", False)
    assert photos.text.startswith("1 photo without poses; COLMAP finds them")
    assert offer_for(tmp_path / "data" / "transforms_train.json") == offer
    assert offer_for(tmp_path / "scene.knf") is None
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    for name in ("other.json", "empty"):
        with pytest.raises(KiloNeRFError, match=name):
            offer_for(tmp_path / name)
