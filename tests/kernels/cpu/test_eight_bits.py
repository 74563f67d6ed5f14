"""Networks in 8 bits: chosen by themselves only where pictures are good enough, in 16 bits where 8 are too coarse."""

from dataclasses import replace

import numpy as np
import pytest

from kilonerf.kernels import BackendChoice, RenderOptions, create_renderer
from kilonerf.kernels.cpu.paths import available_cpu_paths
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.kernels.measure.poses import scene_poses
from kilonerf.model_io import KiloNeRFScene, load_kilonerf_scene
from support.rendering import SCENES
from support.scenes import views

pytest.importorskip("kilonerf.kernels._cpu", reason="the native extension is not built")
PATHS = available_cpu_paths()
FIRST = PATHS[0].precision
EIGHT_BITS = next((path.name for path in PATHS if path.precision == "int8"), None)
pytestmark = pytest.mark.skipif(EIGHT_BITS is None, reason="no code path of this machine has 8 bits")


def native(renderer: CpuRenderer):
    return renderer._native  # what the extension found out when it was made


@pytest.fixture(scope="module")
def chair(chair_path) -> KiloNeRFScene:
    return load_kilonerf_scene(chair_path)


@pytest.mark.skipif(FIRST != "int8", reason="this machine has a code path that is better than 8 bits")
def test_the_chair_has_most_networks_in_eight_bits_and_the_coarsest_in_sixteen(chair: KiloNeRFScene) -> None:
    renderer, all_of_them = CpuRenderer(chair, threads=2), CpuRenderer(chair, threads=2, path=EIGHT_BITS or "")
    assert native(renderer).precision == "int8"
    assert 0 < native(renderer).finer_networks < chair.num_networks // 2
    assert native(all_of_them).finer_networks == 0
    assert native(renderer).expected_psnr >= 47.9 > native(all_of_them).expected_psnr
    options = RenderOptions.as_trained(chair)
    for camera in scene_poses(chair, 3, 200, 160)[1]:
        exact = renderer.render(camera, replace(options, precision="float32"))
        frame, coarse = renderer.render(camera, options), all_of_them.render(camera, options)
        assert psnr(frame.rgb, exact.rgb) > max(45, psnr(coarse.rgb, exact.rgb))
        assert abs(frame.statistics.samples - exact.statistics.samples) < exact.statistics.samples // 100
        without = replace(options, ert=False)
        one = CpuRenderer(chair, threads=1).render(camera, without)
        two = renderer.render(camera, without)
        assert np.array_equal(one.rgb, two.rgb)
        assert np.array_equal(one.depth, two.depth)
        assert (
            two.statistics.samples == renderer.render(camera, replace(without, precision="float32")).statistics.samples
        )


@pytest.mark.skipif(FIRST != "int8", reason="this machine has a code path that is better than 8 bits")
@pytest.mark.parametrize("name", SCENES)
def test_scenes_for_which_eight_bits_are_too_few_have_sixteen(name: str) -> None:
    scene = SCENES[name]
    renderer = CpuRenderer(scene, threads=1)
    assert native(renderer).precision == "int16"
    asked = renderer.render(views(scene)["outside"], RenderOptions(precision="int8"))
    assert "int8" in renderer.device
    of_path = CpuRenderer(scene, threads=1, path=EIGHT_BITS or "").render(views(scene)["outside"], RenderOptions())
    assert np.array_equal(asked.rgb, of_path.rgb)


@pytest.mark.parametrize("name", SCENES)
def test_what_pictures_are_expected_to_be_worth_is_what_they_are(name: str) -> None:
    """These scenes fill the picture, as the estimate supposes."""
    scene = SCENES[name]
    renderer = CpuRenderer(scene, threads=2, path=EIGHT_BITS or "")
    camera = views(scene)["inside"]
    exact = renderer.render(camera, RenderOptions(precision="float32"))
    assert psnr(renderer.render(camera, RenderOptions()).rgb, exact.rgb) == pytest.approx(
        native(renderer).expected_psnr, abs=6
    )


def test_sixteen_bits_can_be_asked_for(chair: KiloNeRFScene) -> None:
    renderer = create_renderer(chair, BackendChoice("cpu", threads=1))
    assert chair.start_camera is not None
    camera = chair.start_camera.resized(40, 30)
    exact, fine = (renderer.render(camera, RenderOptions(precision=choice)) for choice in ("float32", "float16"))
    assert psnr(fine.rgb, exact.rgb) > 60
    assert "int16" in renderer.device or "bfloat16" in renderer.device


def test_a_scene_without_networks_or_occupied_voxels_is_no_obstacle() -> None:
    plain = SCENES["toy"]
    zeros = replace(plain, layers={name: np.zeros_like(layer) for name, layer in plain.layers.items()})
    renderer = CpuRenderer(zeros, threads=1)
    frame = renderer.render(views(zeros)["outside"], RenderOptions())
    assert frame.statistics.samples > 0
    assert not frame.alpha.any()
