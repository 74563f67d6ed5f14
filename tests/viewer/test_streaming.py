"""A scene at a URL in the window: it grows, the camera stays, and whatever the server does is a message."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from kilonerf.model_io import KiloNeRFScene, load_scene, save_scene
from kilonerf.model_io.streaming import download
from kilonerf.model_io.streaming.address import SceneUrl
from kilonerf.model_io.streaming.options import StreamOptions
from kilonerf.viewer.panels.recent_files import RecentFiles
from kilonerf.viewer.scene_loading import SceneLoader
from support.driving import Driver, wait_for
from support.fields.octree_scenes import random_octree_scene
from support.knf_files import small_file
from support.scenes import random_scene
from support.web.web_server import Answer, WebServer

needs_window = pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")
DATA = small_file(random_scene(resolution=(3, 2, 4), factor=(4, 3, 5), dropped=0.4), chunks=3)
HALF = 30_000
OPTIONS = StreamOptions(cache_folder=None, read_timeout=30.0, backoff=0.001, tries=2)


class Halves:
    """A server that sends the second half of the file when the test says so."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.server = WebServer(DATA, self.wait)
        self.broken = False

    def wait(self, answer: Answer) -> None:
        begin = answer.begin or 0
        if begin >= HALF:
            assert self.go.wait(60)
            answer.status = 404 if self.broken else answer.status
        elif begin:
            answer.body = DATA[begin:HALF]
            answer.headers["Content-Range"] = f"bytes {begin}-{HALF - 1}/{len(DATA)}"
            answer.headers["Content-Length"] = str(len(answer.body))


@pytest.fixture
def halves(monkeypatch):
    monkeypatch.setattr(download, "FIRST", 4096)
    halves = Halves()
    with halves.server:
        yield halves
        halves.go.set()


@pytest.fixture
def loader():
    loader = SceneLoader(OPTIONS)
    yield loader
    loader.close()


def test_states_follow_one_another_as_they_are_taken(halves, loader) -> None:
    url = SceneUrl(halves.server.url)
    loader.load(url)
    assert loader.loading == url
    first = wait_for(loader.take)
    assert (first.path, first.again, first.error) == (url, False, None)
    assert isinstance(first.scene, KiloNeRFScene)
    assert loader.loading == url  # more is to come
    assert loader.progress.startswith("Loading 0.03 of 0.05 MB, ")
    assert loader.progress.endswith("networks")
    halves.go.set()
    while True:
        outcome = wait_for(loader.take)
        assert outcome.again
        if isinstance(outcome.scene, KiloNeRFScene) and loader.streamed.part.whole:
            break
    assert outcome.scene.num_networks > first.scene.num_networks
    wait_for(loader.take)  # that it ended
    assert loader.loading is None
    assert loader.progress == ""
    assert loader.streamed.loaded == "0.05 of 0.05 MB"


def test_a_state_that_nobody_has_seen_is_not_replaced(halves, loader) -> None:
    halves.go.set()
    loader.load(SceneUrl(halves.server.url))
    assert wait_for(loader.take).scene is not None
    assert wait_for(lambda: loader._outcome) is not None
    assert loader.take(ready=False) is None
    assert wait_for(loader.take).again


def test_another_wish_ends_a_stream(halves, loader, tmp_path) -> None:
    save_scene(random_scene(), tmp_path / "a.knf")
    loader.load(SceneUrl(halves.server.url))
    wait_for(loader.take)
    loader.load(tmp_path / "a.knf")
    halves.go.set()
    assert wait_for(loader.take).path == tmp_path / "a.knf"
    assert loader.take() is None
    assert loader.loading is None


def test_an_error_before_the_first_state_and_one_after_it(halves, loader) -> None:
    halves.broken = True
    halves.go.set()
    loader.load(SceneUrl(halves.server.url))
    outcome = wait_for(loader.take)
    while outcome.error is None:
        assert outcome.scene is not None
        outcome = wait_for(loader.take)
    assert "HTTP 404" in str(outcome.error)
    assert loader.streamed.error is outcome.error
    assert loader.loading is None
    halves.server.fault = lambda answer: setattr(answer, "status", 403)
    loader.load(SceneUrl(halves.server.url))
    outcome = wait_for(loader.take)
    assert outcome.scene is None
    assert not outcome.again
    assert "HTTP 403" in str(outcome.error)


def test_a_budget_is_said(halves, tmp_path) -> None:
    loader = SceneLoader(StreamOptions(cache_folder=None, budget=HALF))
    loader.load(SceneUrl(halves.server.url))
    outcome = wait_for(loader.take)
    while not outcome.note:
        outcome = wait_for(loader.take)
    assert outcome.note.startswith(
        "scene.knf: stopped: 30,000 bytes received, as many as are allowed (--stream-budget): "
    )
    assert outcome.note.endswith("networks are there")
    loader.close()


def test_a_file_that_is_cut_short_opens_and_says_so(loader, tmp_path) -> None:
    path = tmp_path / "a.knf"
    save_scene(random_octree_scene(5, 2, occupied=0.05), path)
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    loader.load(path)
    outcome = wait_for(loader.take)
    assert outcome.scene is not None
    assert outcome.note == "a.knf is cut short: 1 of 2 levels are in the file"
    path.write_bytes(data)
    loader.load(path)
    assert wait_for(loader.take).note == ""


def test_urls_are_remembered_as_files_are(tmp_path) -> None:
    recent = RecentFiles(tmp_path / "recent.json")
    (tmp_path / "a.knf").touch()
    url = SceneUrl("https://host/b.knf")
    for location in (tmp_path / "a.knf", url, tmp_path / "gone.knf"):
        recent.add(location)
    again = RecentFiles(tmp_path / "recent.json")
    assert again.locations == [url, tmp_path / "a.knf"]
    assert again.there == [tmp_path / "a.knf"]
    (tmp_path / "recent.json").write_text('["ftp://host/x.knf", "/a.knf"]')
    assert RecentFiles(tmp_path / "recent.json").locations == []


@pytest.mark.slow
@needs_window
def test_a_scene_grows_in_the_window_and_the_camera_stays(halves, tmp_path: Path) -> None:
    with Driver(tmp_path, loader=SceneLoader(OPTIONS)) as viewer:
        app, url = viewer.app, SceneUrl(halves.server.url)
        app.open_scene(url)
        viewer.until(lambda: app.view.shown is not None and app.view.shows(app.scene))
        first = app.scene
        assert first is not None
        assert not app.settled
        assert app.scene_path == url
        viewer.drag((300, 400), (420, 430))
        camera = app.navigator.camera(64, 64)
        assert not np.allclose(camera.matrix, first.start_camera.matrix if first.start_camera else 0)
        halves.go.set()
        viewer.until(lambda: app.settled)
        (tmp_path / "whole.knf").write_bytes(DATA)
        whole = load_scene(tmp_path / "whole.knf")
        assert isinstance(app.scene, KiloNeRFScene)
        assert isinstance(whole, KiloNeRFScene)
        assert isinstance(first, KiloNeRFScene)
        assert first.num_networks < app.scene.num_networks == whole.num_networks
        assert app.view.shows(app.scene)
        assert np.array_equal(app.navigator.camera(64, 64).matrix, camera.matrix)
        assert app._recent.locations[0] == url
        viewer.press("R")
        viewer.until(lambda: app.settled)
        assert app.notices.log == [] or all(notice.kind != "error" for notice in app.notices.log)


@pytest.mark.slow
@needs_window
def test_what_the_server_does_is_a_message_and_the_scene_stays(halves, tmp_path: Path) -> None:
    halves.broken = True
    with Driver(tmp_path, scene=random_scene(), loader=SceneLoader(OPTIONS)) as viewer:
        app, url = viewer.app, SceneUrl(halves.server.url)
        app.open_scene(url)
        viewer.until(lambda: app.scene_path == url)
        halves.go.set()
        viewer.until(lambda: app.settled)
        assert app.scene_path == url
        said = [notice.text for notice in app.notices.log]
        assert said[-1].startswith(f"Cannot load the rest: {url}: expected the file, got HTTP 404"), said
        halves.server.fault = lambda answer: setattr(answer, "status", 500)
        other = SceneUrl(halves.server.url.replace("scene", "other"))
        app.open_scene(other)
        viewer.until(lambda: app.notices.log[-1].text.startswith("Cannot open: "))
        assert app.scene_path == url
