"""From the first key press to the files: nothing that was flown is lost, and videos queue up."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from kilonerf.kernels import Crop, RenderOptions
from kilonerf.model_io import Camera, CameraPath, OutputError
from kilonerf.viewer.notices import Notices
from kilonerf.viewer.panels.offer import offer_for
from kilonerf.viewer.recording import render_job
from kilonerf.viewer.recording.journal import FlightJournal, recover_flights
from kilonerf.viewer.recording.output_files import TakeSettings, keep_frame_settings, png_take, scene_digest
from kilonerf.viewer.recording.recording import Recording
from kilonerf.viewer.settings import VideoSettings, ViewerSettings
from support.gated_renderer import GatedRenderer

PATIENCE = 60.0  # seconds: only a hang takes so long


def camera_at(x: float) -> Camera:
    return Camera.look_at((3.0 + x, 2.0, 1.0), (x, 0.0, 0.0), 64, 48)


class Flown:
    """A recording that a test steps through."""

    def __init__(self, scene, folder):
        self.settings, self.notices, self.scene = ViewerSettings(), Notices(), scene
        self.settings.video.set_size(32, 16)
        self.settings.video.fps = 4
        self.recording = Recording(self.settings, folder, self.notices)
        self.now = 10.0

    def fly(self, seconds=1.0):
        self.recording.toggle(self.scene, camera_at(0.0), self.now)
        end = self.now + seconds
        while self.now < end:
            self.now += 1 / 32
            self.recording.add(camera_at(self.now), self.now)

    def land(self):
        self.recording.toggle(self.scene, camera_at(0.0), self.now)

    def finish(self):
        while self.recording.rendering:
            job = self.recording._queue._job
            assert job is None or job.wait(PATIENCE)
            self.recording.poll(self.now)

    @property
    def said(self):
        return [notice.text for notice in self.notices.log]


@pytest.fixture
def gate(monkeypatch):
    gate = threading.Event()
    gate.set()
    monkeypatch.setattr(render_job, "create_renderer", lambda scene, backend: GatedRenderer(scene, backend, gate=gate))
    return gate


@pytest.fixture
def flown(toy_scene, tmp_path, gate):
    (tmp_path / "flights").mkdir()
    flown = Flown(toy_scene, tmp_path / "flights")
    yield flown
    gate.set()
    flown.recording._queue.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_that_is_gone_is_found_before_anything_is_flown(flown):
    flown.recording.folder.rmdir()
    flown.recording.toggle(flown.scene, camera_at(0.0), flown.now)
    assert flown.recording.stage == "idle"
    assert flown.recording.folder_wanted
    assert "Cannot record" in flown.said[-1]
    assert "choose another folder" in flown.said[-1]


def test_a_flight_whose_folder_vanished_is_kept_until_another_is_chosen(flown, tmp_path):
    flown.fly()
    (tmp_path / "flights" / "flight_001.recording").unlink()
    flown.recording.folder.rmdir()
    flown.land()
    assert flown.recording.stage == "idle"
    assert flown.recording.folder_wanted
    assert len(flown.recording.unsaved) == 1
    assert flown.recording.failed
    assert not flown.recording.may_leave(flown.now)  # once
    flown.recording.choose_folder(tmp_path / "nor here", flown.now)
    assert len(flown.recording.unsaved) == 1
    (tmp_path / "here").mkdir()
    flown.recording.choose_folder(tmp_path / "here", flown.now)
    flown.finish()
    assert flown.recording.unsaved == []
    assert names(tmp_path / "here") == ["flight_001.json", "flight_001.mp4"]
    assert CameraPath.load(tmp_path / "here" / "flight_001.json").duration == pytest.approx(1.0)


def test_closing_saves_elsewhere_what_its_folder_does_not_take_and_says_where(flown, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    flown.fly()
    (tmp_path / "flights" / "flight_001.recording").unlink()
    flown.recording.folder.rmdir()
    with pytest.raises(OutputError, match=str(tmp_path / "flight_001.json")):
        flown.recording.close()
    assert CameraPath.load(tmp_path / "flight_001.json").duration == pytest.approx(1.0)


def test_flights_are_recorded_while_others_render_and_come_out_in_their_order(flown, gate):
    gate.clear()
    for number in (1, 2, 3):
        flown.fly()
        assert flown.recording.stage == "recording"
        flown.land()
        assert flown.recording.stage == "rendering"
        assert (flown.recording.folder / f"flight_00{number}.json").is_file()
    progress = flown.recording.progress
    assert progress is not None
    assert (progress.output.name, progress.total, progress.waiting) == ("flight_001.mp4", 5, 2)
    gate.set()
    flown.finish()
    saved = [text.split(" ")[2] for text in flown.said if text.startswith("Video saved")]
    assert [Path(name).name for name in saved] == ["flight_001.mp4", "flight_002.mp4", "flight_003.mp4"]
    assert not flown.recording.failed


def test_the_time_left_is_that_of_all_that_waits(flown, gate):
    gate.clear()
    for _ in range(2):
        flown.fly()
        flown.land()
    job = flown.recording._queue._job
    job._rendered, job._done, job._rendering_seconds = 2, 2, 6.0  # three seconds a frame, three left, five waiting
    assert flown.recording.progress.seconds_left == pytest.approx(3.0 * (3 + 5))


def test_aborting_one_begins_the_next(flown, gate):
    gate.clear()
    for _ in range(2):
        flown.fly()
        flown.land()
    flown.recording.abort()
    assert flown.recording._queue._job.wait(PATIENCE)
    gate.set()
    flown.finish()
    assert names(flown.recording.folder) == ["flight_001.json", "flight_002.json", "flight_002.mp4"]


def test_a_flight_is_on_disk_from_second_to_second(flown):
    flown.fly(3.5)
    folder, journal = flown.recording.folder, flown.recording.folder / "flight_001.recording"
    assert recover_flights(folder) == []  # it is being written
    copy = folder / "flight_007.recording"  # what kill -9 leaves: no lock, its last line perhaps cut
    copy.write_bytes(journal.read_bytes() + b"[3.4, 0.6")
    assert [path.name for path in recover_flights(folder)] == ["flight_001.json"]
    assert not copy.exists()
    duration = CameraPath.load(folder / "flight_001.json").duration
    assert 2.4 <= duration <= 3.5
    flown.land()
    assert not journal.exists()  # the path has it now
    flown.finish()


def test_a_journal_without_a_camera_is_removed(tmp_path):
    journal = FlightJournal(tmp_path)
    journal._file.close()
    assert recover_flights(tmp_path) == []
    assert names(tmp_path) == []
    assert recover_flights(tmp_path / "missing") == []


@pytest.mark.usefixtures("gate")
def test_png_files_that_an_interrupted_render_left_are_completed(toy_scene, tmp_path):
    flown = Flown(toy_scene, tmp_path)
    flown.settings.video.format = "png"
    flown.fly(2.0)
    flown.land()
    flown.finish()
    path_file, folder = tmp_path / "flight_001.json", tmp_path / "flight_001"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(files) == 9
    kept = {"frame_00000.png", "frame_00003.png"}
    for name in set(files) - kept:
        (folder / name).unlink()
    times = {name: (folder / name).stat().st_mtime_ns for name in kept}
    flown.settings.video = VideoSettings(fps=60.0)  # another choice by now
    offer = offer_for(path_file)
    assert offer is not None
    assert offer.path is not None
    assert offer.take is not None
    assert (offer.take.folder, offer.take.done) == (folder, 2)
    flown.recording.go_on(offer.path, flown.scene, offer.take, flown.now)
    flown.finish()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert {name: (folder / name).stat().st_mtime_ns for name in kept} == times
    again = offer_for(path_file)
    assert again is not None
    assert again.take is None  # nothing is missing


def test_png_files_are_completed_as_they_were_begun_whatever_is_set_by_now(toy_scene, tmp_path):
    flown = Flown(toy_scene, tmp_path)
    settings = flown.settings
    settings.video.format, settings.video.as_seen, settings.heat_map, settings.heat_scale = (
        "png",
        True,
        "samples",
        "fixed",
    )
    settings.ess = settings.ert = False
    settings.background, settings.sampling = (0.2, 0.4, 0.6), "as trained"
    settings.crop.on, settings.crop.box = True, Crop((-0.5, -0.5, -0.5), (0.5, 0.6, 0.7))
    flown.fly(1.0)
    flown.land()
    flown.finish()
    path_file, folder = tmp_path / "flight_001.json", tmp_path / "flight_001"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(set(files.values())) > 1
    for number in (1, 2):
        (folder / f"frame_{number:05d}.png").unlink()
    flown.settings = ViewerSettings()  # another run of the program
    flown.recording = Recording(flown.settings, tmp_path, flown.notices)
    offer = offer_for(path_file)
    assert offer is not None
    assert offer.path is not None
    assert offer.take is not None
    assert offer.take.settings.heat_map == "samples"
    other = replace(toy_scene, background=(0.0, 0.0, 0.0), layers={k: v * 0.5 for k, v in toy_scene.layers.items()})
    flown.recording.go_on(offer.path, other, offer.take, flown.now)
    assert "expected the scene that its frames show, got another one" in flown.said[-1]
    assert not flown.recording.rendering
    assert len(names(folder)) == 3
    flown.recording.go_on(offer.path, toy_scene, offer.take, flown.now)
    flown.finish()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


@pytest.mark.parametrize(
    "change",
    [
        {"ess": None},
        {"background": [1.0]},
        {"background": "white"},
        {"ert_threshold": 2.0},
        {"crop": {"min": [1, 1, 1], "max": [0, 0, 0]}},
        {"crop": {}},
        {"precision": "float64"},
        {"near": "far"},
    ],
)
def test_settings_of_a_take_that_cannot_be_are_refused(toy_scene, tmp_path, change):
    (tmp_path / "flight_001").mkdir()
    (tmp_path / "flight_001" / "frame_00000.png").touch()
    video = VideoSettings(format="png")
    keep_frame_settings(tmp_path / "flight_001", TakeSettings(video, RenderOptions(), scene=scene_digest(toy_scene)))
    assert png_take(tmp_path / "flight_001.json") is not None
    file = tmp_path / "flight_001.frames"
    document = json.loads(file.read_text())
    document["options"] |= change
    file.write_text(json.dumps(document))
    assert png_take(tmp_path / "flight_001.json") is None


@pytest.mark.parametrize("settings", ["", "[]", "{}", '{"video": {"format": "png", "width": "wide"}}', None])
def test_png_files_of_unknown_settings_are_not_gone_on_with(tmp_path, settings):
    (tmp_path / "flight_001").mkdir()
    (tmp_path / "flight_001" / "frame_00000.png").touch()
    if settings is not None:
        (tmp_path / "flight_001.frames").write_text(settings)
    assert png_take(tmp_path / "flight_001.json") is None
