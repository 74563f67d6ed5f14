"""The whole program over a fake CUDA runtime: its GPU is the CPU renderer, or the CUDA kernels run on the CPU."""

import shutil

import numpy as np
import pytest
from PIL import Image

from kilonerf.kernels import PER_RAY, PICTURE, BackendChoice, Frame, create_renderer
from kilonerf.kernels.cuda.renderer import CudaRenderer
from kilonerf.model_io import save_scene
from kilonerf.viewer.rendering.heat_maps import false_colors
from kilonerf.viewer.rendering.interop import CudaRuntime, Interop
from kilonerf.viewer.rendering.worker import RenderResult
from kilonerf.viewer.settings import ViewerSettings
from simt.compilation import why_unavailable
from simt.simt_device import SimtDevice
from support.driving import Driver
from support.fake_cudart import FakeCudart, HostDevice, cudaError_t
from support.fake_cudart import on_device as as_on_device
from support.scenes import random_scene

pytestmark = pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")


class GpuRenderer:
    """The CPU renderer in the clothes of a CUDA one, which counts where its pictures stay."""

    backend, device = "cuda", "fake GPU"
    outputs, fallback = PICTURE, ""

    def __init__(self, scene, gpu: "Gpu"):
        self.scene, self._gpu = scene, gpu
        self._cpu = create_renderer(scene, "cpu")

    def render(self, camera, options, outputs=PICTURE, *, on_device=False, cancel=None):
        frame = self._cpu.render(camera, options, outputs, cancel=cancel)
        if on_device:
            return as_on_device(frame, self._gpu.device)
        self._gpu.on_host += 1
        return frame

    def query(self, points, directions):
        return self._cpu.query(points, directions)


class Gpu:
    """What stands in for one: its renderers' device, its CUDA runtime."""

    def __init__(self):
        self.device = HostDevice()
        self.cudart = FakeCudart()
        self.interop = Interop(lambda: CudaRuntime(self.cudart, vendor=""))
        self.on_host = 0  # pictures that were rendered to the host

    def drive(self, folder, scene, **arguments) -> Driver:
        def make_renderer(scene, backend):
            return GpuRenderer(scene, self) if backend.name in ("auto", "cuda") else create_renderer(scene, backend)

        arguments = {"interop": self.interop, "make_renderer": make_renderer, **arguments}
        return Driver(folder, scene, size=(640, 480), **arguments)


@pytest.fixture
def gpu():
    gpu = Gpu()
    yield gpu
    assert gpu.cudart.registered == []  # however the program ended


def shown_by(driver) -> RenderResult:
    result = driver.app.view.shown
    assert result is not None
    return result


def stays_on_the_gpu(result: RenderResult) -> bool:
    assert result.frame is not None
    return result.frame.resident is not None


def picture_of(driver):
    return driver.picture().astype(int)


def assert_shown_exactly(driver, frame: Frame):
    driver.app.notices.log.clear()  # they would cover the picture
    difference = np.abs(picture_of(driver) - frame.to_rgb8()).max(axis=2)
    difference[:2] = difference[:, :2] = 0
    assert (difference <= 1).mean() > 0.999


@pytest.mark.parametrize("way", ["texture", "buffer"])
def test_pictures_stay_on_the_gpu_until_the_host_needs_them(gpu, toy_scene, tmp_path, way):
    if way == "buffer":
        gpu.cudart.failing["cudaGraphicsGLRegisterImage"] = cudaError_t.cudaErrorUnknown
    with gpu.drive(tmp_path, toy_scene) as driver:
        driver.settle()
        driver.drag((100, 200), (160, 230))
        driver.settle()
        shown = shown_by(driver)
        assert stays_on_the_gpu(shown)
        assert shown.request.scale == 1.0
        assert (gpu.on_host, gpu.device.downloads) == (0, 0)
        assert driver.app.statistics.transfer == {"texture": "shared texture", "buffer": "shared buffer"}[way]
        assert driver.app.statistics.frame.samples > 0
        expected = create_renderer(toy_scene, "cpu").render(shown.request.camera, shown.request.shot.options)
        assert_shown_exactly(driver, expected)
        driver.press("F12")
        driver.until(lambda: any("Screenshot saved" in notice.text for notice in driver.app.notices.log))
        saved = np.asarray(Image.open(tmp_path / "screenshot_001.png")).astype(int)
        assert (np.abs(saved - expected.to_rgb8()).max(axis=2) <= 1).mean() > 0.999

        ys, xs = np.nonzero(expected.alpha > 0.9)
        x, y = int(xs[len(xs) // 3]), int(ys[len(ys) // 3])
        camera = shown.request.camera
        hit, again = (driver.app.view.pick((x + 0.5) / camera.width, (y + 0.5) / camera.height) for _ in range(2))
        assert hit is not None
        assert again is not None
        assert hit[1] == again[1] == pytest.approx(expected.depth[y, x])
        assert gpu.device.downloads == 1  # for both
        driver.move(x, y)
        driver.press("f")
        driver.settle()
        ahead = np.linalg.inv(driver.app.navigator.matrix()) @ [*hit[0], 1.0]
        assert abs(ahead[0] / ahead[2]) < 0.05


def test_what_is_in_the_way_is_said_once_and_pictures_come_by_the_host(gpu, toy_scene, tmp_path):
    gpu.cudart.devices = None
    gpu.cudart.failing["cudaGraphicsMapResources"] = cudaError_t.cudaErrorUnknown
    with gpu.drive(tmp_path, toy_scene) as driver:
        driver.settle()
        before = gpu.on_host
        driver.drag((100, 200), (160, 230))
        driver.settle()
        shown = shown_by(driver)
        assert isinstance(shown.frame, Frame)
        assert gpu.on_host > before
        assert gpu.device.downloads == 1  # the first picture, with which it was tried
        assert driver.app.statistics.transfer == "through the host"
        said = [notice for notice in driver.app.notices.log if "__NV_PRIME_RENDER_OFFLOAD=1" in notice.text]
        assert [notice.times for notice in said] == [1]
        assert_shown_exactly(driver, shown.frame)


def test_without_interop_nothing_is_tried(gpu, toy_scene, tmp_path):
    gpu.interop = None
    with gpu.drive(tmp_path, toy_scene, settings=ViewerSettings(interop=False)) as driver:
        driver.settle()
        assert not stays_on_the_gpu(shown_by(driver))
        assert gpu.on_host > 0
        assert driver.app.statistics.transfer == "through the host"
        assert not driver.app.notices.log


@pytest.mark.slow
def test_another_scene_and_another_backend(gpu, toy_scene, tmp_path):
    other = tmp_path / "other.knf"
    save_scene(random_scene(seed=3), other)
    with gpu.drive(tmp_path, toy_scene) as driver:
        driver.settle()
        first = {resource.glo for resource in gpu.cudart.registered}
        assert len(first) == 1
        driver.app.open_scene(other)
        driver.until(lambda: driver.app.scene_path == other)
        driver.settle()
        assert len(gpu.cudart.registered) == 1
        assert gpu.cudart.counts["cudaGraphicsUnregisterResource"] >= 1
        driver.settings.backend = BackendChoice("cpu")
        driver.settle()
        assert not stays_on_the_gpu(shown_by(driver))
        assert gpu.cudart.registered == []
        assert driver.app.statistics.transfer == ""
        driver.settings.backend = BackendChoice("cuda")
        driver.settle()
        assert stays_on_the_gpu(shown_by(driver))
        assert not driver.app.notices.log


@pytest.mark.slow
def test_a_gpu_that_breaks_leaves_the_program_with_the_cpu(gpu, toy_scene, tmp_path):
    with gpu.drive(tmp_path, toy_scene) as driver:
        driver.settle()
        gpu.device.broken = True
        assert driver.app.view.pick(0.5, 0.5) is None
        gpu.cudart.failing["cudaSetDevice"] = cudaError_t.cudaErrorUnknown
        driver.settings.ess = False
        driver.settle()
        said = [notice.text for notice in driver.app.notices.log]
        assert "Rendering failed: backend 'cuda': the device fell off the bus; going on with the CPU" in said
        assert driver.settings.backend.name == "cpu"
        assert not stays_on_the_gpu(shown_by(driver))


@pytest.mark.slow
@pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
def test_simt_the_cuda_kernels_pictures_are_shown(toy_scene, tmp_path):
    """The real renderer and kernels, a window, and no GPU: frames of the SIMT host, through a shared texture."""
    gpu = Gpu()
    device = SimtDevice(80)
    settings = ViewerSettings(automatic_resolution=False, fixed_scale=0.2)
    make = {"make_renderer": lambda scene, backend: CudaRenderer(scene, device), "settings": settings}
    with gpu.drive(tmp_path, toy_scene, **make) as driver:
        driver.settle()
        for _ in range(3):
            driver.drag((100, 200), (160, 230))
            driver.settle()
        shown = shown_by(driver)
        assert stays_on_the_gpu(shown)
        assert gpu.interop.way == "texture"
        assert driver.app.statistics.device == "SIMT host, float16 tensor cores"
        camera = shown.request.camera
        expected = CudaRenderer(toy_scene, SimtDevice(80)).render(camera, shown.request.shot.options)
        assert shown.frame is not None
        np.testing.assert_array_equal(shown.frame.host().rgb, expected.rgb)  # still its own, after pictures before it
        big = Image.fromarray(expected.to_rgb8()).resize(picture_of(driver).shape[1::-1], Image.Resampling.BILINEAR)
        assert np.abs(picture_of(driver) - np.asarray(big).astype(int)).mean() < 1.0
        # Pictures follow each other in the memory of few: shown, waiting, being made.
        assert device.allocations.count("rgbz") <= 4

        driver.settings.heat_map = "samples"
        driver.settle()
        mapped, counted = shown_by(driver), CudaRenderer(toy_scene, SimtDevice(80))
        assert mapped.frame is not None
        frame = counted.render(mapped.request.camera, mapped.request.shot.options, PICTURE | PER_RAY)
        np.testing.assert_array_equal(mapped.frame.rgb, false_colors(frame, "samples", "fitted").rgb)
        assert driver.app.statistics.transfer == "through the host"
        driver.settings.heat_map = "off"
        driver.settle()
        assert stays_on_the_gpu(shown_by(driver))
        assert driver.app.statistics.transfer == "shared texture"
    assert gpu.cudart.registered == []


@pytest.mark.slow
def test_a_picture_on_the_gpu_is_compared_with_one_of_the_cpu(gpu, toy_scene, tmp_path):
    with gpu.drive(tmp_path, toy_scene) as driver:
        driver.settings.compare.against, driver.settings.compare.backend = "backend", "cpu"
        driver.settle()
        comparison = driver.app.compare.comparison
        assert stays_on_the_gpu(shown_by(driver))
        assert comparison.together
        assert comparison.difference is not None
        assert comparison.difference.identical  # its GPU is the CPU renderer
        driver.settings.compare.against = "ess"
        driver.settle()
        assert stays_on_the_gpu(shown_by(driver))
        assert comparison.difference is not None
        assert not comparison.difference.identical
        assert driver.app.notices.log == type(driver.app.notices.log)(maxlen=50)
