"""Distillation from teachers of every kind."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
import torch

from kilonerf.model_io import KiloNeRFScene
from kilonerf.model_io.scene.box import Box
from kilonerf.model_io.scene.cells import Cells
from kilonerf.model_io.scene.sampling import Sampling
from kilonerf.trainer.loop.distributed import World
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.ops.networks import TinyNetworks
from kilonerf.trainer.stages.distillation import Distillation, DistillationSettings
from kilonerf.trainer.stages.occupancy import network_index_of
from kilonerf.trainer.stages.student import DENSITY_UNIT, Student, rectified_density
from kilonerf.trainer.teachers.nerf import NerfTeacher
from kilonerf.trainer.teachers.scene import SceneTeacher
from kilonerf.trainer.teachers.teacher import Teacher
from support.analytic_scene import field
from support.scenes import random_scene

needs_extension = pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")
CAMERAS = np.array([[4.0, 0, 0], [0, 4, 1], [-3, -2, 2]])


class FormulaTeacher:
    """Two soft balls."""

    name = "formula"

    def density(self, points: torch.Tensor) -> torch.Tensor:
        return self.radiance(points, torch.ones_like(points))[1]

    def radiance(self, points: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rgb, density = field(points.double().numpy(), directions.double().numpy())
        return torch.from_numpy(rgb).float(), torch.from_numpy(density).float()

    def extent(self) -> None:
        return None


def student_of(occupancy: np.ndarray, resolution: tuple[int, int, int], box_min: object, box_max: object) -> Student:
    index = network_index_of(occupancy, resolution)
    networks = TinyNetworks.initial(int(index.max()) + 1, seed=0)
    box = Box(*(np.asarray(corner, np.float32) for corner in (box_min, box_max)))
    return Student(Cells(box, occupancy, index), networks, Sampling(2.0, 6.0, num_samples=96))


def errors(student: Student, teacher: Teacher, **settings: object) -> tuple[dict[str, float], dict[str, float]]:
    """Before and after."""
    how = replace(DistillationSettings(steps=120, points=96), **settings)  # pyright: ignore[reportArgumentType]
    stage = Distillation(student, teacher, CAMERAS, how, seed=3, world=World())
    all_errors = [stage.step(step) for step in range(how.steps)]
    stage.finish()
    return all_errors[0], all_errors[-1]


@needs_extension
@pytest.mark.parametrize(
    "settings",
    [{}, {"where": "cell", "directions": "sphere", "colour_floor": float("inf")}],
    ids=["as it is", "as in the paper"],
)
def test_networks_learn_a_formula(settings: dict[str, object]) -> None:
    occupancy = np.zeros((8, 8, 8), np.bool_)
    occupancy[1:6, 2:6, 2:7] = True
    before, after = errors(student_of(occupancy, (2, 2, 2), (-0.8,) * 3, (0.8,) * 3), FormulaTeacher(), **settings)
    assert after["alpha error"] < 0.15 * before["alpha error"]
    assert after["colour error"] < 0.35 * before["colour error"]


@needs_extension
def test_networks_learn_a_scene_and_only_where_they_are() -> None:
    scene = random_scene((3, 2, 2), (12, 8, 8), seed=11, occupied=0.3)
    teacher = SceneTeacher(scene)
    points = torch.rand(500, 3) * 2.4 - 1.2
    rgb, density = teacher.radiance(points, torch.nn.functional.normalize(torch.ones_like(points)))
    outside = ((points.numpy() < scene.box_min) | (points.numpy() > scene.box_max)).any(1)
    assert outside.any()
    assert not density[torch.from_numpy(outside)].any()
    assert (rgb[torch.from_numpy(outside)] == 0.5).all()
    assert density.any()
    student = student_of(scene.occupancy, scene.resolution, scene.box_min, scene.box_max)
    before, after = errors(student, teacher, steps=60)
    assert after["alpha error"] < 0.5 * before["alpha error"]


@needs_extension
def test_networks_learn_the_original_teacher(shared_data: Path) -> None:
    """The toy teacher that the original code wrote; its densities are random and small, so alphas are too."""
    folder = shared_data / "kilonerf_toy"
    checkpoint = folder / "logs/paper/pretrain/Synthetic_NeRF_Toy/checkpoint_0000001.pth"
    teacher = NerfTeacher.from_checkpoint(checkpoint)
    box = np.loadtxt(folder / "data_Toy" / "bbox.txt")[:6]
    student = student_of(np.ones((4, 6, 8), np.bool_), (2, 3, 4), box[:3], box[3:])
    before, after = errors(student, teacher, steps=80, points=32, where="cell", directions="sphere")
    assert after["alpha error"] < 0.05 * before["alpha error"]
    assert after["colour error"] < 0.2 * before["colour error"]


def test_a_dead_density_learns_only_to_be_more() -> None:
    raw = torch.tensor([-1.0, -1.0, 2.0, 2.0], requires_grad=True)
    density = rectified_density(raw, leak=0.1)
    assert torch.equal(density, torch.tensor([0.0, 0.0, 2 * DENSITY_UNIT, 2 * DENSITY_UNIT]))
    density.backward(torch.tensor([1.0, -1.0, 1.0, -1.0]))
    assert raw.grad is not None
    assert torch.allclose(raw.grad, torch.tensor([0.0, -0.1, 1.0, -1.0]) * DENSITY_UNIT)


def test_a_student_goes_to_a_scene_and_back(toy_scene: KiloNeRFScene) -> None:
    student = Student.of(toy_scene)
    again = student.to_scene()
    for name, layer in toy_scene.layers.items():
        assert np.array_equal(again.layers[name], layer.astype(np.float32)), name
    assert np.array_equal(again.occupancy, toy_scene.occupancy)
    assert (again.near, again.far, again.num_samples) == (toy_scene.near, toy_scene.far, toy_scene.num_samples)
    voxels = np.argwhere(toy_scene.occupancy)[:50]
    places = np.random.default_rng(0).random(voxels.shape, np.float32)
    world, local = student.points_in(np.insert(voxels, 0, 0, axis=1), places)
    assert (local.abs() <= 1).all()
    factor = np.asarray(toy_scene.occupancy.shape) // toy_scene.resolution
    cell_lower = toy_scene.box_min + voxels // factor * toy_scene.cell_size
    expected = 2 * (world.numpy() - cell_lower) / toy_scene.cell_size - 1
    assert np.allclose(local.numpy(), expected, atol=1e-5)
