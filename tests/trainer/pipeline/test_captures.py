"""Photos of a whole place: nested boxes are found, and views between the photos show walls, not fog."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.measure import metrics
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.model_io import KiloNeRFScene, UsageError, load_kilonerf_scene, save_scene
from kilonerf.trainer.data.corrections import PhotoSettings
from kilonerf.trainer.loop.distributed import World
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.pipeline.observers import Observer
from kilonerf.trainer.pipeline.pipeline import Training
from kilonerf.trainer.pipeline.subject import read_subject
from kilonerf.trainer.settings import OccupancySettings, TrainingSettings
from kilonerf.trainer.stages.distillation import DistillationSettings
from kilonerf.trainer.stages.fine_tuning import FineTuning, FineTuningSettings
from kilonerf.trainer.teachers.grid import GridSettings
from support.analytic_scene import ROOM_BALL, WALL, room_cameras, room_photo, write_room

Train = Callable[..., tuple[KiloNeRFScene, list[str]]]

pytestmark = pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")

SETTINGS = TrainingSettings(
    grid=GridSettings(resolution=64, steps=(60, 60, 60, 40), rays=1024),
    occupancy=OccupancySettings(cells=4, factor=8),
    distillation=DistillationSettings(steps=200, points=96),
    fine_tuning=FineTuningSettings(steps=150, rays=1024),
)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_room(tmp_path_factory.mktemp("room"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def scene(room: Path, folder: Path, train: Train) -> KiloNeRFScene:
    subject, _ = read_subject(room)
    return train(subject, folder, SETTINGS)[0]


def test_a_room_has_nested_boxes(scene: KiloNeRFScene) -> None:
    assert len(scene.outer) > 1
    assert max(scene.background) < 1  # not the white of objects
    assert scene.start_camera is not None
    assert np.linalg.norm(scene.start_camera.position) < 2  # where the photos are


def test_views_between_the_photos_show_the_room_and_nothing_hovers(scene: KiloNeRFScene) -> None:
    renderer = create_renderer(scene)
    values = []
    for camera in room_cameras(5, turn=0.11):
        frame = renderer.render(camera, RenderOptions.as_trained(scene))
        values.append(metrics.psnr(frame.rgb.clip(0, 1), room_photo(camera) / 255.0))
        assert np.quantile(frame.alpha, 0.01) > 0.7  # no holes in the wall
        assert frame.alpha.mean() > 0.95
        # The ball is the nearest thing, and no wall is nearer than it is.
        nearest = np.linalg.norm(camera.position) - ROOM_BALL
        assert (frame.depth < 0.7 * nearest).mean() < 0.01
        assert np.median(frame.depth[:6]) > 0.6 * (WALL - 1.6)
    assert np.mean(values) > 23


def test_what_no_photo_shows_is_left_out(scene: KiloNeRFScene, room: Path, folder: Path, train: Train) -> None:
    subject, _ = read_subject(room)
    every = train(subject, folder, replace(SETTINGS, least_weight=0.0))[
        0
    ]  # the same run: only what is left out differs
    assert 0 < scene.num_networks <= every.num_networks
    kept, before = (sum(int(level.occupancy.sum()) for level in which.levels) for which in (scene, every))
    assert 0.5 * before < kept < before
    renderers = [create_renderer(which) for which in (scene, every)]
    camera = room_cameras(1)[0]
    pictures = [renderer.render(camera, RenderOptions.as_trained(scene, ert=False)).rgb for renderer in renderers]
    assert metrics.psnr(*pictures) > 40


def test_the_file_and_both_renderers_hold_all_levels(scene: KiloNeRFScene, tmp_path: Path) -> None:
    save_scene(scene, tmp_path / "room.knf")
    again = load_kilonerf_scene(tmp_path / "room.knf")
    assert len(again.outer) == len(scene.outer)
    options = RenderOptions.as_trained(again, ert=False)
    camera = room_cameras(1, size=23, turn=0.3)[0]
    expected, found = ReferenceRenderer(again).render(camera, options), CpuRenderer(again).render(camera, options)
    assert found.statistics.samples == expected.statistics.samples
    assert metrics.psnr(found.rgb, expected.rgb) > 45


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_scene(room: Path, tmp_path: Path, train: Train) -> None:
    settings = replace(
        SETTINGS,
        grid=replace(SETTINGS.grid, steps=(8, 8, 8, 8), rays=256, least_weights=(0.0, 0.0, 0.0, 0.0)),
        occupancy=replace(SETTINGS.occupancy, threshold=0.1),
        distillation=replace(SETTINGS.distillation, steps=5),
        fine_tuning=replace(SETTINGS.fine_tuning, steps=5, rays=128),
        photos=PhotoSettings(colors=True, poses=True),
    )
    subject, _ = read_subject(room)
    whole, _ = train(subject, tmp_path / "whole", settings)
    assert set(whole.provenance["photos"]) == {"gains", "turned_degrees", "moved"}
    assert whole.training_poses is not None
    given = np.stack([view.camera.matrix for view in subject.dataset.views])
    turned = np.abs(whole.training_poses - given)[:, :3, :3]
    assert 1e-5 < turned.max() < 0.1  # the refined cameras
    for stop_after in (11, 25, 3):
        with pytest.raises(KeyboardInterrupt):
            train(subject, tmp_path / "parts", settings, stop_after)
    parts, _ = train(subject, tmp_path / "parts", settings)
    assert len(parts.outer) == len(whole.outer)
    assert parts.provenance["photos"] == whole.provenance["photos"]
    for name, layer in whole.layers.items():
        assert np.array_equal(parts.layers[name], layer), name
    for level, other in zip(whole.levels, parts.levels, strict=True):
        assert np.array_equal(level.occupancy, other.occupancy)


@pytest.mark.slow
def test_networks_learn_through_the_photos_exposure(room: Path, tmp_path: Path) -> None:
    subject, _ = read_subject(room)
    assert subject.photos is not None
    training = Training(
        subject,
        replace(SETTINGS, grid=replace(SETTINGS.grid, steps=(20, 20, 0, 0))),
        tmp_path,
        world=World(),
        observer=Observer(),
    )
    student = training.run("occupancy")
    assert student is not None
    before = student.networks.rows.detach().clone()

    def tuned(**more: Any) -> torch.Tensor:
        assert subject.photos is not None
        with torch.no_grad():
            student.networks.rows.copy_(before)
        settings = FineTuningSettings(steps=3, rays=256, covered_only=False, view_dependent_l2=0.0)
        stage = FineTuning(student, subject.photos, settings, random_background=False, seed=0, world=World(), **more)
        for step in range(3):
            stage.step(step)
        stage.finish()
        return student.networks.rows.detach().clone()

    views = len(subject.photos)
    plain = tuned()
    assert torch.equal(tuned(weights=torch.ones(views), colors=torch.zeros(views, 3, 4)), plain)
    assert not torch.equal(tuned(colors=torch.full((views, 3, 4), 0.1)), plain)
    assert torch.equal(tuned(weights=torch.zeros(views)), before)  # photos of no weight teach nothing


def test_one_level_and_the_nerf_teacher_are_for_bounded_scenes(room: Path, tmp_path: Path) -> None:
    subject, _ = read_subject(room, levels=1)
    assert subject.bounds.levels == 1
    subject, _ = read_subject(room, levels=3)
    assert subject.bounds.levels == 3
    with pytest.raises(UsageError, match="--teacher: expected grid for nested boxes"):
        Training(subject, TrainingSettings(teacher="nerf"), tmp_path, world=World(), observer=Observer())


def test_a_finished_scene_teaches_all_its_levels(scene: KiloNeRFScene) -> None:
    from kilonerf.trainer.teachers.scene import SceneTeacher

    rng = np.random.default_rng(0)
    points = rng.uniform(-WALL, WALL, (2000, 3)).astype(np.float32)
    toward = np.broadcast_to(np.array([0, 0, 1], np.float32), points.shape).copy()
    rgb, density = SceneTeacher(scene).radiance(torch.from_numpy(points), torch.from_numpy(toward))
    expected_rgb, expected = ReferenceRenderer(scene).query(points, toward)
    assert (expected > 0).any()
    np.testing.assert_allclose(density.numpy(), expected, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(rgb.numpy()[expected > 0], expected_rgb[expected > 0], atol=1e-3)
