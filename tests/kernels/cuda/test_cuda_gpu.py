"""The CUDA backend on a real device. ``benchmarks/gpu_check.sh`` runs these; without a device they skip.

Those named ``small`` also run under compute-sanitizer.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from kilonerf.kernels import PER_RAY, PICTURE, Frame, RenderOptions
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.cuda.cupy_device import CupyDevice
from kilonerf.kernels.cuda.device import OutOfDeviceMemoryError
from kilonerf.kernels.cuda.pictures import CudaPicture
from kilonerf.kernels.cuda.renderer import CudaRenderer
from kilonerf.kernels.frame import OPAQUE
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.model_io import BackendError, Camera, Scene, load_scene
from support.fields.octree_scenes import OCTREES
from support.scenes import random_scene, views

pytestmark = pytest.mark.gpu
TOLERANCE = {"float32": 5e-5, "float16": 0.05}  # of colour: single precision; fp16 operands
LEAST_PSNR = {"float32": 80.0, "float16": 45.0}


@pytest.fixture(scope="module")
def device() -> CupyDevice:
    try:
        device = CupyDevice()
    except BackendError as error:
        pytest.skip(str(error))
    if "KILONERF_GPU_TESTS_PLAIN_MEMORY" in os.environ:  # compute-sanitizer cannot see into a pool
        import cupy  # pyright: ignore[reportMissingImports]

        cupy.cuda.set_allocator(None)
    return device


@pytest.fixture(params=["float32", "float16"])
def precision(request: pytest.FixtureRequest, device: CupyDevice) -> str:
    if request.param == "float16" and device.architecture < 75:
        pytest.skip(f"{device.name} has no tensor cores of the kind needed")
    return request.param


def assert_same(frame: Frame, expected: Frame, precision: str, *, ert: bool) -> None:
    """The same samples; colours within the precision, but for a few rays that end a sample earlier or later."""
    assert frame.rgb.shape == expected.rgb.shape
    # A density next to zero may be rectified to zero in one precision only.
    seen_by_one = np.isfinite(frame.depth) != np.isfinite(expected.depth)
    assert seen_by_one.sum() <= (0.0005 if precision == "float32" else 0.02) * seen_by_one.size
    apart = np.abs(frame.rgb - expected.rgb).max(-1, initial=0) > TOLERANCE[precision]
    assert apart.sum() <= (0.005 * apart.size if ert else 0)
    if expected.statistics.samples:
        assert psnr(frame.rgb, expected.rgb) > LEAST_PSNR[precision]
    assert frame.statistics.rays_hit == expected.statistics.rays_hit
    slack = 2 + expected.statistics.samples // 100 if ert else 0
    assert abs(frame.statistics.samples - expected.statistics.samples) <= slack


def options_of(scene: Scene, precision: str, **changes: Any) -> RenderOptions:
    return RenderOptions.as_trained(scene, precision=precision, **changes)


@pytest.mark.parametrize("ess", [True, False])
@pytest.mark.parametrize("ert", [True, False])
def test_toy_views_are_the_reference(device, precision: str, ess: bool, ert: bool) -> None:
    scene = random_scene((3, 2, 2), (16, 16, 16), occupied=0.1, seed=1)
    options = options_of(scene, precision, ess=ess, ert=ert, background=(0.2, 0.5, 0.9))
    renderer, reference = CudaRenderer(scene, device), ReferenceRenderer(scene)
    for camera in views(scene).values():
        assert_same(renderer.render(camera, options), reference.render(camera, options), precision, ert=ert)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (17, 15), (16, 33)])
def test_small_pictures_of_any_size(device, precision: str, toy_scene, width: int, height: int) -> None:
    camera = Camera.from_matrix(views(toy_scene)["outside"].matrix, width, height, fx=60)
    options = options_of(toy_scene, precision)
    frame = CudaRenderer(toy_scene, device).render(camera, options)
    assert_same(frame, ReferenceRenderer(toy_scene).render(camera, options), precision, ert=True)


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 7), (7, 0)])
def test_small_pictures_of_no_size(device, toy_scene, width: int, height: int) -> None:
    camera = Camera.from_matrix(views(toy_scene)["outside"].matrix, width, height, fx=60)
    assert CudaRenderer(toy_scene, device).render(camera, RenderOptions()).rgb.shape == (height, width, 3)


def test_small_frames_one_after_another_are_the_same(device, precision: str, toy_scene) -> None:
    renderer, camera = CudaRenderer(toy_scene, device), views(toy_scene)["outside"]
    options = options_of(toy_scene, precision)
    first = renderer.render(camera, options)
    renderer.render(camera.resized(40, 30), options)  # other buffers in between
    again = renderer.render(camera, options, PICTURE | PER_RAY)
    assert np.array_equal(first.rgb, again.rgb)
    assert first.statistics.samples == again.statistics.samples
    assert again.samples is not None
    assert again.samples.sum() == again.statistics.samples


def test_small_frames_that_stay_on_the_device_are_the_same(device, precision: str, toy_scene) -> None:
    renderer, camera = CudaRenderer(toy_scene, device), views(toy_scene)["outside"]
    options = options_of(toy_scene, precision)
    expected = renderer.render(camera, options)
    frame = renderer.render(camera, options, on_device=True)
    dark = renderer.render(camera, options_of(toy_scene, precision, background=(0.0, 0.0, 0.0)), on_device=True)
    with ThreadPoolExecutor(1) as other_thread:  # the interface's: a pick
        host = other_thread.submit(lambda: frame.host()).result()
    for name in ("rgb", "alpha", "depth"):
        assert np.array_equal(getattr(host, name), getattr(expected, name))
    assert isinstance(frame.resident, CudaPicture)
    with device.active():
        (rgbz,) = device.download([frame.resident.launched.arrays["rgbz"]])
    solid = rgbz[..., 3]
    assert np.array_equal(solid, np.where(expected.alpha >= OPAQUE, expected.depth, np.inf))
    assert np.array_equal(dark.host().alpha, expected.alpha)
    assert not np.array_equal(dark.host().rgb, expected.rgb)


def test_frames_reach_opengl_by_every_way(device, toy_scene) -> None:
    from benchmarks.gpu.interop import NoContextError, context_on, frames_by_way

    try:
        context = context_on(device)
    except NoContextError as reason:
        pytest.skip(str(reason))
    cameras = [camera.resized(70, 50) for camera in views(toy_scene).values()]
    with context:
        result = frames_by_way(device, toy_scene, cameras, context, repeats=2)
    context.release()
    for way in ("texture", "buffer", "host"):
        assert "failed" not in result[way], result[way]
        assert result[way]["largest_difference_of_255"] <= 1


def test_small_query_is_the_reference(device, precision: str, toy_scene) -> None:
    rng = np.random.default_rng(5)
    points = rng.uniform(toy_scene.box_min - 0.1, toy_scene.box_max + 0.1, (3001, 3)).astype(np.float32)
    directions = rng.normal(size=points.shape)
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    renderer = CudaRenderer(toy_scene, device)
    # A query takes the precision of the frame before it.
    renderer.render(views(toy_scene)["outside"].resized(8, 8), options_of(toy_scene, precision))
    rgb, density = renderer.query(points, directions)
    expected_rgb, expected_density = ReferenceRenderer(toy_scene).query(points, directions)
    assert np.abs(rgb - expected_rgb).max() < TOLERANCE[precision]
    assert (np.abs(density - expected_density) / (1 + expected_density)).max() < 2 * TOLERANCE[precision]
    assert np.array_equal(rgb.any(1), expected_rgb.any(1))
    assert (density > 0).any()
    assert renderer.query(points[:0], directions[:0])[0].shape == (0, 3)


@pytest.mark.parametrize("name", ["codes", "shallow"])
def test_small_octree_fields_are_the_reference(device, precision: str, name: str) -> None:
    scene = OCTREES[name]
    renderer, reference = CudaRenderer(scene, device), ReferenceRenderer(scene)
    for ess, ert in ((True, True), (False, False)):
        options = options_of(scene, precision, ess=ess, ert=ert)
        for camera in (views(scene)["outside"].resized(37, 29), views(scene)["inside"].resized(21, 18)):
            assert_same(renderer.render(camera, options), reference.render(camera, options), precision, ert=ert)
    points = np.random.default_rng(5).uniform(scene.box_min, scene.box_max, (3001, 3)).astype(np.float32)
    directions = np.broadcast_to(np.array([0.6, 0.0, 0.8], np.float32), points.shape)
    rgb, density = renderer.query(points, directions)
    expected_rgb, expected_density = reference.query(points, directions)
    assert np.abs(rgb - expected_rgb).max() < TOLERANCE[precision]
    assert (np.abs(density - expected_density) / (1 + expected_density)).max() < 2 * TOLERANCE[precision]


def test_the_shipped_scene_is_the_cpus(device, precision: str, chair_path) -> None:
    scene = load_scene(chair_path)
    assert scene.start_camera is not None
    renderer, cpu = CudaRenderer(scene, device), CpuRenderer(scene, path="float32")
    for width, height in ((401, 299), (800, 800)):
        camera = scene.start_camera.resized(width, height)
        for ert in (True, False):
            options = options_of(scene, precision, ert=ert)
            frame, expected = renderer.render(camera, options), cpu.render(camera, options)
            assert psnr(frame.rgb, expected.rgb) > LEAST_PSNR[precision]
            difference = abs(frame.statistics.samples - expected.statistics.samples)
            assert difference <= (0.01 * expected.statistics.samples if ert else 0)


def test_too_little_memory_is_one_line(device, toy_scene, monkeypatch: pytest.MonkeyPatch) -> None:
    renderer, camera = CudaRenderer(toy_scene, device), views(toy_scene)["outside"]
    renderer.render(camera, RenderOptions())
    monkeypatch.setattr(device, "free_bytes", lambda: 1 << 10)
    with pytest.raises(BackendError, match=r"a picture of 500x500 needs \d+ MiB, .* has 1 MiB free") as error:
        renderer.render(camera.resized(500, 500), RenderOptions())
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    renderer.render(camera, RenderOptions())  # and goes on


def test_an_allocation_beyond_the_device_is_told(device) -> None:
    with device.active(), pytest.raises(OutOfDeviceMemoryError):
        device.allocate((1 << 44,), np.uint8, "too much")
