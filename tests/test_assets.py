"""The scenes that come with the program are what assets/README.md says, and look the same by every backend."""

from pathlib import Path

import numpy as np
import pytest

from kilonerf.kernels import RenderOptions
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.model_io import load_kilonerf_scene
from support.rendering import assert_same_picture

ASSETS = Path(__file__).resolve().parents[1] / "assets"


def test_the_garden_is_a_capture() -> None:
    scene = load_kilonerf_scene(ASSETS / "garden.knf")
    assert (ASSETS / "garden.knf").stat().st_size < 5e6
    assert (len(scene.levels), scene.num_networks) == (3, 1465)
    assert scene.training_poses is not None
    assert len(scene.training_poses) == 90


@pytest.mark.parametrize("name", ["chair", "garden"])
def test_backends_agree(name: str) -> None:
    scene = load_kilonerf_scene(ASSETS / f"{name}.knf")
    assert scene.start_camera is not None
    camera = scene.start_camera.resized(33, 21)
    options = RenderOptions.as_trained(scene, precision="float32", ert=False)
    reference, picture = ReferenceRenderer(scene).render(camera, options), CpuRenderer(scene).render(camera, options)
    assert_same_picture(picture, reference)
    assert picture.statistics.samples == reference.statistics.samples
    assert np.ptp(picture.rgb) > 0.3
