"""Training of octree fields on a scene that is a formula: quality, resuming, and what is refused."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
import torch

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure import metrics
from kilonerf.model_io import OctreeScene, TrainingError, UsageError
from kilonerf.model_io.datasets import load_splits
from kilonerf.trainer.data.bounds import find_bounds
from kilonerf.trainer.data.photos import Photos
from kilonerf.trainer.loop.distributed import World
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.pipeline import stage_loop as run_module
from kilonerf.trainer.pipeline.observers import Observer
from kilonerf.trainer.pipeline.octree import OctreeFieldTraining
from kilonerf.trainer.pipeline.pipeline import Training
from kilonerf.trainer.pipeline.subject import Subject
from kilonerf.trainer.settings import OccupancySettings, TrainingSettings
from kilonerf.trainer.stages.octree_training import OctreeSettings
from kilonerf.trainer.teachers.grid import GridSettings
from support.analytic_scene import photo, write_photos
from support.photo_sets import ring

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes"),
]

SETTINGS = TrainingSettings(
    field="octree",
    grid=GridSettings(resolution=32, steps=(40, 40, 40, 40), rays=512),
    occupancy=OccupancySettings(cells=4, factor=8),
    octree=OctreeSettings(first_level=3, depth=5, steps=250, rays=512, details="drawn", refresh_every=20),
)
SHORT = replace(SETTINGS, octree=replace(SETTINGS.octree, steps=8, rays=128, refresh_every=3))


class KilledError(Exception):
    """Simulates the end of the process."""


class Killer(Observer):
    """Ends everything after some step of the field."""

    def __init__(self, after: int) -> None:
        self.after = after

    def step(self, stage: str, step: int, metrics: Mapping[str, float], rays: int, samples: int) -> None:
        if (stage, step) == ("field", self.after):
            raise KilledError


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = write_photos(tmp_path_factory.mktemp("balls"))
    (dataset,) = load_splits(folder, ("train",))
    photos = Photos(dataset.views)
    return Subject(dataset, photos, find_bounds(dataset, photos), "balls")


@pytest.fixture(scope="module")
def teacher(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher, of a training of networks: both kinds have the same one."""
    folder = tmp_path_factory.mktemp("teacher")
    Training(subject, replace(SETTINGS, field="networks"), folder, world=World(), observer=Observer()).run("teacher")
    return folder / "teacher.safetensors"


def train(
    subject: Subject, teacher: Path, settings: TrainingSettings, folder: Path, observer: Observer | None = None
) -> OctreeScene:
    folder.mkdir(exist_ok=True)
    shutil.copy(teacher, folder)
    training = OctreeFieldTraining(subject, settings, folder, world=World(), observer=observer or Observer())
    student = training.run_octree()
    assert student is not None
    return training.finished_octree(student)


def psnr(scene: OctreeScene) -> float:
    """Mean over views that were not trained on."""
    renderer, options = create_renderer(scene, "cpu"), RenderOptions.as_trained(scene)
    values = []
    for camera in ring(5, 48, 48, distance=3.8):
        rgba = photo(camera).astype(np.float64) / 255
        expected = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
        values.append(metrics.psnr(renderer.render(camera, options).rgb.clip(0, 1), expected))
    return float(np.mean(values))


def test_fields_learn_and_learnt_codes_are_better_than_k_means(subject: Subject, teacher: Path, tmp_path: Path) -> None:
    free = train(subject, teacher, SETTINGS, tmp_path / "free")
    assert [own.coding for own in free.features] == ["plain"] * 3
    assert psnr(free) > 25
    assert psnr(free.upto(4)) > 20  # levels of detail were learnt, too
    coded = {
        codes: train(
            subject,
            teacher,
            replace(SETTINGS, bits=2, octree=replace(SETTINGS.octree, codes=codes)),
            tmp_path / codes,
        )
        for codes in ("learned", "k-means")
    }
    for scene in coded.values():
        assert [(own.coding, own.bits) for own in scene.features] == [("codes", 2)] * 3
    assert psnr(coded["learned"]) > psnr(coded["k-means"]) + 0.5
    assert psnr(coded["learned"]) > 20


@pytest.mark.parametrize(("codes", "rank"), [("hash", 4), ("low-rank", 2)])
def test_baselines_are_trained(subject: Subject, teacher: Path, tmp_path: Path, codes: str, rank: int) -> None:
    octree = replace(SETTINGS.octree, codes=codes, rank=rank, hash_bits=6, steps=60)  # pyright: ignore[reportArgumentType]
    scene = train(subject, teacher, replace(SETTINGS, octree=octree), tmp_path)
    assert {own.coding for own in scene.features} == {codes}
    assert psnr(scene) > 14


@pytest.mark.parametrize(
    ("bits", "after", "changes"),
    [
        (0, 2, {}),
        (3, 2, {}),  # before the codes begin
        (3, 5, {}),  # and after
        (3, 3, {"free_share": 0.0, "details": "all"}),
        (0, 4, {"codes": "low-rank"}),
        (0, 4, {"codes": "hash", "hash_bits": 5, "details": "deepest"}),
    ],
)
def test_a_killed_and_resumed_run_equals_an_unbroken_one(
    subject: Subject,
    teacher: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bits: int,
    after: int,
    changes: dict,
) -> None:
    settings = replace(SHORT, bits=bits, octree=replace(SHORT.octree, **changes))
    unbroken = train(subject, teacher, settings, tmp_path / "unbroken")
    monkeypatch.setattr(run_module, "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(run_module, "_SAVE_SHARE", 0.0)
    with pytest.raises(KilledError):
        train(subject, teacher, settings, tmp_path / "broken", Killer(after))
    resumed = train(subject, teacher, settings, tmp_path / "broken")
    read = train(subject, teacher, settings, tmp_path / "broken")  # finished: nothing is run again
    for scene in (resumed, read):
        for own, expected in zip(scene.features, unbroken.features, strict=True):
            assert own.coding == expected.coding
            assert np.array_equal(own.table, expected.table)
            assert own.codes is None or np.array_equal(own.codes, expected.codes)  # pyright: ignore[reportArgumentType]
        for name, array in scene.decoder.items():
            assert np.array_equal(array, unbroken.decoder[name])


def test_the_octree_of_another_depth_is_refused(subject: Subject, teacher: Path, tmp_path: Path) -> None:
    train(subject, teacher, SHORT, tmp_path)
    with pytest.raises(TrainingError, match=r"octree.safetensors: settings.octree.depth: expected 4, got 5"):
        train(subject, teacher, replace(SHORT, octree=replace(SHORT.octree, depth=4)), tmp_path)
    # Steps and bits change the field only: the octree is taken as it is.
    with pytest.raises(TrainingError, match=r"field.safetensors: settings.bits: expected 2, got 0"):
        train(subject, teacher, replace(SHORT, bits=2), tmp_path)


def test_what_cannot_be_trained(subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--field octree: expected one process, got 2"):
        OctreeFieldTraining(subject, SHORT, tmp_path, world=World(0, 2), observer=Observer()).run_octree()
    with pytest.raises(UsageError, match="--field octree: expected --device cpu, got meta"):
        OctreeFieldTraining(
            subject, SHORT, tmp_path, world=World(), observer=Observer(), device=torch.device("meta")
        ).run_octree()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(SHORT, teacher="none"), "--teacher: expected one, whose occupancy"),
        (replace(SHORT, levels=3), "--levels: expected 1 for an octree field, got 3"),
        (replace(SHORT, bits=9), "--bits: expected 0 to 8, got 9"),
        (replace(SHORT, field="networks", bits=4), "--bits: expected --field octree"),
        (replace(SHORT, octree=OctreeSettings(codes="k-means")), "--bits: expected 1 to 8 for codes by k-means, got 0"),
        (replace(SHORT, octree=OctreeSettings(first_level=6, depth=5)), "--octree.first-level and --octree.depth"),
    ],
)
def test_settings_that_do_not_go_together(settings: TrainingSettings, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings.check()
