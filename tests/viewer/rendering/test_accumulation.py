"""A view at rest gets samples until it has all of them; then nothing is done any more."""

import math
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from kilonerf.kernels import BackendChoice, CancelToken, RenderOptions, create_renderer
from kilonerf.model_io import Camera
from kilonerf.viewer.recording.film import Film, still_exposures
from kilonerf.viewer.recording.stills import PictureMaker
from kilonerf.viewer.rendering.accumulation import LinearMean, offset_camera, to_bytes
from kilonerf.viewer.rendering.resolution import REST_SECONDS, FrameScheduler, ResolutionController, Shot
from kilonerf.viewer.rendering.worker import RenderRequest, RenderWorker
from support.driving import Driver
from support.gated_renderer import PATIENCE, GatedRenderer

CAMERA = Camera.look_at((3.0, 2.0, 1.0), (0.0, 0.0, 0.0), 48, 36)
needs_window = pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")


def request_of(scene, samples=1, camera=CAMERA, backend="cpu"):
    return RenderRequest(Shot(scene, BackendChoice(backend), camera, RenderOptions()), 1.0, camera, samples)


class Waiting:
    """A worker, and a way to wait for its results."""

    def __init__(self, make=create_renderer):
        self.arrived = threading.Semaphore(0)
        self.worker = RenderWorker(self.arrived.release, make)

    def result(self):
        assert self.arrived.acquire(timeout=PATIENCE)
        (result,) = self.worker.take_results()
        assert result.error is None
        return result


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def waiting():
    made = []

    def make(*arguments):
        made.append(Waiting(*arguments))
        return made[-1]

    yield make
    for one in made:
        one.worker.close()


def test_the_first_sample_is_in_the_middle_and_the_others_fill_the_pixel():
    assert offset_camera(CAMERA, 0) is CAMERA
    offsets = np.array([(CAMERA.cx - c.cx, CAMERA.cy - c.cy) for c in (offset_camera(CAMERA, j) for j in range(64))])
    assert np.abs(offsets).max() < 0.5
    assert np.abs(offsets.mean(axis=0)).max() < 0.02
    counts, _, _ = np.histogram2d(offsets[:, 0], offsets[:, 1], bins=4, range=[[-0.5, 0.5]] * 2)
    assert counts.min() >= 2  # 4 on average


def test_float_and_byte_pictures_have_the_same_mean():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (5, 4, 6, 3), np.uint8)
    bytes_mean, float_mean = LinearMean(), LinearMean()
    for picture in pictures:
        bytes_mean.add(picture)
        float_mean.add(picture.astype(np.float32) / np.float32(255.0))
    np.testing.assert_array_equal(bytes_mean.mean(), float_mean.mean())
    assert to_bytes(pictures) is pictures


def test_rest_screenshot_and_video_are_the_same_picture(toy_scene, waiting):
    """Bit for bit; with one sample, it is the renderer's."""
    window = waiting()
    renderer, options = create_renderer(toy_scene, "cpu"), RenderOptions()
    window.worker.request(request_of(toy_scene))
    first = window.result()
    np.testing.assert_array_equal(first.frame.rgb, renderer.render(CAMERA, options).rgb)
    for samples in (2, 8, 3):  # fewer than before, too
        window.worker.request(request_of(toy_scene, samples))
        result = window.result()
        still = PictureMaker(options, samples=samples).values(renderer, CAMERA, CancelToken())
        np.testing.assert_array_equal(result.frame.rgb, still)
        film = LinearMean()
        for camera in still_exposures([CAMERA], Film(samples))[0]:
            film.add(renderer.render(camera, options).rgb)
        np.testing.assert_array_equal(film.mean(), still)
        np.testing.assert_array_equal(result.frame.depth, first.frame.depth)
        np.testing.assert_array_equal(result.frame.alpha, first.frame.alpha)
    assert np.abs(result.frame.rgb - first.frame.rgb).max() > 0.02


def test_no_sample_is_made_twice(toy_scene, waiting):
    cameras = []
    window = waiting(lambda scene, backend: GatedRenderer(scene, backend, on_render=lambda c, _: cameras.append(c)))
    for samples in (1, 2, 4, 8):
        window.worker.request(request_of(toy_scene, samples))
        window.result()
    assert cameras == [offset_camera(CAMERA, number) for number in range(8)]


def test_another_view_does_not_wait_for_samples(toy_scene, waiting):
    """A frame of like size would be finished; a further sample of the view before is given up at once."""
    gate = threading.Event()
    gate.set()
    renderers = []

    def make(scene, backend):
        renderers.append(GatedRenderer(scene, backend, gate=gate))
        return renderers[-1]

    window = waiting(make)
    window.worker.request(request_of(toy_scene))
    window.result()
    gate.clear()
    window.worker.request(request_of(toy_scene, 16))
    wait_until(lambda: len(renderers[0].started) == 2)
    assert window.worker.sampling
    moved = request_of(toy_scene, camera=CAMERA.moved(np.eye(4)))
    window.worker.request(moved)
    wait_until(lambda: renderers[0].cancelled == 1)  # though the gate is shut
    gate.set()
    assert window.result().request == moved
    assert len(renderers[0].started) == 3
    window.worker.request(request_of(toy_scene, 2))  # back: from the start
    window.result()
    assert len(renderers[0].started) == 5


def test_samples_double_from_rest_on_up_to_what_is_wanted(toy_scene):
    scheduler = FrameScheduler(ResolutionController())
    shot = request_of(toy_scene).shot
    assert not scheduler.lacks_samples(16)
    scheduler.next_scale(shot, 0.0)
    assert scheduler.next_samples(1.0, 16) is None  # there is no picture yet
    scheduler.frame_done(shot, 1.0, 5.0)
    assert scheduler.next_scale(shot, 0.01) is None
    assert scheduler.next_samples(0.5 * REST_SECONDS, 16) is None
    wanted = []
    while (samples := scheduler.next_samples(1.0, 12)) is not None:
        wanted.append(samples)
        scheduler.samples_done(shot, samples)
    assert wanted == [2, 4, 8, 12]
    assert not scheduler.lacks_samples(12)
    assert scheduler.next_samples(1.0, 4) == 4
    other = replace(shot, camera=CAMERA.resized(20, 20))
    scheduler.next_scale(other, 2.0)
    assert scheduler.next_samples(5.0, 16) is None
    scheduler.frame_done(other, math.inf, None)
    assert scheduler.next_samples(5.0, 16) is None  # it failed: not again


@pytest.mark.slow
@needs_window
def test_the_window_ends_with_all_samples_and_goes_idle(driver, tmp_path):
    driver.move(200, 300)  # where no tooltip comes up
    driver.settings.rest_samples = 8
    driver.settle()
    shown = driver.app.view.shown
    assert shown.request.samples == 8
    assert driver.app.picture.progress == "8 of 8 samples per pixel"
    assert driver.app.statistics.frame is not None
    assert not driver.app.picture.busy
    assert not driver.app.worker.busy
    expected = PictureMaker(shown.request.shot.options, samples=8).values(
        create_renderer(driver.app.scene, "cpu"), shown.request.camera, CancelToken()
    )
    np.testing.assert_array_equal(shown.frame.rgb, expected)
    assert (np.abs(driver.picture() - to_bytes(expected)).max(axis=2)[:, 2:] <= 1).mean() > 0.999
    driver.press("F12")  # what is on the screen is that picture: nothing is rendered for it
    driver.until(lambda: any("Screenshot saved" in notice.text for notice in driver.app.notices.log))
    driver.settings.heat_map = "samples"
    driver.settle()
    assert driver.app.view.shown.request.samples == 1
    driver.settings.heat_map = "off"
    driver.settings.rest_samples = 1
    driver.settle()
    plain = create_renderer(driver.app.scene, "cpu").render(shown.request.camera, shown.request.shot.options)
    np.testing.assert_array_equal(driver.app.view.shown.frame.rgb, plain.rgb)


@pytest.mark.slow
@needs_window
def test_a_screenshot_before_the_last_sample_has_them_all(toy_scene, tmp_path):
    """It is rendered beside the window."""
    from PIL import Image

    with Driver(tmp_path, toy_scene, size=(500, 400), settings=None) as driver:
        driver.settle()
        driver.settings.screenshot.samples = 8
        driver.app.take_screenshot()
        driver.until(lambda: any("Screenshot saved" in notice.text for notice in driver.app.notices.log))
        shown = driver.app.view.shown
        assert shown is not None
        assert shown.request.samples == 1
        maker = PictureMaker(shown.request.shot.options, samples=8)
        expected = maker.picture(create_renderer(toy_scene, "cpu"), shown.request.camera, CancelToken())
        with Image.open(tmp_path / "screenshot_001.png") as image:
            np.testing.assert_array_equal(np.asarray(image), expected)
