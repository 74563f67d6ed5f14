"""Opaque photos before a plain colour: the colour is the scene's background, and low contrast leaves something."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
from PIL import Image

from kilonerf.model_io import KiloNeRFScene, TrainingError, load_dataset
from kilonerf.trainer.data.photos import Photos
from kilonerf.trainer.data.silhouettes import plain_background
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.pipeline.subject import read_subject
from kilonerf.trainer.pipeline.train import train
from kilonerf.trainer.settings import OccupancySettings, TrainingSettings
from kilonerf.trainer.stages.distillation import DistillationSettings
from kilonerf.trainer.stages.fine_tuning import FineTuningSettings
from kilonerf.trainer.teachers.grid import GridSettings
from support.analytic_scene import write_photos

PLAIN = (70, 78, 74)


@pytest.fixture
def dark(tmp_path: Path) -> Path:
    """Photos without transparency, of low contrast."""
    folder = write_photos(tmp_path / "dark", views=10, size=40)
    for path in (folder / "train").glob("*.png"):
        rgba = np.asarray(Image.open(path)).astype(np.float64)
        alpha = rgba[..., 3:] / 255
        picture = (0.2 * rgba[..., :3]) * alpha + np.array(PLAIN) * (1 - alpha)
        Image.fromarray(np.rint(picture).astype(np.uint8)).save(path)
    return folder


@pytest.mark.slow
def test_the_plain_colour_is_the_background(dark: Path) -> None:
    subject, _ = read_subject(dark)
    assert subject.bounds.source == "silhouettes of 10 views"
    assert subject.dataset.background == pytest.approx([channel / 255 for channel in PLAIN])


@pytest.mark.slow
def test_what_the_data_set_says_comes_first(dark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads((dark / "transforms_train.json").read_text())
    assert "background" not in document
    dataset = replace(load_dataset(dark, "train"), background=(0.28, 0.3, 0.29))
    monkeypatch.setattr("kilonerf.trainer.pipeline.subject.load_for_training", lambda *_, **__: (dataset, None))
    assert read_subject(dark)[0].dataset.background == (0.28, 0.3, 0.29)


def test_photos_with_transparency_have_none(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "balls", views=5, size=32)
    assert plain_background(Photos(load_dataset(folder, "train").views)) is None


@pytest.mark.slow
@pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")
def test_a_grid_that_is_still_faint_is_not_pruned_to_nothing(dark: Path, tmp_path: Path) -> None:
    settings = TrainingSettings(
        grid=GridSettings(resolution=16, steps=(2, 2, 2, 2), rays=256, least_weights=(0.9, 0.9, 0.9, 0.9)),
        occupancy=OccupancySettings(cells=2, factor=4, threshold=0.0),
        distillation=DistillationSettings(steps=2, points=8),
        fine_tuning=FineTuningSettings(steps=2, rays=64),
    )
    scene = train(dark, settings, folder=tmp_path / "training")
    assert isinstance(scene, KiloNeRFScene)
    assert scene.occupancy.any()


def test_no_pixels_to_draw_from_are_an_error_with_its_cause(dark: Path) -> None:
    photos = Photos(load_dataset(dark, "train").views)
    with pytest.raises(TrainingError, match="everything in the box was found to be empty"):
        photos.batch(0, 0, 8, among=np.empty(0, np.int64))
