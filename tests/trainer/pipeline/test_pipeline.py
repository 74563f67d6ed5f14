"""All stages on a scene that is a formula: quality, resuming, threads, processes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
import torch

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure import metrics
from kilonerf.model_io import CheckpointError, Scene, TrainingError, load_kilonerf_scene, save_scene
from kilonerf.model_io.datasets import load_splits
from kilonerf.trainer.data.bounds import find_bounds
from kilonerf.trainer.data.photos import Photos
from kilonerf.trainer.loop.distributed import World
from kilonerf.trainer.loop.schedule import learning_rate
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.pipeline import stage_loop as run_module
from kilonerf.trainer.pipeline.observers import Observer
from kilonerf.trainer.pipeline.pipeline import Training
from kilonerf.trainer.pipeline.subject import Subject
from kilonerf.trainer.settings import STAGES, OccupancySettings, TrainingSettings
from kilonerf.trainer.stages.distillation import DistillationSettings
from kilonerf.trainer.stages.fine_tuning import FineTuningSettings
from kilonerf.trainer.stages.student import Student
from kilonerf.trainer.teachers.grid import GridSettings
from support.analytic_scene import photo, write_outdoors, write_photos
from support.photo_sets import ring

pytestmark = pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")

SETTINGS = TrainingSettings(
    grid=GridSettings(resolution=32, steps=(60, 60, 60, 60), rays=1024),
    occupancy=OccupancySettings(cells=4, factor=8),
    distillation=DistillationSettings(steps=200, points=128),
    fine_tuning=FineTuningSettings(steps=500, rays=1024),
)
SHORT = replace(
    SETTINGS,
    grid=GridSettings(resolution=16, steps=(12, 12, 12, 12), rays=256),
    occupancy=replace(SETTINGS.occupancy, threshold=1.0),
    distillation=DistillationSettings(steps=6, points=32),
    fine_tuning=FineTuningSettings(steps=6, rays=128, refresh_every=4),
)


class KilledError(Exception):
    """Simulates the end of the process."""


class Killer(Observer):
    """Ends everything after some step of some stage."""

    def __init__(self, stage: str, after: int) -> None:
        self.stage, self.after = stage, after

    def step(self, stage: str, step: int, metrics: Mapping[str, float], rays: int, samples: int) -> None:
        if (stage, step) == (self.stage, self.after):
            raise KilledError


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = write_photos(tmp_path_factory.mktemp("balls"))
    (dataset,) = load_splits(folder, ("train",))
    photos = Photos(dataset.views)
    return Subject(dataset, photos, find_bounds(dataset, photos), "balls")


def train(
    subject: Subject,
    settings: TrainingSettings,
    folder: Path,
    observer: Observer | None = None,
    last: str = STAGES[-1],
    interrupted: Callable[[], bool] = lambda: False,
) -> Student:
    folder.mkdir(exist_ok=True)
    training = Training(
        subject, settings, folder, world=World(), observer=observer or Observer(), interrupted=interrupted
    )
    student = training.run(last)
    assert student is not None
    return student


def psnr(scene: Scene) -> float:
    """Mean over views that were not trained on."""
    renderer, options = create_renderer(scene), RenderOptions.as_trained(scene)
    values = []
    for camera in ring(7, 48, 48, distance=3.8):
        rgba = photo(camera).astype(np.float64) / 255
        expected = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
        values.append(metrics.psnr(renderer.render(camera, options).rgb.clip(0, 1), expected))
    return float(np.mean(values))


def test_every_stage_makes_the_scene_better(subject: Subject, tmp_path: Path) -> None:
    untrained = replace(
        SETTINGS,
        distillation=replace(SETTINGS.distillation, steps=0),
        fine_tuning=replace(SETTINGS.fine_tuning, steps=0),
    )
    nothing = psnr(train(subject, untrained, tmp_path / "nothing").to_scene())
    distilled = psnr(train(subject, SETTINGS, tmp_path / "all", last="distillation").to_scene())
    student = train(subject, SETTINGS, tmp_path / "all")
    finished = psnr(student.to_scene())
    assert nothing < 20 < 26 < distilled < finished
    assert finished > 29.5
    path = tmp_path / "balls.knf"
    save_scene(student.to_scene(np.float16), path)
    assert psnr(load_kilonerf_scene(path)) > finished - 0.1
    assert 0.02 < student.cells.occupancy.mean() < 0.3


@pytest.mark.parametrize(
    ("stage", "after"),
    [("teacher", 11), ("teacher", 12), ("teacher", 30), ("distillation", 0), ("distillation", 5), ("fine-tuning", 4)],
)
def test_a_killed_and_resumed_run_equals_an_unbroken_one(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, after: int
) -> None:
    unbroken = train(subject, SHORT, tmp_path / "unbroken")
    monkeypatch.setattr(run_module, "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(run_module, "_SAVE_SHARE", 0.0)
    with pytest.raises(KilledError):
        train(subject, SHORT, tmp_path / "broken", Killer(stage, after))
    resumed = train(subject, SHORT, tmp_path / "broken")
    assert torch.equal(resumed.networks.rows, unbroken.networks.rows)
    assert np.array_equal(resumed.cells.occupancy, unbroken.cells.occupancy)
    assert not (tmp_path / "broken" / "progress.safetensors").exists()


def test_an_interrupted_run_saves_where_it_is(subject: Subject, tmp_path: Path) -> None:
    asked = 0

    def interrupted() -> bool:
        nonlocal asked
        asked += 1
        return asked == 7

    with pytest.raises(KeyboardInterrupt):
        train(subject, SHORT, tmp_path / "run", interrupted=interrupted)
    assert (tmp_path / "run" / "progress.safetensors").is_file()
    begun = []

    class Begun(Observer):
        def begin(self, stage: str, step: int, steps: int) -> None:
            begun.append((stage, step))

    resumed = train(subject, SHORT, tmp_path / "run", Begun())
    assert begun[0] == ("teacher", 7)
    assert torch.equal(resumed.networks.rows, train(subject, SHORT, tmp_path / "other").networks.rows)


def test_results_do_not_depend_on_threads(subject: Subject, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    rows = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            rows.append(train(subject, SHORT, tmp_path / str(threads)).networks.rows)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(rows[0], rows[1])


def test_another_seed_gives_another_scene(subject: Subject, tmp_path: Path) -> None:
    first = train(subject, SHORT, tmp_path / "first").networks.rows
    other = train(subject, replace(SHORT, seed=1), tmp_path / "other").networks.rows
    assert first.shape != other.shape or not torch.equal(first, other)


def test_files_of_another_training_are_refused(subject: Subject, tmp_path: Path) -> None:
    train(subject, SHORT, tmp_path / "run")
    other = replace(SHORT, distillation=replace(SHORT.distillation, steps=7))
    with pytest.raises(
        TrainingError, match=r"distillation.safetensors: settings.distillation.steps: expected 7, got 6"
    ):
        train(subject, other, tmp_path / "run")
    longer = replace(SHORT, fine_tuning=replace(SHORT.fine_tuning, steps=7))
    with pytest.raises(TrainingError, match=r"fine-tuning.safetensors: settings.fine_tuning.steps: expected 7, got 6"):
        train(subject, longer, tmp_path / "run")


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_damaged_files_are_named(subject: Subject, tmp_path: Path, damage: bytes | None) -> None:
    folder = tmp_path / "run"
    train(subject, SHORT, folder, last="occupancy")
    path = folder / "occupancy.safetensors"
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(CheckpointError, match=r"occupancy\.safetensors"):
        train(subject, SHORT, folder)


@pytest.mark.slow
@pytest.mark.parametrize("of", ["an object", "a place under the sky"])
def test_two_processes_equal_one(subject: Subject, tmp_path: Path, of: str) -> None:
    """Networks and rays are shared out; sums of gradients round otherwise, and nothing else differs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    source = subject.dataset.views[0].image_path
    assert source is not None
    data, more = source.parent.parent, dict[str, tuple[float, ...]]()
    if of == "a place under the sky":
        data, more = write_outdoors(tmp_path / "data"), {"--grid.least-weights": (0.0, 0.0, 0.0, 0.0)}
    options = {
        "--grid.resolution": [16],
        "--grid.steps": SHORT.grid.steps,
        "--grid.rays": [256],
        "--occupancy.cells": [4],
        "--occupancy.factor": [8],
        "--occupancy.threshold": [0.1 if more else 1.0],
        "--distillation.steps": [6],
        "--distillation.points": [32],
        "--fine-tuning.steps": [6],
        "--fine-tuning.rays": [128],
        "--fine-tuning.refresh-every": [4],
        "--preview-every": [0],
        "--dtype": ["float32"],
        **more,
    }
    words = [str(word) for name, values in options.items() for word in (name, *values)]
    scenes = []
    for size in (1, 2):
        output = tmp_path / f"{size}.knf"
        command = [sys.executable, "-m", "kilonerf.commands.train", str(data), "-o", str(output), *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # and the rest as torchrun has it
        if size > 1:
            environment |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            environment |= {"GLOO_SOCKET_IFNAME": "lo"}
        processes = [
            subprocess.Popen(command, env=environment | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
            for rank in range(size)
        ]
        try:
            for process in processes:
                _, said = process.communicate(timeout=300)
                assert process.returncode == 0, said
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        scenes.append(load_kilonerf_scene(output))
    one, two = scenes
    for level, other in zip(one.levels, two.levels, strict=True):
        assert np.array_equal(level.occupancy, other.occupancy)
    assert (one.sky is not None) == bool(more)
    assert one.sky is None or np.array_equal(one.sky, two.sky)  # pyright: ignore[reportArgumentType]
    for name, layer in one.layers.items():
        assert np.allclose(layer, two.layers[name], rtol=0, atol=2e-3), name


def test_settings_of_a_stage_are_those_that_decide_it() -> None:
    assert "fine_tuning" not in SETTINGS.document("distillation")
    assert "distillation" in SETTINGS.document("distillation")
    assert "nerf" not in SETTINGS.document("teacher")
    json.dumps(TrainingSettings.preset("paper").document("fine-tuning"), allow_nan=False)


def test_the_papers_schedule_is_that_of_its_configuration() -> None:
    """cfgs/paper/distill and cfgs/paper/finetune/Synthetic_NeRF_Chair.yaml of the original code."""
    paper = TrainingSettings.preset("paper")
    assert (paper.teacher, paper.occupancy.num_samples) == ("nerf", 384)
    assert (paper.distillation.steps, paper.distillation.points) == (150_000, 128)
    tuning = paper.fine_tuning
    assert (tuning.steps, tuning.rays, tuning.view_dependent_l2) == (1_000_000, 8192, 1e-6)
    halfway = learning_rate(500_000, tuning.steps, tuning.learning_rate, tuning.last_learning_rate)
    assert (tuning.learning_rate, halfway) == (1e-3, pytest.approx(1e-4))
