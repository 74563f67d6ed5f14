"""What fine-tuning does in its last part: samples as rendered, and rays that see one place."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

from kilonerf.model_io import Camera, KiloNeRFScene
from kilonerf.model_io.datasets import load_splits
from kilonerf.trainer.data.photos import Photos
from kilonerf.trainer.data.ray_sampling import RaySampler
from kilonerf.trainer.loop.distributed import World
from kilonerf.trainer.stages.fine_tuning import FineTuning, FineTuningSettings
from kilonerf.trainer.stages.student import Student
from support.photo_sets import write_blender
from support.scenes import nested_scene, random_scene

SETTINGS = FineTuningSettings(steps=40, rays=256, min_transmittance=0.0, view_dependent_l2=0.0)
CAMERAS = [Camera.look_at((3.0, 2.0 + turn, 1.5), (0.0, 0.0, 0.0), 40, 30) for turn in (0.0, 0.3, -0.3)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    """Grey everywhere."""
    folder = write_blender(
        tmp_path_factory.mktemp("grey"),
        CAMERAS,
        lambda camera: np.full((camera.height, camera.width, 3), 120, np.uint8),
    )
    return Photos(load_splits(folder, ("train",))[0].views)


def stage_of(scene: KiloNeRFScene, photos: Photos, settings: FineTuningSettings) -> FineTuning:
    return FineTuning(Student.of(scene), photos, settings, random_background=False, seed=3, world=World())


def test_the_last_steps_take_the_samples_of_a_picture(photos: Photos) -> None:
    scene = random_scene((3, 4, 3), occupied=0.9, dropped=0.0)
    stage = stage_of(scene, photos, replace(SETTINGS, as_rendered=0.25))
    for step, as_rendered in ((0, False), (29, False), (30, True), (39, True)):
        batch, samples = stage.sampled(step)
        expected = RaySampler.of(scene).sample(batch.origins, batch.directions)
        same = samples.depth.shape == expected.depth.shape and bool((samples.depth == expected.depth).all())
        assert same is as_rendered
    stage.finish()


def test_rays_learn_to_see_one_place(photos: Photos) -> None:
    """A fog that is grey all through has no other reason to become a surface."""
    scene = random_scene((3, 4, 3), (6, 6, 6), occupied=1.0, dropped=0.0, density_scale=2.0)

    def spread_after(weight: float) -> float:
        settings = replace(SETTINGS, as_rendered=1.0, spread=weight)
        stage = stage_of(scene, photos, settings)
        for step in range(settings.steps):
            stage.step(step)
        stage.finish()
        looking = stage_of(scene, photos, replace(settings, spread=1.0))
        looking.student = stage.student
        penalty = float(looking.look(0).penalty.detach()) / settings.rays
        looking.finish()
        return penalty

    narrow, free = spread_after(0.1), spread_after(0.0)
    assert narrow < 0.8 * free, (narrow, free)


def test_it_costs_nothing_before_that_and_in_scenes_of_several_levels(photos: Photos) -> None:
    bounded, nested = (
        stage_of(scene, photos, replace(SETTINGS, as_rendered=0.25, spread=1.0))
        for scene in (random_scene((3, 4, 3), occupied=0.9), nested_scene(2))
    )
    assert float(bounded.look(29).penalty.detach()) == 0.0
    assert float(bounded.look(30).penalty.detach()) > 0.0
    assert float(nested.look(30).penalty.detach()) == 0.0
    bounded.finish()
    nested.finish()
