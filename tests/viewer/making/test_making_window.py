"""Trainings and imports from the window, with xdotool as the user; most with programs that do what the test says."""

import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kilonerf.model_io import load_scene, save_scene
from kilonerf.viewer.making import train_dialog
from kilonerf.viewer.making.training import TrainingPlan
from support.driving import Driver
from support.scenes import random_scene

pytestmark = pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")


@pytest.fixture
def scenes(tmp_path):
    """Two states of a scene, and the finished one."""
    files = [tmp_path / f"state_{number}.knf" for number in range(3)]
    for seed, file in enumerate(files):
        save_scene(random_scene(seed=seed + 10), file)
    return files


@pytest.fixture
def output(data):
    return data.with_name("photos.knf")


def said(driver):
    return [notice.text for notice in driver.app.notices.log]


def begin(driver, places, data):
    """Drop the data set, and press Train (or Resume, or Follow)."""
    driver.drop_files(data)
    driver.steps(3)
    button = next(label for label in places.places if label.endswith("###do train"))
    driver.click(*places.at(button))
    run = driver.app.making.training
    assert run is not None
    return run


def layers_of(scene):
    return {name: np.asarray(values, np.float32) for name, values in scene.layers.items()}


def shows(driver, file):
    """Whether the open scene is the one in the file."""
    wanted = load_scene(file)
    return driver.app.scene is not None and all(
        np.array_equal(values, layers_of(wanted)[name]) for name, values in layers_of(driver.app.scene).items()
    )


def test_a_data_set_is_trained_and_its_growing_scene_shown(driver, places, programs, data, scenes, output):
    app, given = driver.app, driver.app.scene
    begin(driver, places, data)
    driver.until(lambda: programs.calls)
    assert programs.calls == [["train", str(data), "-o", str(output), "--preset", "fast", "--json", "--snapshots"]]
    run = app.making.training
    assert run.status == "Training: reading the photos"
    programs.event("stage", stage="teacher", step=0, steps=200)
    programs.event("step", stage="teacher", step=74, steps=200, psnr=21.36, seconds_left=125.4)
    driver.until(lambda: run.step == 74)
    assert app.making.status == "Training: teacher 37 %, 2:05 min left, 21.4 dB"
    driver.steps(2)
    assert app._title.startswith("Training: teacher 37 %")
    assert app.scene is given  # the teacher is no scene yet
    programs.event("stage", stage="distillation", step=0, steps=10)
    programs.copy(scenes[0], "view.knf")
    programs.event("snapshot", stage="distillation", step=1)
    driver.until(lambda: app.scene is not given)
    assert shows(driver, scenes[0])
    assert app.scene_path == output  # which is not there yet
    assert not output.exists()
    driver.settle()
    driver.drag((250, 300), (400, 340))
    driver.settle()
    camera, first = app.navigator.matrix(), app.scene
    programs.copy(scenes[1], "view.knf")
    programs.event("snapshot", stage="fine-tuning", step=1)
    driver.until(lambda: app.scene is not first)
    assert shows(driver, scenes[1])
    np.testing.assert_array_equal(app.navigator.matrix(), camera)
    programs.copy(scenes[2])
    programs.event("done", scene=str(output))
    programs.end(0)
    driver.until(lambda: run.child.state == "finished")
    driver.until(lambda: shows(driver, scenes[2]))
    np.testing.assert_array_equal(app.navigator.matrix(), camera)
    assert f"Trained: {output}" in said(driver)
    assert app._recent.there[0] == output
    assert app.making.status == ""


def test_a_training_is_stopped_and_resumed(driver, places, programs, data, scenes, output):
    app = driver.app
    begin(driver, places, data)
    driver.until(lambda: programs.calls)
    programs.event("stage", stage="teacher", step=0, steps=200)
    driver.until(lambda: app.making.training.stage == "teacher")
    (output.with_suffix(".training") / "progress.safetensors").touch()
    app.making.stop_training()
    assert app.making.status == "Training stops, keeping its progress"
    driver.until(lambda: not app.making.training_runs)
    assert app.making.training.child.state == "stopped"
    assert said(driver)[-1].startswith("Training stopped; its progress is kept in")
    app.making.forget()
    driver.drop_files(data)  # which finds what it has left
    driver.steps(3)
    driver.click(*places.at("Resume###do train"))
    driver.until(lambda: len(programs.calls) == 2)
    assert programs.calls[1] == programs.calls[0]
    app.making.stop_training()
    driver.until(lambda: not app.making.training_runs)
    app.making.resume()
    driver.until(lambda: len(programs.calls) == 3)
    app.making.stop_training()
    driver.until(lambda: not app.making.training_runs)


@pytest.mark.slow
def test_the_panel_stops_resumes_and_forgets(driver, places, programs, data, output):
    app = driver.app
    begin(driver, places, data)
    driver.until(lambda: programs.calls)
    programs.event("stage", stage="teacher", step=0, steps=200)
    driver.until(lambda: app.making.training.stage == "teacher")
    to_the_section(driver, places, "Stop##training")
    driver.click(*places.at("Stop##training"))
    driver.until(lambda: not app.making.training_runs)
    driver.steps(2)
    driver.click(*places.at("Resume"))
    driver.until(lambda: len(programs.calls) == 2)
    driver.click(*places.at("Stop##training"))
    driver.until(lambda: not app.making.training_runs)
    driver.steps(2)
    driver.click(*places.at("Forget"))
    assert app.making.training is None


def to_the_section(driver, places, label):
    """Scroll the panel to its end."""
    driver.move(800, 500)
    for _ in range(100):
        driver.xdotool("click", 5)
    driver.steps(5)
    places.places.clear()
    driver.steps(2)
    assert label in places.places


def test_a_training_that_fails_is_one_line(driver, places, programs, data):
    begin(driver, places, data)
    driver.until(lambda: programs.calls)
    programs.say("kilonerf-train: note: something")
    programs.say("kilonerf-train: error: photos: expected 3 channels, got 2")
    programs.end(2)
    driver.until(lambda: not driver.app.making.training_runs)
    assert said(driver)[-1] == "Training failed: photos: expected 3 channels, got 2"
    assert driver.app.notices.log[-1].kind == "error"


@pytest.mark.slow
def test_another_scene_that_is_open_stays_open_while_training_goes_on(driver, places, programs, data, scenes, output):
    """The user looked on, and then opened something else: snapshots do not take the picture away."""
    app = driver.app
    begin(driver, places, data)
    driver.until(lambda: programs.calls)
    programs.copy(scenes[0], "view.knf")
    programs.event("snapshot", stage="distillation", step=1)
    driver.until(lambda: app.scene_path == output)
    app.open_scene(scenes[1])
    driver.until(lambda: app.scene_path == scenes[1])
    programs.event("snapshot", stage="distillation", step=2)
    driver.until(lambda: app.making.training.snapshots == 2)
    driver.settle()
    assert app.scene_path == scenes[1]
    assert app.making.can_show
    app.making.show_now()
    driver.until(lambda: app.scene_path == output)
    assert not app.making.can_show
    app.making.stop_training()
    driver.until(lambda: not app.making.training_runs)


@pytest.mark.slow
def test_closing_the_window_asks_what_becomes_of_the_training(toy_scene, tmp_path, places, programs, data, output):
    with Driver(tmp_path, toy_scene) as driver:
        app = driver.app
        run = begin(driver, places, data)
        driver.until(lambda: programs.calls)
        app.window.ask_to_close()
        assert not app.leaving()
        driver.steps(3)
        driver.click(*places.at("Stay##leaving"))
        assert not app.leaving()
        assert not app.making._leave_dialog.is_open
        app.window.ask_to_close()
        assert not app.leaving()
        driver.steps(3)
        driver.click(*places.at("Let it go on"))
        assert app.leaving()
        close, parting = app.close, []
        app.close = lambda: parting.append(close()) or ""
    assert f"training goes on as process {run.child.pid}" in parting[0]
    assert run.child._runs()
    with Driver(tmp_path, toy_scene) as driver:  # another run of the program
        app = driver.app
        places.places.clear()
        followed = begin(driver, places, data)
        assert "Follow it###do train" in places.places
        assert len(programs.calls) == 1  # no second trainer
        assert followed.child.pid == run.child.pid
        programs.event("stage", stage="teacher", step=5, steps=200)
        driver.until(lambda: followed.step == 5)
        app.window.ask_to_close()
        assert not app.leaving()
        app.window.ask_to_close()
        assert app.leaving()  # twice: stop it
        close, parting = app.close, []
        app.close = lambda: parting.append(close()) or ""
    assert f"its progress is kept in {output.with_suffix('.training')}; kilonerf-train {data}" in parting[0]
    end = time.monotonic() + 60
    while run.child._runs() and time.monotonic() < end:
        time.sleep(0.01)
    assert not run.child._runs()
    assert TrainingPlan(data, output).running is None


def test_without_torch_one_line_says_what_to_install(driver, places, monkeypatch, data):
    monkeypatch.setattr(train_dialog, "is_installed", lambda library: False)
    shown = []
    monkeypatch.setattr(train_dialog.widgets, "paragraph", lambda text, color=None: shown.append(text))
    driver.drop_files(data)
    driver.steps(3)
    assert train_dialog.MISSING in shown
    driver.click(*places.at("Train###do train"))
    assert driver.app.making.training is None


@pytest.mark.slow
def test_a_checkpoint_is_imported_and_the_picture_goes_on(driver, places, programs, scenes, tmp_path):
    app = driver.app
    for name in ("checkpoint.pth", "occupancy.pth", "bbox.txt"):
        (tmp_path / name).touch()
    driver.drop_files(tmp_path / "checkpoint.pth")
    driver.steps(3)
    driver.click(*places.at("Import##do it"))
    driver.until(lambda: programs.calls)
    files = ["--occupancy", str(tmp_path / "occupancy.pth"), "--bbox", str(tmp_path / "bbox.txt")]
    output = tmp_path / "checkpoint.knf"
    assert programs.calls == [
        ["import_checkpoint", str(tmp_path / "checkpoint.pth"), *files, "-o", str(output), "--json"]
    ]
    programs.event("step", stage="reading the checkpoint", step=1, steps=4)
    driver.until(lambda: app.making.importing.share == 0.25)
    assert app.making.status == "Importing checkpoint.pth: reading the checkpoint"
    before = app.navigator.matrix()
    driver.drag((250, 300), (400, 340))  # no dialog is in the way
    assert not np.allclose(app.navigator.matrix(), before)
    programs.copy(scenes[0])
    programs.event("done", scene=str(output))
    programs.end(0)
    driver.until(lambda: app.scene_path == output)
    assert shows(driver, scenes[0])
    assert f"Imported: {output}" in said(driver)
    assert app.making.importing is None


@pytest.mark.slow
def test_an_import_that_fails_asks_again_with_one_line(driver, places, programs, tmp_path):
    app = driver.app
    (tmp_path / "checkpoint.pth").touch()
    driver.drop_files(tmp_path / "checkpoint.pth")
    driver.steps(3)
    driver.click(*places.at("Import##do it"))  # without its files
    driver.steps(3)
    assert app.making._import_dialog._error == "occupancy.pth: expected the checkpoint's own, got none: choose it"
    assert programs.calls == []
    plan = app.making._import_dialog._plan
    app.making._import_dialog._plan = replace(
        plan, occupancy="a", box="b", resolution="4 4 4", near=" 2 ", samples="64"
    )
    driver.steps(2)
    driver.click(*places.at("Import##do it"))
    driver.until(lambda: programs.calls)
    assert programs.calls[0][-9:] == ["--resolution", "4", "4", "4", "--near", "2", "--samples", "64", "--json"]
    programs.say("kilonerf-import: error: b: expected six numbers, got none")
    programs.end(2)
    driver.until(lambda: app.making.importing is None)
    assert said(driver)[-1] == "Import failed: b: expected six numbers, got none"
    driver.steps(3)
    assert app.making._import_dialog._error == "b: expected six numbers, got none"
    assert app.making._import_dialog._plan.resolution == "4 4 4"


def test_an_import_is_cancelled(driver, places, programs, tmp_path):
    for name in ("checkpoint.pth", "occupancy.pth", "bbox.txt"):
        (tmp_path / name).touch()
    driver.drop_files(tmp_path / "checkpoint.pth")
    driver.steps(3)
    driver.click(*places.at("Import##do it"))
    driver.until(lambda: programs.calls)
    pid = driver.app.making.importing.child.pid
    driver.app.making.cancel_import()
    assert driver.app.making.importing is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    assert not (tmp_path / "checkpoint.knf").exists()


@pytest.mark.slow
def test_a_file_is_chosen_over_the_dialog(driver, places, programs, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name in ("checkpoint.pth", "elsewhere/other.pth"):
        (tmp_path / name).touch()
    driver.drop_files(tmp_path / "checkpoint.pth")
    driver.steps(3)
    driver.click(*places.at("...##Occupancy"))
    driver.steps(3)
    fields = driver.app.making._import_dialog._fields
    assert fields._browser.is_open
    fields._browser._go(tmp_path / "elsewhere")
    driver.steps(2)
    driver.press("Down")
    driver.press("Return")
    driver.steps(3)
    assert not fields._browser.is_open
    assert driver.app.making._import_dialog._plan.occupancy == str(tmp_path / "elsewhere" / "other.pth")
    driver.click(*places.at("...##Save as"))
    driver.steps(3)
    fields._browser._go(tmp_path / "elsewhere")
    driver.steps(2)
    driver.click(*places.at("Use this folder"))
    driver.steps(2)
    plan = driver.app.making._import_dialog._plan
    assert Path(plan.output) == tmp_path / "elsewhere" / "checkpoint.knf"
    driver.press("Escape")
    driver.steps(2)
    assert driver.app.making.importing is None
