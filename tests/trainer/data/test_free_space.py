"""What is known to be empty: between cameras and the sparse points that they saw."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.model_io.datasets import Dataset, load_splits
from kilonerf.model_io.scene.box import Box
from kilonerf.trainer.data.corrections import PhotoCorrections, PhotoSettings
from kilonerf.trainer.data.frame import Frame
from kilonerf.trainer.data.free_space import FreeSpace
from kilonerf.trainer.data.photos import Photos
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.teachers.grid import GridSettings
from kilonerf.trainer.teachers.nested_grid import NestedGridTeacher, NestedGridTraining
from support.analytic_scene import ROOM_BALL, write_room

needs_native = pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")
BOX = Box(np.full(3, -1.6, np.float32), np.full(3, 1.6, np.float32))
STEPS = 40


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """With points on the ball, each of which the cameras on its side saw."""
    (train,) = load_splits(write_room(tmp_path_factory.mktemp("room"), 16), ("train",))
    normals = np.random.default_rng(0).normal(size=(300, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    points = ROOM_BALL * normals
    eyes = np.stack([view.camera.position for view in train.views])
    facing = ((eyes[:, None] - points) * normals).sum(-1) > 0.2
    return Dataset(train.kind, train.views, points=points, sightings=np.argwhere(facing))


def training(room: Dataset, weight: float) -> NestedGridTraining:
    photos = Photos(room.views)
    grid = GridSettings(resolution=64, steps=(STEPS, STEPS, 0, 0), rays=512, free_space=weight)
    corrections = PhotoCorrections(PhotoSettings(sharpness=0.0), torch.ones(len(photos)), distance=1.6, steps=2 * STEPS)
    return NestedGridTraining(
        photos, BOX, 3, 0.08, 16.0, grid, corrections=corrections, free_space=FreeSpace.of(room), seed=0
    )


def test_places_lie_before_what_was_seen(room: Dataset) -> None:
    free = FreeSpace.of(room)
    assert free is not None
    places = free.points(seed=3, step=7, count=2000)
    assert places.shape == (2000, 3)
    assert places.dtype == torch.float32
    assert places.norm(dim=1).min() > ROOM_BALL  # never inside the ball
    assert places.norm(dim=1).max() < 1.8  # nor behind a camera
    torch.testing.assert_close(places, free.points(seed=3, step=7, count=2000), rtol=0, atol=0)
    assert not torch.equal(places, free.points(seed=3, step=8, count=2000))


def test_a_data_set_without_sightings_says_nothing(room: Dataset) -> None:
    assert FreeSpace.of(Dataset("nerfstudio", room.views)) is None
    assert FreeSpace.of(Dataset("colmap", room.views, points=room.points)) is None
    nothing = np.zeros((0, 2), np.int64)
    assert FreeSpace.of(Dataset("colmap", room.views, points=room.points, sightings=nothing)) is None


def test_the_frame_moves_points_with_the_cameras(room: Dataset) -> None:
    inside = Frame(scale=2.0, offset=(1.0, 2.0, 3.0)).dataset(room)
    assert inside.points is not None
    assert room.points is not None
    np.testing.assert_allclose(inside.points, 2 * (room.points - [1.0, 2.0, 3.0]), atol=1e-5)
    assert inside.sightings is room.sightings


@needs_native
def test_what_hovers_before_the_cameras_goes(room: Dataset) -> None:
    free = FreeSpace.of(room)
    assert free is not None
    places, densities = free.points(seed=9, step=0, count=4000), []
    for weight in (0.0, 1.0):
        stage = training(room, weight)
        errors = [stage.step(step)["error"] for step in range(2 * STEPS)]
        stage.finish()
        densities.append(float(stage.teacher().density(places).mean()))
        assert np.mean(errors[-10:]) < 0.02  # the photos are learnt all the same
    assert densities[1] < 0.3 * densities[0]


@needs_native
def test_a_stage_goes_on_from_its_state(room: Dataset, tmp_path: Path) -> None:
    whole, first, second = (training(room, 0.1) for _ in range(3))
    for step in range(12):
        whole.step(step)
    for step in range(5):
        first.step(step)
    torch.save(first.state(), tmp_path / "state.pt")
    second.load_state(torch.load(tmp_path / "state.pt"))
    for step in range(5, 12):
        second.step(step)
    for name, tensor in whole.teacher().state().items():
        torch.testing.assert_close(second.teacher().state()[name], tensor, rtol=0, atol=0)
    assert isinstance(second.teacher(), NestedGridTeacher)
