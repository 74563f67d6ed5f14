"""Every backend and code path takes the reference's samples and makes its picture."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from kilonerf.kernels import Frame, Renderer, RenderOptions
from kilonerf.kernels.cpu.paths import CpuPath, available_cpu_paths
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.model_io import Camera, Scene, load_scene
from support.rendering import MODES, SCENES, assert_same_picture
from support.scenes import random_scene, views

pytest.importorskip("kilonerf.kernels._cpu", reason="the native extension is not built")
PATHS = [path.name for path in available_cpu_paths()]
FLOAT32_PATHS = [path.name for path in available_cpu_paths() if path.precision == "float32"]
BOTH = ("toy", "16 voxels per cell")  # in every mode
FEWER_BITS = [path for path in available_cpu_paths() if path.precision != "float32"]
# 8 bits everywhere, as nobody gets them who does not ask for them: these networks are noise.
WORST_PSNR = {"int8": 36.0, "int16": 60.0, "bfloat16": 40.0}
WORST_OF_FEW = {**WORST_PSNR, "int8": 35.0}  # of the scene whose noise has few frequencies
LARGEST_DIFFERENCE = {"int8": 0.8, "int16": 0.005, "bfloat16": 0.2}  # of opacity


@cache
def references(name: str, mode: str) -> list[tuple[Camera, Frame]]:
    """What the reference makes of each view, once for all code paths."""
    scene = SCENES[name]
    reference = ReferenceRenderer(scene)
    return [(camera, reference.render(camera, MODES[mode](scene))) for camera in views(scene).values()]


def contenders(scene: Scene) -> dict[str, Renderer]:
    """Every backend and code path in float32 that this machine can run, apart from the reference."""
    paths = {path: CpuRenderer(scene, threads=2, path=path) for path in FLOAT32_PATHS}
    return {**paths, "float64": ReferenceRenderer(scene, np.float64)}


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, mode) for name in BOTH for mode in MODES if mode != "fine steps"),
        *(pytest.param(name, "fine steps", marks=pytest.mark.slow) for name in BOTH),
        *(
            (name, mode)
            for name in ("odd factors", "one cell", "float16", "few frequencies")
            for mode in ("flying", "no ERT")
        ),
    ],
)
def test_same_samples_and_same_picture(name: str, mode: str) -> None:
    scene = SCENES[name]
    options = MODES[mode](scene)
    others = contenders(scene)
    if name != "toy" or mode == "fine steps":
        del others["float64"]  # slow, and shows the same everywhere
    hit = 0
    for camera, expected in references(name, mode):
        hit += expected.statistics.rays_hit
        for renderer in others.values():
            frame = renderer.render(camera, options)
            assert_same_picture(frame, expected, flips=0.002 if options.ert else 0.0)
            assert frame.statistics.rays_hit == expected.statistics.rays_hit
            # A flip at the threshold costs a few samples of one ray.
            slack = 1 + expected.statistics.samples // 1000 if options.ert else 0
            assert abs(frame.statistics.samples - expected.statistics.samples) <= slack
            assert frame.statistics.evaluations >= frame.statistics.samples
    assert hit > 500  # the views do show the scene


@pytest.mark.parametrize("path", FEWER_BITS, ids=lambda path: path.name)
@pytest.mark.parametrize("name", SCENES)
def test_fewer_bits_are_close(name: str, path: CpuPath) -> None:
    """The very same samples; colours and opacities that differ by rounding, nowhere by more than a flip at ERT."""
    renderer = CpuRenderer(SCENES[name], threads=2, path=path.name)
    for mode in MODES if name == "toy" else ("flying", "no ERT"):
        options = MODES[mode](SCENES[name])
        for camera, expected in references(name, mode):
            frame = renderer.render(camera, options)
            worst = WORST_OF_FEW if name == "few frequencies" else WORST_PSNR
            assert psnr(frame.rgb, expected.rgb) > worst[path.precision]
            limit = LARGEST_DIFFERENCE[path.precision]
            assert np.abs(frame.alpha - expected.alpha).max() < limit + (options.ert_threshold if options.ert else 0.0)
            slack = 2 + expected.statistics.samples // (30 if path.precision == "int8" else 200) if options.ert else 0
            assert abs(frame.statistics.samples - expected.statistics.samples) <= slack
            assert np.array_equal(np.isinf(frame.depth), frame.alpha == 0)


@pytest.mark.parametrize("path", FEWER_BITS, ids=lambda path: path.name)
@pytest.mark.parametrize(
    ("name", "factor"), [("pts_linears.1", 1e-3), ("pts_linears.0", 30.0), ("direction_layer", 30.0)]
)
def test_fewer_bits_fit_networks_of_any_scale(name: str, factor: float, path: CpuPath) -> None:
    """Sums never overflow, small ones keep their digits, and directions are fitted well where they matter most."""
    plain = SCENES["toy"]
    layer = f"{name}.weight"
    scene = replace(plain, layers={**plain.layers, layer: plain.layers[layer] * np.float32(factor)})
    camera = views(scene)["outside"]
    wide = Camera.from_matrix(camera.matrix, 37, 29, fx=9.0)  # cells must be cut into parts for directions to be fitted
    for view in (camera, wide):
        options = RenderOptions(ert=False)
        expected = ReferenceRenderer(scene).render(view, options)
        frame = CpuRenderer(scene, path=path.name).render(view, options)
        assert psnr(frame.rgb, expected.rgb) > (50 if path.precision == "int16" else 25)
        assert frame.statistics.samples == expected.statistics.samples


@pytest.mark.parametrize("path", PATHS)
def test_networks_of_zeros_are_empty_space(path: str) -> None:
    plain = SCENES["toy"]
    scene = replace(plain, layers={name: np.zeros_like(layer) for name, layer in plain.layers.items()})
    frame = CpuRenderer(scene, path=path).render(views(scene)["outside"], RenderOptions())
    assert frame.statistics.samples > 0
    assert not frame.alpha.any()


@pytest.mark.parametrize("path", FEWER_BITS, ids=lambda path: path.name)
def test_float32_can_be_asked_of_a_path_in_fewer_bits(toy_scene: Scene, path: CpuPath) -> None:
    camera, options = views(toy_scene)["outside"], RenderOptions(precision="float32")
    renderer = CpuRenderer(toy_scene, path=path.name)
    assert_same_picture(renderer.render(camera, options), ReferenceRenderer(toy_scene).render(camera, options))
    assert "float32" in renderer.device
    rough = renderer.render(camera, RenderOptions())
    assert "float32" not in renderer.device
    assert not np.array_equal(rough.rgb, renderer.render(camera, options).rgb)


def test_stages_and_counts_are_consistent(toy_scene: Scene) -> None:
    camera = views(toy_scene)["outside"]
    frame = CpuRenderer(toy_scene).render(camera, RenderOptions())
    statistics = frame.statistics
    assert statistics.rays == camera.width * camera.height
    assert 0 < statistics.rays_hit < statistics.rays
    assert statistics.samples_per_hit_ray >= 1
    assert list(statistics.stages_ms) == ["setup", "rays", "march", "networks", "composite", "idle"]
    assert sum(statistics.stages_ms.values()) == pytest.approx(statistics.total_ms, rel=0.2, abs=0.5)


@pytest.mark.parametrize("path", PATHS)
def test_threads_do_not_change_a_bit(path: str) -> None:
    scene = SCENES["16 voxels per cell"]
    camera = views(scene)["outside"].resized(300, 170)
    one, *others = (CpuRenderer(scene, threads=n, path=path).render(camera, RenderOptions()) for n in (1, 2, 5))
    for other in others:
        assert np.array_equal(one.rgb, other.rgb)
        assert np.array_equal(one.alpha, other.alpha)
        assert np.array_equal(one.depth, other.depth)
        assert one.statistics.samples == other.statistics.samples
        assert one.statistics.evaluations == other.statistics.evaluations


@pytest.mark.parametrize("path", PATHS)
def test_query_agrees(path: str) -> None:
    rng = np.random.default_rng(5)
    for scene in SCENES.values():
        low, high = scene.box_min - 0.1, scene.box_max + 0.1
        points = rng.uniform(low, high, (3001, 3)).astype(np.float32)
        directions = rng.normal(size=points.shape)
        directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
        rgb, density = ReferenceRenderer(scene, np.float64).query(points, directions)
        rgb_cpu, density_cpu = CpuRenderer(scene, path=path).query(points, directions)
        assert np.abs(rgb - rgb_cpu).max() < 1e-5
        assert (np.abs(density - density_cpu) / (1 + density)).max() < 1e-4
        outside = ((points <= scene.box_min) | (points >= scene.box_max)).any(1)
        assert outside.any()
        assert not density_cpu[outside].any()
        assert not rgb_cpu[outside].any()
        assert (density_cpu > 0).any()


def test_query_of_no_points(toy_scene: Scene) -> None:
    none = np.empty((0, 3), np.float32)
    for renderer in (ReferenceRenderer(toy_scene), CpuRenderer(toy_scene)):
        rgb, density = renderer.query(none, none)
        assert rgb.shape == (0, 3)
        assert density.shape == (0,)


@pytest.mark.parametrize("ess", [True, False])
def test_empty_scenes_show_the_background(ess: bool) -> None:
    options = RenderOptions(ess=ess, background=(0.25, 0.5, 1.0))
    for scene in (random_scene(occupied=0.0), random_scene(dropped=1.0)):
        if not ess and scene.num_networks:
            continue  # without ESS the networks fill their cells
        for renderer in (ReferenceRenderer(scene), CpuRenderer(scene)):
            frame = renderer.render(views(scene)["outside"], options)
            assert (frame.rgb == np.array([0.25, 0.5, 1.0], np.float32)).all()
            assert not frame.alpha.any()
            assert np.isinf(frame.depth).all()
            assert frame.statistics.samples == frame.statistics.evaluations == 0


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 7), (7, 0), (1, 1), (64, 1), (65, 129)])
def test_any_picture_size(toy_scene: Scene, width: int, height: int) -> None:
    view = views(toy_scene)["outside"]
    camera = Camera.from_matrix(view.matrix, width, height, fx=60)
    expected = ReferenceRenderer(toy_scene).render(camera, RenderOptions())
    for path in PATHS:
        frame = CpuRenderer(toy_scene, path=path).render(camera, RenderOptions())
        assert frame.rgb.shape == (height, width, 3)
        assert psnr(frame.rgb, expected.rgb) > 40
        if path in FLOAT32_PATHS:
            assert_same_picture(frame, expected)


def test_the_shipped_scene(chair_path) -> None:
    """A real scene: dense in places, 16 voxels per cell, most cells empty."""
    scene = load_scene(chair_path)
    assert scene.start_camera is not None
    low, high = scene.box_min, scene.box_max
    inside = Camera.look_at((low + high) / 2, (*high[:2], low[2]), 41, 37)
    for camera in (scene.start_camera.resized(71, 53), inside):
        for changes in ({}, {"ert": False}, {"ess": False}):
            options = RenderOptions.as_trained(scene, near=0.1, **changes)
            expected = ReferenceRenderer(scene).render(camera, options)
            for path in FLOAT32_PATHS:
                frame = CpuRenderer(scene, path=path).render(camera, options)
                assert_same_picture(frame, expected, flips=0.002)
                difference = abs(frame.statistics.samples - expected.statistics.samples)
                assert difference <= (0.001 * expected.statistics.samples if options.ert else 0)
