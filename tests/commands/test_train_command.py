"""kilonerf-train from its command line to the scene."""

import functools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="training needs torch")
from kilonerf.commands import train as train_command
from kilonerf.model_io import import_checkpoint, load_kilonerf_scene
from kilonerf.model_io.files.lock import FileLock
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.settings import PRESETS

SMALL = (
    *("--grid.resolution", 16, "--grid.steps", 12, 12, 12, 12, "--grid.rays", 256, "--occupancy.cells", 4),
    *("--occupancy.factor", 8, "--occupancy.threshold", 1, "--distillation.steps", 6, "--distillation.points", 32),
    *("--fine-tuning.steps", 6, "--fine-tuning.rays", 128, "--preview-every", 0),
)
needs_extension = pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")


@pytest.fixture
def call(call_command):
    return functools.partial(call_command, train_command.main)


@needs_extension
def test_photos_become_a_scene_and_the_original_layout(call, photos, tmp_path) -> None:
    output, original = tmp_path / "balls.knf", tmp_path / "original"
    code, printed, said = call(photos, "-o", output, *SMALL, "--export-original", original, "--preview-every", 1e-6)
    assert code == 0, said
    assert f"{output}: " in printed
    scene = load_kilonerf_scene(output)
    assert scene.dtype == np.float16
    assert scene.training_poses is not None
    assert len(scene.training_poses) == 12
    assert scene.provenance["made_by"] == "kilonerf-train"
    assert scene.resolution == tuple(np.clip(scene.resolution, 1, 4))
    again = import_checkpoint(
        original / "finetune" / "checkpoint_final.pth",
        occupancy=original / "occupancy.pth",
        bbox=original / "bbox.txt",
        dtype="float32",
    )
    assert np.array_equal(again.occupancy, scene.occupancy)
    for name, layer in scene.layers.items():
        assert np.array_equal(again.layers[name].astype(np.float16), layer), name
    previews = sorted((tmp_path / "balls.training" / "previews").glob("*.png"))
    assert previews
    with Image.open(previews[-1]) as picture:
        assert picture.size == (64, 96)  # photo beside rendering, three views
    before = {path.name: path.read_bytes() for path in (tmp_path / "balls.training").glob("*.safetensors")}
    assert set(before) == {f"{stage}.safetensors" for stage in ("teacher", "occupancy", "distillation", "fine-tuning")}
    written = output.read_bytes()
    assert call(photos, "-o", output, *SMALL)[0] == 0  # everything is there already
    assert output.read_bytes() == written
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "balls.training").glob("*.safetensors")}


@needs_extension
def test_a_program_can_follow_by_events_and_snapshots(call, photos, tmp_path) -> None:
    output, folder = tmp_path / "balls.knf", tmp_path / "balls.training"
    code, printed, said = call(photos, "-o", output, *SMALL, "--json", "--snapshots", "--preview-every", 1e-6)
    assert (code, said) == (0, "")
    events = [json.loads(line) for line in printed.splitlines()]
    stages = [(event["stage"], event["steps"]) for event in events if event["event"] == "stage"]
    assert stages == [("teacher", 48), ("occupancy", 1), ("distillation", 6), ("fine-tuning", 6)]
    steps = {event["stage"]: event for event in events if event["event"] == "step"}
    assert steps["teacher"]["step"] == 48  # the last one is always said
    assert steps["fine-tuning"]["psnr"] > 3.0
    assert steps["fine-tuning"]["seconds_left"] == 0.0
    snapshots = [event for event in events if event["event"] == "snapshot"]
    assert {event["stage"] for event in snapshots} == {"distillation", "fine-tuning"}
    assert snapshots[-1]["file"] == str(folder / "view.knf")
    assert load_kilonerf_scene(folder / "view.knf").dtype == np.float32
    previews = [event["psnr"] for event in events if event["event"] == "preview"]
    assert previews
    assert all(psnr > 3.0 for psnr in previews)
    messages = [event["text"] for event in events if event["event"] == "message"]
    assert any("voxels occupied" in text for text in messages)
    assert events[-1]["event"] == "done"
    assert (events[-1]["scene"], events[-1]["bytes"]) == (str(output), output.stat().st_size)
    assert not (folder / "lock").exists()


@needs_extension
def test_one_program_at_a_time_trains_in_a_folder(call, photos, tmp_path) -> None:
    output, folder = tmp_path / "balls.knf", tmp_path / "balls.training"
    folder.mkdir()
    (folder / "teacher.safetensors").touch()
    lock = FileLock.take(folder / "lock")
    assert lock is not None
    code, _, said = call(photos, "-o", output, *SMALL, "--restart-from", "teacher")
    assert code == 2
    assert f"{folder}: expected a folder that no other program works in, got process {os.getpid()}" in said
    assert (folder / "teacher.safetensors").exists()  # nothing was forgotten
    lock.release()


@pytest.mark.slow
@needs_extension
def test_stages_can_be_run_one_by_one_and_anew(call, photos, tmp_path) -> None:
    output, folder = tmp_path / "balls.knf", tmp_path / "elsewhere"
    words = (photos, "-o", output, *SMALL, "--folder", folder)
    assert call(*words, "--stage", "teacher")[0] == 0
    assert [path.name for path in folder.iterdir()] == ["teacher.safetensors"]
    assert not output.exists()
    assert call(*words, "--stage", "distillation")[0] == 0
    distilled = load_kilonerf_scene(output).layers["rgb_linear.bias"].copy()
    assert call(*words)[0] == 0
    assert not np.array_equal(load_kilonerf_scene(output).layers["rgb_linear.bias"], distilled)
    code, _, said = call(*words, "--distillation.steps", 7)
    assert code == 2
    assert "settings.distillation.steps: expected 7, got 6" in said
    assert call(*words, "--distillation.steps", 7, "--restart-from", "distillation")[0] == 0


@needs_extension
def test_background_depths_and_streamed_photos(call, photos, tmp_path) -> None:
    output = tmp_path / "balls.knf"
    more = ("--background", 0, 0.5, 1, "--near", 2.5, "--far", 5.5, "--memory", 0, "--box", -1, -1, -1, 1, 1, 1)
    code, _, said = call(photos, "-o", output, *SMALL, *more)
    assert code == 0, said
    assert "box -1 -1 -1 to 1 1 1, from the command line" in said
    scene = load_kilonerf_scene(output)
    assert scene.background == (0.0, 0.5, 1.0)
    assert (scene.near, scene.far) == (2.5, 5.5)


@needs_extension
def test_a_scene_can_be_the_teacher(call, photos, tmp_path) -> None:
    assert call(photos, "-o", tmp_path / "first.knf", *SMALL)[0] == 0
    teacher = tmp_path / "first.knf"
    code, _, said = call(photos, "-o", tmp_path / "second.knf", *SMALL, "--teacher", teacher, "--occupancy.cells", 3)
    assert code == 0, said
    assert max(load_kilonerf_scene(tmp_path / "second.knf").resolution) == 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--preset", "slow"], "--preset"),
        (["--fine-tuning.rays", "0"], "--fine-tuning.rays: expected at least 1, got 0"),
        (["--fine-tuning.learning-rate", "nan"], "--fine-tuning.learning-rate: expected more than 0, got nan"),
        (["--distillation.steps", "-1"], "--distillation.steps: expected at least 0, got -1"),
        (["--units", "33"], "--units: expected 1 to 32, got 33"),
        (["--background", "0", "2", "0"], "--background: expected numbers from 0 to 1"),
        (["--near", "5", "--far", "4"], "--near and --far: expected near below far, got 5.0 and 4.0"),
        (["--near", "50"], "near and far: expected near below far, got 50 and"),
        (["--memory", "-1"], "--memory: expected 0 or more GiB, got -1.0"),
        (["--teacher", "oracle"], "teacher: expected grid, nerf, a checkpoint (.pth) or a scene (.knf), got 'oracle'"),
        (["--teacher", "missing.knf"], "missing.knf"),
        (["--threads", "0"], "--threads: expected 1 to 1024, got 0"),
        (["--device", "toaster"], "--device: expected auto, cpu or cuda, got 'toaster'"),
        (["--box", *"000000"], "--box: expected a lower corner below the upper one"),
        (["--split", "val"], "transforms_val.json"),
        (["-o", "missing/scene.knf"], "missing/scene.knf: expected an existing folder"),
        (["-o", "scene.txt"], "scene.txt: expected a name that ends in .knf"),
        (["--export-original", "."], "expected a new or an empty folder"),
        (["--downscale", "64"], "expected at least 64 pixels"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    call, photos, tmp_path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    code, printed, said = call(photos, "-o", "scene.knf", *SMALL, *words)
    assert (code, printed) == (2, "")
    assert expected in said.replace("\n", " ")
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_missing_data_set_is_one_line(call, tmp_path) -> None:
    code, _, said = call(tmp_path / "nothing", "-o", tmp_path / "scene.knf")
    assert code == 2
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_presets_are_the_defaults_of_the_other_options(call) -> None:
    for preset, settings in PRESETS.items():
        _, printed, _ = call("--preset", preset, "--help")
        help_text = " ".join(printed.split())
        assert f"default: {settings.fine_tuning.steps}" in help_text, preset
        settings.check()


@needs_extension
def test_an_interrupted_command_goes_on(photos, tmp_path) -> None:
    """Ctrl-C in the middle of fine-tuning: one line, exit code 130, progress on disk; the same command goes on."""
    output = tmp_path / "balls.knf"
    words = [str(word) for word in (*SMALL, "--fine-tuning.steps", 100_000)]
    program = (
        "import signal, torch; signal.signal(signal.SIGINT, signal.default_int_handler); torch.set_num_threads(1); "
        "from kilonerf.commands.train import main; main()"
    )
    command = [sys.executable, "-c", program, str(photos), "-o", str(output), *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"})
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("fine-tuning"):
            break
    time.sleep(0.5)  # some steps; how many does not matter
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "kilonerf-train: interrupted"
    assert not output.exists()
    progress = (tmp_path / "balls.training" / "progress.safetensors").read_bytes()
    length = int.from_bytes(progress[:8], "little")
    document = json.loads(json.loads(progress[8 : 8 + length])["__metadata__"]["kilonerf-training"])
    assert document["stage"] == "fine-tuning"
    assert 0 < document["step"] < 100_000
