"""kilonerf-compress from its command line to the small scene."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
from kilonerf.commands import compress as compress_command
from kilonerf.commands.command_line import parse_bytes
from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure.evaluation import evaluate, mean_result
from kilonerf.model_io import KiloNeRFScene, UsageError, load_kilonerf_scene, load_partial_scene, save_scene
from kilonerf.model_io.datasets import load_dataset
from kilonerf.model_io.knf.safetensors_reader import read_index
from kilonerf.model_io.scene.facts import file_facts
from kilonerf.trainer.ops.native import extension
from support.analytic_scene import write_photos
from support.scenes import random_scene

pytestmark = pytest.mark.slow

QUICK = ("--steps", 3, "--rays", 64, "--survey-steps", 2, "--pictures", 3, "--views", 2)
needs_extension = pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")


@pytest.fixture
def call(call_command):
    return functools.partial(call_command, compress_command.main)


@pytest.fixture(scope="module")
def scene_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.knf"
    save_scene(random_scene(resolution=(3, 3, 3), dropped=0.3), path, np.float16)
    return path


@needs_extension
@pytest.mark.parametrize("steps", [0, 3])
def test_a_scene_becomes_a_file_of_the_wanted_size(call, scene_path: Path, tmp_path: Path, steps: int) -> None:
    output = tmp_path / "small.knf"
    code, printed, said = call(scene_path, "-o", output, "--size", "60kB", *QUICK, "--steps", steps)
    assert code == 0, said
    assert 0.9 * 60_000 < output.stat().st_size <= 60_000
    assert f"{output}: 0.0" in printed
    assert "dB against the scene's own pictures in 2 views" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["small.knf"]  # what it needed to go on is gone
    small, scene = load_kilonerf_scene(output), load_kilonerf_scene(scene_path)
    assert file_facts(output)["version"] == 4
    assert np.array_equal(small.occupancy, scene.occupancy)
    assert small.start_camera == scene.start_camera


@needs_extension
def test_more_bits_are_more_like_the_scene(call, scene_path: Path, tmp_path: Path) -> None:
    decibels = []
    for bits in (2, 6):
        code, printed, said = call(scene_path, "-o", tmp_path / "a.knf", "--bits", bits, *QUICK, "--steps", 0)
        assert code == 0, said
        assert bits - 0.2 < float(printed.split(" bits a weight")[0].split()[-1]) <= bits
        decibels.append(float(printed.split(" dB against")[0].split()[-1]))
    assert decibels[1] > decibels[0] + 5


@needs_extension
def test_photos_are_learnt_through_the_rounding(call, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "balls", views=6, size=24)
    scene = tmp_path / "scene.knf"
    save_scene(random_scene(resolution=(4, 4, 4), factor=(2, 2, 2), occupied=0.7, dropped=0.0), scene)
    words = (scene, "-o", tmp_path / "a.knf", "--bits", 3, "--photos", photos, *QUICK)
    found = {}
    faster = ("--rays", 512, "--learning-rate", 0.1, "--last-learning-rate", 0.1)
    for steps in (0, 40):
        code, printed, said = call(*words, *faster, "--steps", steps)
        assert code == 0, said
        found[steps] = float(printed.split(" dB instead of ")[0].split()[-1])
    assert found[40] > found[0] + 0.5


@needs_extension
def test_a_coarse_level_of_detail_is_learnt_and_seen_in_front(call, tmp_path: Path) -> None:
    photos, output = write_photos(tmp_path / "balls", views=6, size=24), tmp_path / "a.knf"
    scene = tmp_path / "scene.knf"
    save_scene(random_scene(resolution=(4, 4, 4), factor=(2, 2, 2), occupied=0.7, dropped=0.0), scene)
    words = (scene, "-o", output, "--size", "150kB", "--photos", photos, *QUICK, "--steps", 0, "--coarse-size", "20kB")
    few = ("--coarse.side", 2, "--coarse.rays", 512, "--coarse.learning-rate", 0.03, "--coarse.rounded-steps", 20)
    decibels = []
    views = load_dataset(photos, "train", photos=True).views
    for steps in (1, 150):
        code, _, said = call(*words, *few, "--coarse.steps", steps)
        assert code == 0, said
        data, facts = output.read_bytes(), file_facts(output)["compressed"]
        assert len(data) <= 150_000
        assert 0.8 * 20_000 < facts["coarse_bytes"] < 1.05 * 20_000
        spans = {span.name: span for span in read_index(data, len(data)).spans}
        (tmp_path / "cut.knf").write_bytes(data[: spans["coarse"].end])
        part = load_partial_scene(tmp_path / "cut.knf")
        assert (part.there, part.total, part.coarse) == (0, 64, True)
        assert isinstance(part.scene, KiloNeRFScene)
        renderer = create_renderer(part.scene, "cpu")
        decibels.append(mean_result(list(evaluate(renderer, views, RenderOptions.as_trained(part.scene)))).psnr)
    assert decibels[1] > decibels[0] + 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "--size, --bits: expected one of them, got neither"),
        (["--size", "1MB", "--bits", "3"], "--size, --bits: expected one of them, got both"),
        (["--size", "large"], "--size: expected a size such as 1MB or 500kB, got 'large'"),
        (["--size", "1kB"], "--size: expected more than"),
        (["--bits", "99"], "--bits: expected 0.02 to 10, got 99"),
        (["--bits", "nan"], "--bits: expected 0.02 to 10, got nan"),
        (["--bits", "3", "--steps", "-1"], "--steps: expected at least 0, got -1"),
        (["--bits", "3", "--coarse-size", "much"], "--coarse-size: expected a size such as 1MB or 500kB, got 'much'"),
        (["--bits", "3", "--coarse-size", "1kB"], "--coarse-size: expected 0, or 4000 bytes or more, got 1kB"),
        (["--size", "60kB", "--coarse-size", "31kB"], "--coarse-size: expected at most half of 60kB, got 31kB"),
        (["--bits", "3", "--coarse.steps", "0"], "--coarse.steps: expected at least 1, got 0"),
        (["--bits", "3", "--views", "-1"], "--views: expected 0 or more, got -1"),
        (["--bits", "3", "--downscale", "0"], "--downscale: expected 1 or more, got 0"),
        (["--bits", "3", "--photos", "nowhere"], "nowhere"),
        (["--bits", "3", "-o", "small.txt"], "small.txt: expected a name that ends in .knf"),
        (["--bits", "3", "-o", "missing/small.knf"], "missing/small.knf: expected an existing folder"),
        (["--bits", "3", "--device", "toaster"], "--device: expected auto, cpu or cuda, got 'toaster'"),
    ],
)
def test_bad_input_is_one_line(
    call, scene_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, printed, said = call(scene_path, "-o", "small.knf", *QUICK, *words)
    assert (code, printed) == (2, "")
    assert expected in said.replace("\n", " ")
    assert "Traceback" not in said
    assert not (tmp_path / "small.knf").exists()


def test_a_damaged_scene_is_one_line(call, tmp_path: Path) -> None:
    (tmp_path / "scene.knf").write_bytes(b"{" * 100)
    code, _, said = call(tmp_path / "scene.knf", "-o", tmp_path / "small.knf", "--bits", 3)
    assert code == 2
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "size"), [("1MB", 10**6), ("500kB", 500_000), ("0.5 MiB", 2**19), ("1234", 1234), (".5mb", 500_000)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1XB", "1e6", "1.2.3MB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="--size"):
        parse_bytes(text)


@needs_extension
def test_an_interrupted_command_goes_on_to_the_same_file(call, scene_path: Path, tmp_path: Path) -> None:
    coarse = ("--coarse-size", "12kB", "--coarse.steps", 5, "--coarse.rounded-steps", 5, "--coarse.rays", 64)
    words = [str(word) for word in (scene_path, "--size", "60kB", *QUICK, "--steps", 400, *coarse)]
    program = (
        "import signal, torch; signal.signal(signal.SIGINT, signal.default_int_handler); torch.set_num_threads(1); "
        "from kilonerf.commands.compress import main; main()"
    )
    command = [sys.executable, "-c", program, *words, "-o", str(tmp_path / "a.knf")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"})
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("fine-tuning"):
            break
    time.sleep(0.3)  # some steps; how many does not matter
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "kilonerf-compress: interrupted"
    assert not (tmp_path / "a.knf").exists()
    code, _, said = call(*words, "-o", tmp_path / "a.knf", "--rays", 65)
    assert code == 2
    assert "settings.rays: expected 65, got 64" in said
    for name in ("a", "b"):
        assert call(*words, "-o", tmp_path / f"{name}.knf")[0] == 0
    assert (tmp_path / "a.knf").read_bytes() == (tmp_path / "b.knf").read_bytes()
