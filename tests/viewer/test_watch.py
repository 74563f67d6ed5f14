"""A scene whose file changes while it is open."""

import os
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from kilonerf.model_io import KiloNeRFScene, load_partial_scene, save_scene
from kilonerf.viewer import scene_loading
from kilonerf.viewer.scene_loading import SceneLoader
from support.driving import Driver, wait_for
from support.scenes import random_scene


@pytest.fixture
def loader():
    loader = SceneLoader()
    yield loader
    loader.close()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "scene.knf"
    save_scene(random_scene(seed=1), file)
    return file


def test_a_changed_file_is_read_again_and_one_that_stays_is_not(path, loader) -> None:
    loader.load(path)
    assert not wait_for(loader.take).again
    loader.watch(interval=0.01)
    time.sleep(0.2)
    assert loader.take() is None
    other = random_scene(seed=2)
    save_scene(other, path)
    outcome = wait_for(loader.take)
    assert outcome.again
    assert outcome.scene is not None
    assert np.array_equal(outcome.scene.cells.occupancy, other.occupancy)
    time.sleep(0.2)
    assert loader.take() is None
    path.unlink()
    time.sleep(0.1)
    assert loader.take() is None  # what is gone may come back
    save_scene(random_scene(seed=3), path)
    assert wait_for(loader.take).again


def test_a_broken_file_is_reported_once_and_a_whole_one_read_again(path, loader) -> None:
    loader.load(path)
    wait_for(loader.take)
    loader.watch(interval=0.01)
    other = path.with_name("other")
    other.write_bytes(b"broken")
    other.replace(path)
    outcome = wait_for(loader.take)
    assert (outcome.again, outcome.scene) == (True, None)
    time.sleep(0.2)
    assert loader.take() is None
    save_scene(random_scene(seed=3), path)
    assert wait_for(loader.take).scene is not None


def test_a_file_that_is_being_written_is_read_when_it_stays(path, loader, monkeypatch) -> None:
    whole = path.read_bytes()
    parts, states = iter([b"k", b"kn", whole[:100]]), []

    def state_while_writing(file):
        """Before each of the first looks somebody has written more."""
        path.write_bytes(next(parts, whole))
        states.append(path.stat().st_size)
        return (0, states[-1], 0)

    loader.load(path)
    wait_for(loader.take)
    monkeypatch.setattr(scene_loading, "_state", state_while_writing)
    loader.watch(interval=0.01)
    outcome = wait_for(loader.take)
    assert outcome.again
    assert outcome.error is None
    assert states[:4] == [1, 2, 100, len(whole)]


def test_a_watched_scene_survives_what_is_done_to_its_file(path, loader) -> None:
    loader.watch(interval=60.0)
    loader.load(path)
    scene = wait_for(loader.take).scene
    assert isinstance(scene, KiloNeRFScene)
    with path.open("r+b") as file:
        file.truncate(0)
    expected = random_scene(seed=1)
    for name, values in scene.layers.items():  # a mapped one would end the process here
        assert np.array_equal(values, expected.layers[name]), name


def test_after_a_wish_that_failed_the_old_scene_is_watched(path, loader) -> None:
    loader.watch(interval=0.01)
    loader.load(path)
    wait_for(loader.take)
    loader.load(path.with_name("missing.knf"))
    assert wait_for(loader.take).error is not None
    save_scene(random_scene(seed=2), path)
    outcome = wait_for(loader.take)
    assert (outcome.path, outcome.again) == (path, True)


def test_a_closed_loader_watches_no_more(path, loader) -> None:
    before = set(threading.enumerate())
    loader.watch(interval=0.01)
    (watching,) = set(threading.enumerate()) - before
    loader.load(path)
    wait_for(loader.take)
    loader.close()
    watching.join(30)
    assert not watching.is_alive()


def test_only_what_the_user_asked_for_is_said_to_be_loading(path, loader, monkeypatch) -> None:
    loader.watch(interval=0.01)
    loader.load(path)
    assert loader.loading == path
    wait_for(loader.take)
    said = []

    def load(file, **arguments):
        said.append(loader.loading)
        return load_partial_scene(file, **arguments)

    monkeypatch.setattr(scene_loading, "load_partial_scene", load)
    save_scene(random_scene(seed=2), path)
    wait_for(loader.take)
    assert said == [None]


def test_a_file_that_nobody_watches_is_not_read_again(path, loader) -> None:
    loader.load(path)
    wait_for(loader.take)
    save_scene(random_scene(seed=2), path)
    time.sleep(0.7)
    assert loader.take() is None


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")
def test_the_camera_stays_and_the_old_picture_until_the_next_one(path, tmp_path) -> None:
    with Driver(tmp_path) as viewer:
        app = viewer.app
        app._loader.watch(interval=0.01)
        app.open_scene(path)
        viewer.until(lambda: app.scene is not None and app.settled)
        viewer.xdotool("mousemove", "--window", viewer.id, 300, 400, "mousedown", 1)
        for x in range(310, 400, 10):
            viewer.xdotool("mousemove", "--window", viewer.id, x, 420)
            viewer.steps(1)
        viewer.xdotool("mouseup", 1)
        app.settings.overlays = replace(app.settings.overlays, box=True)
        viewer.until(lambda: app.settled)
        scene, camera = app.scene, app.navigator.camera(64, 64)
        assert scene is not None
        assert not np.allclose(camera.matrix, scene.start_camera.matrix if scene.start_camera else 0)
        save_scene(random_scene(seed=5), path)
        os.utime(path)
        while app.scene is scene:
            app.step()
        assert app.view.displayed is not None  # the old picture
        viewer.until(lambda: app.settled)
        assert app.view.shown is not None
        assert app.view.shown.request.shot.scene is app.scene
        assert np.array_equal(app.navigator.camera(64, 64).matrix, camera.matrix)
        assert app.settings.overlays.box
        # A scene that the user opens begins where it says.
        other = tmp_path / "other.knf"
        save_scene(random_scene(seed=6), other)
        app.open_scene(other)
        viewer.until(lambda: app.scene_path == other and app.settled)
        assert not np.array_equal(app.navigator.camera(64, 64).matrix, camera.matrix)
