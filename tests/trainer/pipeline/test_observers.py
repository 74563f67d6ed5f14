"""What a user sees while a scene is trained."""

import io
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.model_io import UsageError, View, load_kilonerf_scene
from kilonerf.trainer.pipeline import observers as module
from kilonerf.trainer.pipeline.observers import (
    Observer,
    Observers,
    PreviewObserver,
    ProgressObserver,
    TensorBoardObserver,
    ViewObserver,
)
from kilonerf.trainer.pipeline.rates import Rates, short
from support.scenes import random_scene, views

SCENE = random_scene(seed=8)


def view_with_photo(folder: Path, error: float) -> View:
    """A view whose photo is the scene's picture, brighter or darker by an error."""
    camera = replace(views(SCENE)["outside"], width=60, height=40, cx=30.0, cy=20.0)
    rgb = create_renderer(SCENE, "reference").render(camera, RenderOptions.as_trained(SCENE)).rgb.clip(0, 1)
    rgb = np.where(rgb > 0.5, rgb - error, rgb + error)
    Image.fromarray(np.rint(255 * rgb).astype(np.uint8)).save(folder / "photo.png")
    return View(camera, folder / "photo.png", "photo")


def test_progress_without_a_terminal_is_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    progress = ProgressObserver(Console(file=out, width=200, highlight=False))
    monkeypatch.setattr(module, "_PLAIN_EVERY", 0.0)
    progress.message("box 0 0 0 to 1 1 1 [bold]")
    progress.begin("fine-tuning", 20, 100)
    for step in range(20, 22):
        progress.step("fine-tuning", step, {"error": 0.001}, 1000, 8000)
    progress.end("fine-tuning", 100)
    progress.begin("distillation", 0, 5)
    progress.step("distillation", 0, {"alpha error": 0.25, "colour error": 0.5}, 0, 100)
    progress.close()
    lines = out.getvalue().splitlines()
    assert lines[:2] == ["box 0 0 0 to 1 1 1 [bold]", "fine-tuning: step 20 of 100"]
    assert lines[2].startswith("fine-tuning: step 21 of 100, 30.00 dB, ")
    assert "rays/s" in lines[3]
    assert lines[3].endswith("minutes left")
    assert lines[4].startswith("fine-tuning: done, 30.00 dB")
    assert lines[5] == "distillation: 5 steps"
    assert "alpha error 0.250, colour error 0.500" in lines[6]


def test_progress_on_a_terminal_is_a_bar() -> None:
    out = io.StringIO()
    progress = ProgressObserver(Console(file=out, width=160, force_terminal=True))
    progress.begin("teacher", 0, 10)
    progress.step("teacher", 9, {"error": 0.01}, 10, 20)
    progress.end("teacher", 10)
    assert "teacher" in out.getvalue()
    assert "100%" in out.getvalue()
    assert "20.00 dB" in out.getvalue()


def test_previews_are_photo_beside_rendering_now_and_then(tmp_path: Path) -> None:
    said, shown = [], []
    preview = PreviewObserver(
        [view_with_photo(tmp_path, 0.1)], tmp_path / "previews", 60.0, said.append, lambda *facts: shown.append(facts)
    )
    assert [preview.wants_snapshot(seconds) for seconds in (0, 59, 61, 100, 120, 122)] == [
        False, False, True, False, False, True,
    ]  # fmt: skip
    preview.snapshot("fine-tuning", 41, SCENE)
    (path,) = (tmp_path / "previews").iterdir()
    assert path.name == "fine-tuning_000042.png"
    with Image.open(path) as picture:
        pixels = np.asarray(picture).astype(float)
    assert pixels.shape == (40, 120, 3)
    assert np.abs(pixels[:, :60] - pixels[:, 60:]).mean() == pytest.approx(25.5, abs=1.0)
    assert said == [f"preview at step 42 of fine-tuning: {shown[0][3]:.2f} dB on 1 view"]
    assert shown[0][3] == pytest.approx(20.0, abs=0.1)


def test_photos_lie_on_the_background_of_the_scene(tmp_path: Path) -> None:
    Image.new("RGBA", (60, 40)).save(tmp_path / "clear.png")
    view = replace(view_with_photo(tmp_path, 0.0), image_path=tmp_path / "clear.png")
    preview = PreviewObserver([view], tmp_path / "previews", 60.0, lambda text: None)
    preview.snapshot("fine-tuning", 0, replace(SCENE, background=(1.0, 0.2, 0.0)))
    with Image.open(tmp_path / "previews" / "fine-tuning_000001.png") as picture:
        assert picture.getpixel((5, 5)) == (255, 51, 0)


def test_large_photos_are_made_smaller(tmp_path: Path) -> None:
    view = view_with_photo(tmp_path, 0.0)
    camera = replace(view.camera, width=900, height=601, fx=1000.0, fy=1000.0, cx=450.0, cy=300.0)
    small, photo = module.preview_size(camera, np.ones((601, 900, 3), np.float32))
    assert (small.width, small.height, small.fx, small.cx) == (300, 200, pytest.approx(333.33, abs=0.01), 150.0)
    assert photo.shape == (200, 300, 3)


def test_only_those_who_asked_get_the_scene() -> None:
    class Asking(Observer):
        def __init__(self, wants: bool) -> None:
            self.wants, self.got = wants, 0

        def wants_snapshot(self, seconds: float) -> bool:
            return self.wants

        def snapshot(self, stage: str, step: int, scene: object) -> None:
            self.got += 1

    asking = [Asking(True), Asking(False)]
    observers = Observers(asking)
    assert observers.wants_snapshot(3.0)
    observers.snapshot("fine-tuning", 1, SCENE)
    assert [one.got for one in asking] == [1, 0]
    assert not Observers([asking[1]]).wants_snapshot(3.0)


def test_the_viewer_is_opened_once_and_its_end_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    program = "import sys, pathlib; pathlib.Path(sys.argv[1] + '.opened').touch(); print('one'); sys.exit('no display')"
    viewer = ViewObserver(tmp_path / "view.knf", said.append, [sys.executable, "-c", program])
    assert viewer.wants_snapshot(0.0)
    viewer.snapshot("fine-tuning", 1, SCENE)
    assert np.array_equal(load_kilonerf_scene(tmp_path / "view.knf").occupancy, SCENE.occupancy)
    assert not viewer.wants_snapshot(1.0)  # too soon
    end = time.monotonic() + 60
    while not said and time.monotonic() < end:
        viewer.wants_snapshot(2.0)
        time.sleep(0.01)
    assert said == ["the viewer ended with code 1; training goes on: no display"]
    assert (tmp_path / "view.knf.opened").exists()
    assert not viewer.wants_snapshot(1000.0)
    viewer.close()


def test_a_closed_viewer_is_said_and_one_that_is_open_stays(tmp_path: Path) -> None:
    said: list[str] = []
    program = "import sys, pathlib, time\nwhile pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)"
    viewer = ViewObserver(tmp_path / "view.knf", said.append, [sys.executable, "-c", program])
    viewer.snapshot("fine-tuning", 1, SCENE)
    process = viewer._process
    assert process is not None
    viewer.snapshot("fine-tuning", 2, SCENE)
    assert viewer._process is process  # one window
    viewer.wants_snapshot(1.0)
    assert not said
    assert os.getsid(process.pid) != os.getsid(0)  # Ctrl-C does not reach it
    (tmp_path / "view.knf").unlink()
    process.wait(60)
    viewer.wants_snapshot(2.0)
    assert said == ["the viewer was closed; training goes on"]
    viewer.close()


def test_a_viewer_outlives_training(tmp_path: Path) -> None:
    program = "import sys, pathlib, time\nwhile pathlib.Path(sys.argv[1]).exists(): print('x', flush=True)"
    viewer = ViewObserver(tmp_path / "view.knf", lambda text: None, [sys.executable, "-c", program])
    viewer.snapshot("fine-tuning", 1, SCENE)
    process = viewer._process
    assert process is not None
    viewer.close()
    assert process.poll() is None
    (tmp_path / "view.knf").unlink()
    assert process.wait(60) == 0  # what it wrote meanwhile went somewhere


def test_the_last_state_of_a_stage_is_asked_for(tmp_path: Path) -> None:
    observers = [
        ViewObserver(tmp_path / "view.knf", lambda text: None, ["true"]),
        PreviewObserver([], tmp_path, 100.0, lambda text: None),
    ]
    for observer in observers:
        observer.begin("fine-tuning", 0, 3)
        wanted = []
        for step in range(3):
            observer.step("fine-tuning", step, {}, 1, 1)
            wanted.append(observer.wants_snapshot(1.0 + step))
        assert wanted[1:] == [False, True]
        observer.begin("fine-tuning", 0, 3)
        assert not observer.wants_snapshot(4.0)
        observer.close()


def test_training_goes_on_where_nothing_can_be_written(tmp_path: Path) -> None:
    said: list[str] = []
    view = view_with_photo(tmp_path, 0.1)
    preview = PreviewObserver([view], tmp_path / "missing" / "previews", 1.0, said.append)
    viewer = ViewObserver(tmp_path / "missing" / "view.knf", said.append, ["true"])
    for observer in (preview, viewer):
        observer.snapshot("fine-tuning", 1, SCENE)
        assert not observer.wants_snapshot(1000.0)
        observer.close()
    assert [text.split(":")[0] for text in said] == ["no more previews", "the viewer shows nothing new"]
    assert all("No such file or directory" in text for text in said)
    photo = PreviewObserver([replace(view, image_path=tmp_path / "gone.png")], tmp_path / "previews", 1.0, said.append)
    photo.snapshot("fine-tuning", 1, SCENE)
    assert said[2].startswith("no more previews: ")
    assert "gone.png" in said[2]
    assert not (tmp_path / "previews").exists()


def test_a_viewer_that_is_missing_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    viewer = ViewObserver(tmp_path / "view.knf", said.append, [str(tmp_path / "missing")])
    viewer.snapshot("fine-tuning", 1, SCENE)
    assert said == ["--view: cannot open the viewer: No such file or directory"]
    assert not viewer.wants_snapshot(1000.0)
    viewer.close()


def test_curves_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the package tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = TensorBoardObserver(tmp_path)
    curves.begin("fine-tuning", 0, 200)
    for step in range(101):
        curves.step("fine-tuning", step, {"error": 0.01}, 10, 20)
    curves.preview("fine-tuning", 100, np.zeros((4, 8, 3), np.uint8), 31.5)
    curves.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, round(event.value, 3)) for event in events.Scalars("fine-tuning/psnr")] == [
        (0, 20.0), (50, 20.0), (100, 20.0),
    ]  # fmt: skip
    assert {"fine-tuning/rays_per_second", "fine-tuning/preview_psnr"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["fine-tuning/preview"]


def test_tensorboard_that_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match="--tensorboard: expected the package tensorboard, got none"):
        TensorBoardObserver(tmp_path)


def test_errors_are_smoothed() -> None:
    rates = Rates()
    for error in (1.0, 1.0, 0.0):
        rates.add({"error": error}, 1, 1)
    assert rates.errors == {"error": pytest.approx(0.98)}


def test_rates_are_those_of_late() -> None:
    now = [100.0]
    rates = Rates(lambda: now[0])
    for seconds_a_step, rays in ((0.5, 10), (2.0, 1000)):
        for _ in range(200):
            now[0] += seconds_a_step
            rates.add({}, rays, 0)
    assert rates.per_second() == {"steps": pytest.approx(0.5), "rays": pytest.approx(500.0)}
    assert rates.steps == 400


def test_rates_in_few_letters() -> None:
    assert [short(value) for value in (0.5, 12.0, 12_345.0, 1.5e6, 2e9)] == [
        "0.500",
        "12.0",
        "12.3 k",
        "1.50 M",
        "2.00 G",
    ]
    assert [short(value) for value in (126.7, 999.4, 999.6, 999.6e3)] == ["127", "999", "1.00 k", "1.00 M"]
