"""The unit and the place of a data set change nothing: what is trained is brought into one frame, and back."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
import torch

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.model_io import Camera, Scene, load_kilonerf_scene, save_scene
from kilonerf.model_io.datasets import load_image, load_splits
from kilonerf.model_io.scene.origin import relative_to, scene_origin
from kilonerf.trainer.data.bounds import Bounds
from kilonerf.trainer.data.frame import CAMERA_DISTANCE, Frame
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.pipeline.subject import read_subject
from kilonerf.trainer.pipeline.train import train
from kilonerf.trainer.settings import OccupancySettings, TrainingSettings
from kilonerf.trainer.stages.distillation import DistillationSettings
from kilonerf.trainer.stages.fine_tuning import FineTuningSettings
from kilonerf.trainer.teachers.grid import GridSettings
from kilonerf.trainer.teachers.scene import SceneTeacher
from support.analytic_scene import write_photos
from support.photo_sets import ring
from support.scenes import random_scene

SETTINGS = TrainingSettings(
    grid=GridSettings(resolution=32, steps=(60, 60, 60, 60), rays=1024),
    occupancy=OccupancySettings(cells=4, factor=8),
    distillation=DistillationSettings(steps=200, points=128),
    fine_tuning=FineTuningSettings(steps=400, rays=1024),
)
UTM = (453287.25, 5123406.5, 412.75)


def moved_photos(photos: Path, folder: Path, scale: float, turn: float, offset: tuple[float, float, float]) -> Path:
    """The same photos in other coordinates."""
    shutil.copytree(photos, folder)
    rotation = np.eye(4)
    rotation[:2, :2] = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    for path in folder.glob("transforms_*.json"):
        document = json.loads(path.read_text())
        for frame in document["frames"]:
            pose = rotation @ np.array(frame["transform_matrix"])
            pose[:3, 3] = pose[:3, 3] * scale + offset
            frame["transform_matrix"] = pose.tolist()
        path.write_text(json.dumps(document))
    return folder


def quality(scene: Scene, folder: Path) -> float:
    """Mean PSNR over the data set's photos, cameras placed as the commands place them."""
    (dataset,) = load_splits(folder, ("train",))
    renderer, options = create_renderer(scene), RenderOptions.as_trained(scene)
    return float(
        np.mean(
            [
                psnr(
                    renderer.render(relative_to(scene_origin(scene), view.camera), options).rgb.clip(0, 1),
                    load_image(view, options.background),
                )
                for view in dataset.views
            ]
        )
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("balls"))


@pytest.fixture(scope="module")
def usual(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    return quality(train(photos, SETTINGS, folder=tmp_path_factory.mktemp("usual")), photos)


def places() -> list[Any]:
    random = np.random.default_rng(12)
    places = [(0.01, 0.0, (0.0, 0.0, 0.0)), (100.0, 0.0, (0.0, 0.0, 0.0)), (1.0, 0.0, UTM)]
    for _ in range(3):
        x, y, z = map(float, random.uniform(-50, 50, 3))
        places.append((10 ** random.uniform(-2, 2), random.uniform(0, math.tau), (x, y, z)))
    return places


@pytest.mark.slow
@pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")
@pytest.mark.parametrize(("scale", "turn", "offset"), places())
def test_unit_turn_and_place_of_a_data_set_change_nothing(
    photos: Path, usual: float, tmp_path: Path, scale: float, turn: float, offset: tuple[float, float, float]
) -> None:
    folder = moved_photos(photos, tmp_path / "photos", scale, turn, offset)
    path = tmp_path / "scene.knf"
    save_scene(train(folder, SETTINGS, folder=tmp_path / "training"), path)
    scene = load_kilonerf_scene(path)
    got = quality(scene, folder)
    assert usual > 27
    assert abs(got - usual) < 0.2
    low, high = scene.box_min + np.array(scene_origin(scene)), scene.box_max + np.array(scene_origin(scene))
    assert np.all(low < np.array(offset) + 0.1 * scale)
    assert np.all(high > np.array(offset) - 0.1 * scale)
    assert (high - low).max() < 3 * scale


BOX = Bounds((-0.8, -0.7, -1.0), (0.7, 0.8, 1.1), "a test")


def test_the_usual_size_is_left_as_it_is() -> None:
    assert Frame.of(ring(9, distance=4.031), BOX).is_identity
    scene = random_scene()
    assert Frame().scene(scene).layers["alpha_linear.weight"].dtype == np.float32
    assert not Frame().said()


def test_cameras_far_nearer_than_the_scene_is_large_do_not_blow_it_up() -> None:
    cameras = ring(9, distance=0.01)
    assert Frame.of(cameras, BOX).scale * 2.1 == pytest.approx(8.0)


def test_cameras_side_by_side_have_a_frame_by_the_box() -> None:
    cameras = [Camera.look_at((x, -9.0, 0.0), (x, 0.0, 0.0), 20, 20) for x in (0.0, 1.0, 2.0)]
    frame = Frame.of(cameras, Bounds((-50.0, 0.0, -50.0), (50.0, 80.0, 50.0), "a test"))
    assert frame.scale == pytest.approx(0.02)


def test_only_a_far_scene_gets_an_origin_of_its_own() -> None:
    def frame(offset: float) -> Frame:
        cameras = [camera.moved(camera.matrix + _shift(offset)) for camera in ring(9)]
        low, high = (tuple(value + offset for value in corner) for corner in (BOX.box_min, BOX.box_max))
        return Frame.of(cameras, replace(BOX, box_min=low, box_max=high))

    assert frame(50.0).origin == (0.0, 0.0, 0.0)
    assert frame(500_000.4).origin == (500_000.0, 500_000.0, 500_000.0)


@pytest.mark.parametrize("scale", [0.04, 37.0])
def test_a_scene_that_is_brought_back_looks_the_same(scale: float) -> None:
    inside = random_scene()
    frame = Frame(scale, (0.3, -0.1, 700.0), (0.0, 0.0, 699.9))
    outside = frame.scene(inside, np.float16)
    assert outside.dtype == np.float16
    (camera,) = ring(1, 32, 32, distance=3.0)
    matrix = camera.matrix.copy()
    matrix[:3, 3] = matrix[:3, 3] / scale + np.subtract(frame.offset, frame.origin)
    pictures = [
        create_renderer(scene, "reference").render(seen, RenderOptions.as_trained(scene)).rgb
        for scene, seen in ((inside, camera), (outside, camera.moved(matrix)))
    ]
    assert np.ptp(pictures[0]) > 0.1
    assert psnr(pictures[1], pictures[0]) > 40


def test_densities_beyond_float16_keep_float32() -> None:
    scene = random_scene()
    layers = dict(scene.layers) | {"alpha_linear.bias": scene.layers["alpha_linear.bias"] + np.float32(3000)}
    assert Frame(100.0).scene(replace(scene, layers=layers), np.float16).dtype == np.float32


def test_a_finished_scene_teaches_in_the_same_frame() -> None:
    scene = replace(random_scene(), provenance={"coordinates": {"origin": [10.0, 20.0, 30.0]}})
    frame = Frame(4.0, (10.5, 20.0, 30.0), (10.0, 20.0, 30.0))
    plain, inside = SceneTeacher(scene), frame.teacher(SceneTeacher(scene))
    points = torch.rand(500, 3) - 0.5
    np.testing.assert_allclose(
        inside.density((points - torch.tensor([0.5, 0.0, 0.0])) * 4) * 4, plain.density(points), rtol=1e-3, atol=1e-3
    )
    low, high = inside.extent() or ((0,), (0,))
    np.testing.assert_allclose(np.subtract(high, low), (scene.box_max - scene.box_min) * 4.0, rtol=1e-6)


@pytest.mark.parametrize("said", [None, 3, [1, 2], ["a", 1, 2], [float("nan"), 1, 2]])
def test_an_origin_that_is_none_is_not_used(said: object) -> None:
    scene = random_scene()
    object.__setattr__(scene, "provenance", {"coordinates": {"origin": said}})
    assert scene_origin(scene) == (0.0, 0.0, 0.0)


@pytest.mark.slow
def test_near_and_far_of_the_command_line_are_in_the_users_unit(photos: Path, tmp_path: Path) -> None:
    folder = moved_photos(photos, tmp_path / "photos", 10.0, 0.0, (0.0, 0.0, 0.0))
    subject, previews = read_subject(folder)
    assert subject.frame.scale == pytest.approx(CAMERA_DISTANCE / 40, rel=0.1)
    assert subject.frame.length(10.0) == pytest.approx(10 * subject.frame.scale)
    assert np.linalg.norm(previews[0].camera.position) == pytest.approx(40, rel=0.01)
    assert np.linalg.norm(subject.dataset.views[0].camera.position) < 6


def _shift(offset: float) -> np.ndarray:
    matrix = np.zeros((4, 4))
    matrix[:3, 3] = offset
    return matrix
