"""Scenes of nested boxes on the CUDA kernels, executed on the CPU by the SIMT host, against reference and CPU."""

from dataclasses import replace

import numpy as np
import pytest

from kilonerf.kernels import PER_RAY, PICTURE, RenderOptions
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.cuda.renderer import CudaRenderer
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.kernels.sampling import ray_directions
from kilonerf.model_io import Camera, Scene
from kilonerf.model_io.scene.sky import sky_colors
from simt.compilation import why_unavailable
from simt.simt_device import SimtDevice
from simt.simt_pictures import DEVICES, ON_DEVICES, ORDERS, assert_as_reference, small_views
from support.scenes import nested_scene, random_scene, sky_scene, views

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))

SCENES = {
    "three levels": nested_scene(),
    "two, odd factors": nested_scene(2, (4, 4, 8), (3, 5, 2), seed=4),
    "eight": nested_scene(8, (4, 4, 4), (2, 2, 2), dropped=0.5, seed=9),
    "two, under a sky": sky_scene(2, resolution=(4, 4, 4), factor=(3, 2, 4), seed=3),
}
OUTPUTS = PICTURE | PER_RAY


def cameras(scene: Scene) -> dict[str, Camera]:
    """Those of bounded scenes, most of which stand within the outer boxes, and one outside of all of them."""
    box = scene.levels[-1].box
    away = box.middle + np.array([0.8, 0.5, 0.4]) * float(np.linalg.norm(box.size))
    return {**small_views(scene), "outside of all": Camera.look_at(away, box.middle, 41, 29)}


# Two scenes exactly, one with empty-space skipping; all others are slow.
QUICK = {
    *(("two, under a sky", on, False) for on in ("tensor cores, sm_80", "float32")),
    ("two, odd factors", "tensor cores, sm_80", True),
}


@pytest.mark.parametrize(
    ("name", "on", "ess"),
    [
        pytest.param(name, on, ess, marks=() if (name, on, ess) in QUICK else pytest.mark.slow)
        for name in SCENES
        for on in DEVICES
        for ess in (True, False)
        if not (ess and "sm_75" in on)  # in little apart from sm_80
    ],
)
def test_simt_nested_samples_are_exactly_the_references(name: str, on: str, ess: bool) -> None:
    scene = SCENES[name]
    architecture, precision = DEVICES[on]
    options = replace(RenderOptions.as_trained(scene), ess=ess, ert=False)
    renderer, reference = CudaRenderer(scene, SimtDevice(architecture)), ReferenceRenderer(scene)
    hit = 0
    for camera in cameras(scene).values():
        expected = reference.render(camera, options, OUTPUTS)
        frame = renderer.render(camera, options, OUTPUTS)
        np.testing.assert_array_equal(frame.samples, expected.samples)  # type: ignore[arg-type]
        assert frame.network is not None
        assert expected.network is not None
        np.testing.assert_array_equal(frame.network, expected.network)
        assert frame.statistics.evaluations == expected.statistics.evaluations
        assert frame.statistics.evaluations_by_level == expected.statistics.evaluations_by_level
        assert frame.statistics.rays_hit == expected.statistics.rays_hit
        if precision == "float32":
            np.testing.assert_allclose(frame.rgb, expected.rgb, atol=5e-5)
            np.testing.assert_allclose(frame.alpha, expected.alpha, atol=5e-5)
        else:
            assert np.abs(frame.rgb - expected.rgb).max(initial=0) < 0.05
        hit += expected.statistics.rays_hit
    assert hit > 1000


def test_simt_the_sky_is_exactly_the_references() -> None:
    scene = SCENES["two, under a sky"]
    assert scene.sky is not None
    camera = cameras(scene)["outside of all"]
    turned = camera.matrix.copy()
    turned[:3, [0, 2]] *= -1  # away from everything
    camera = camera.moved(turned)
    for device in (SimtDevice(70), SimtDevice(80)):
        renderer = CudaRenderer(scene, device)
        frame = renderer.render(camera, RenderOptions.as_trained(scene))
        np.testing.assert_array_equal(frame.rgb, sky_colors(scene.sky, ray_directions(camera)))
        asked = renderer.render(camera, RenderOptions.as_trained(scene, background=(0.0, 1.0, 0.0)))
        assert (asked.rgb == (0.0, 1.0, 0.0)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("three levels", marks=pytest.mark.slow), "two, under a sky"])
@pytest.mark.parametrize("on", ON_DEVICES)
def test_simt_nested_pictures_with_early_termination(on: str, name: str) -> None:
    scene = SCENES[name]
    architecture, precision = DEVICES[on]
    for options in (RenderOptions.as_trained(scene), RenderOptions(background=(0.1, 0.2, 0.3))):
        renderer = CudaRenderer(scene, SimtDevice(architecture))
        for camera in cameras(scene).values():
            expected = ReferenceRenderer(scene).render(camera, options)
            frame = renderer.render(camera, options)
            if precision == "float32":
                assert_as_reference(frame, expected, precision, ert=True)
            else:
                mse = float(np.mean((frame.rgb - expected.rgb) ** 2, dtype=np.float64))
                assert mse < 1e-6
                assert frame.statistics.rays_hit == expected.statistics.rays_hit


@pytest.mark.slow
def test_simt_nested_samples_are_exactly_the_cpus() -> None:
    pytest.importorskip("kilonerf.kernels._cpu", reason="the native extension is not built")
    scene = SCENES["three levels"]
    options = RenderOptions(ert=False, precision="float32", step=0.07)
    for name in ("outside", "inside"):
        camera = small_views(scene)[name]
        expected = CpuRenderer(scene, threads=2).render(camera, options)
        frame = CudaRenderer(scene, SimtDevice(70)).render(camera, options)
        assert frame.statistics.samples == expected.statistics.samples > 0
        np.testing.assert_allclose(frame.rgb, expected.rgb, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("on", ON_DEVICES)
def test_simt_nested_no_race_no_stray_access(on: str, order: str | int) -> None:
    scene = SCENES["eight"]
    camera = views(scene)["inside"].resized(19, 21)
    options = RenderOptions(step=0.2)
    device = SimtDevice(DEVICES[on][0], blocks=2, checked=True, order=order)
    frame = CudaRenderer(scene, device).render(camera, options, OUTPUTS)
    plain = CudaRenderer(scene, SimtDevice(DEVICES[on][0])).render(camera, options)
    assert frame.statistics.rays_hit > 100
    assert np.abs(frame.rgb - plain.rgb).max() < 1e-6


def test_simt_nested_ranges_of_tiles_make_the_same_picture() -> None:
    scene = SCENES["three levels"]
    camera = views(scene)["inside"]

    class Slow(SimtDevice):
        def milliseconds(self, begin: float, end: float) -> float:
            return 1000.0

    device = Slow(80, blocks=2)
    renderer = CudaRenderer(scene, device)
    frame = renderer.render(camera, RenderOptions(), OUTPUTS)
    assert len(device.launches) >= 3
    whole = CudaRenderer(scene, SimtDevice(80, blocks=100)).render(camera, RenderOptions(), OUTPUTS)
    for name in ("rgb", "alpha", "depth", "samples", "network"):
        np.testing.assert_array_equal(getattr(frame, name), getattr(whole, name))
    assert frame.statistics.samples == whole.statistics.samples


def test_simt_nested_the_order_is_copied_only_when_the_cell_of_some_level_changes() -> None:
    scene = SCENES["three levels"]
    device = SimtDevice(80)
    renderer = CudaRenderer(scene, device)
    camera = views(scene)["inside"].resized(20, 15)
    renderer.render(camera, RenderOptions())
    device.uploads.clear()
    renderer.render(camera, RenderOptions(ert=False))
    assert not device.uploads
    box = scene.box
    place = np.eye(4)
    place[:3, 3] = box.max + 1.4 * scene.levels[1].cell_size  # outside of level 0: only the levels around it can tell
    renderer.render(camera.moved(place), RenderOptions())
    assert device.uploads == ["order of cells"]
    place[:3, 3] += 1.1 * scene.levels[1].cell_size
    renderer.render(camera.moved(place), RenderOptions())
    assert device.uploads == ["order of cells"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("on", ON_DEVICES)
def test_simt_nested_queries_find_the_level_of_each_point(on: str) -> None:
    scene = SCENES["three levels"]
    architecture, precision = DEVICES[on]
    rng = np.random.default_rng(0)
    box = scene.levels[-1].box
    points = rng.uniform(box.min - 0.5, box.max + 0.5, (6000, 3)).astype(np.float32)
    points[:2000] = points[:2000] * np.float32(0.2)
    directions = rng.standard_normal((6000, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rgb, density = ReferenceRenderer(scene).query(points, directions)
    got_rgb, got_density = CudaRenderer(scene, SimtDevice(architecture)).query(points, directions)
    for cells in scene.levels:
        assert (rgb.any(1) & (cells.networks_at(points)[0] >= 0)).sum() > 100
    assert np.array_equal(got_rgb.any(1), rgb.any(1))
    assert np.abs(rgb - got_rgb).max() < (1e-5 if precision == "float32" else 0.05)
    assert np.median(np.abs(density - got_density) / (1 + density)) < 0.01


def test_simt_bounded_scenes_take_the_kernel_of_one_level(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[dict[str, object]] = []
    kernel = SimtDevice.kernel

    def remember(self: SimtDevice, source: str, name: str, defines: dict[str, object]) -> object:
        compiled.append(dict(defines))
        return kernel(self, source, name, defines)  # type: ignore[arg-type]

    monkeypatch.setattr(SimtDevice, "kernel", remember)
    CudaRenderer(random_scene(), SimtDevice(70))
    assert compiled == [{}, {}]
    CudaRenderer(SCENES["eight"], SimtDevice(70))
    assert compiled[2:] == [{"KNF_NESTED": None}, {}]
