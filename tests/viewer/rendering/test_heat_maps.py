"""False colours, by themselves and in the real window."""

import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from kilonerf.kernels import PER_RAY, PICTURE, BackendChoice, Frame, FrameStatistics, RenderOptions, create_renderer
from kilonerf.kernels.sampling import ray_directions
from kilonerf.model_io import Camera
from kilonerf.viewer.rendering.heat_maps import (
    MOST_SAMPLES,
    NOTHING,
    SCALE,
    TICKS,
    false_colors,
    network_colors,
    scale_colors,
    scale_position,
    shown_range,
    value_text,
)
from kilonerf.viewer.rendering.normals import normals_from_depth
from kilonerf.viewer.rendering.resolution import Shot
from kilonerf.viewer.rendering.worker import RenderRequest, RenderResult, RenderWorker
from support.driving import Driver

needs_window = pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")


def frame_of(samples, network) -> Frame:
    samples, network = np.asarray(samples, np.int32), np.asarray(network, np.int32)
    plane = np.ones(samples.shape, np.float32)
    rgb = np.full((*samples.shape, 3), 0.5, np.float32)
    return Frame(rgb, plane, 2.0 * plane, FrameStatistics(), samples, network)


def test_the_scale_is_logarithmic_and_ends_at_its_ends() -> None:
    assert scale_position(np.array([0, 1, 8, 64, 512, 10_000])).tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1])
    assert max(TICKS) == MOST_SAMPLES


def test_more_samples_are_brighter() -> None:
    colors = scale_colors(scale_position(np.arange(1, MOST_SAMPLES + 1)))
    luminance = colors @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()
    assert luminance[0] > np.dot(NOTHING, [0.2126, 0.7152, 0.0722]) + 0.03
    assert (colors >= 0).all()
    assert (colors <= 1).all()


def test_networks_can_be_told_apart() -> None:
    colors = network_colors(4096)
    assert (colors >= 0).all()
    assert (colors <= 1).all()
    assert np.abs(np.diff(colors, axis=0)).max(axis=1).min() > 0.1
    assert len(np.unique(np.round(255 * colors), axis=0)) > 4000
    assert colors.max(axis=1).min() > 0.5  # none looks like nothing


def test_each_pixel_has_the_colour_of_its_count_or_its_network() -> None:
    frame = frame_of([[0, 1, 8], [64, 600, 0]], [[-1, 3, 3], [0, 7, -1]])
    by_samples, by_network = false_colors(frame, "samples"), false_colors(frame, "networks")
    expected = scale_colors(np.array([0, 1 / 3, 2 / 3, 1]))
    np.testing.assert_allclose(by_samples.rgb[[0, 0, 1, 1], [1, 2, 0, 1]], expected, atol=1e-6)
    np.testing.assert_array_equal(by_network.rgb[[0, 0, 1, 1], [1, 2, 0, 1]], network_colors(8)[[3, 3, 0, 7]])
    for mapped in (by_samples, by_network):
        np.testing.assert_allclose(mapped.rgb[[0, 1], [0, 2]], np.array([NOTHING, NOTHING]))
        assert mapped.rgb.dtype == np.float32
        assert mapped.depth is frame.depth
        assert mapped.alpha is frame.alpha
    assert false_colors(frame, "off") is frame


def test_nothing_at_all_can_be_mapped() -> None:
    for shape in ((0, 0), (2, 3)):
        frame = frame_of(np.zeros(shape), np.full(shape, -1))
        for heat_map in ("samples", "networks"):
            assert (false_colors(frame, heat_map).rgb == np.array(NOTHING, np.float32)).all()


def rendered(scene, backend, heat_map) -> RenderResult:
    """What the worker makes of a request."""
    done = threading.Event()
    worker = RenderWorker(done.set)
    worker.keep_on_device = True
    camera = Camera.look_at((3.0, 2.0, 1.0), (0.0, 0.0, 0.0), 40, 30)
    worker.request(RenderRequest(Shot(scene, BackendChoice(backend), camera, RenderOptions(), heat_map), 1.0, camera))
    assert done.wait(60)
    (result,) = worker.take_results()
    worker.close()
    return result


@pytest.mark.parametrize("heat_map", ["samples", "networks"])
def test_the_worker_makes_them_with_a_backend_that_counts(toy_scene, heat_map) -> None:
    result = rendered(toy_scene, "reference", heat_map)
    assert result.error is None
    counted = create_renderer(toy_scene, "reference").render(result.request.camera, RenderOptions(), PICTURE | PER_RAY)  # type: ignore[attr-defined]
    assert isinstance(result.frame, Frame)
    np.testing.assert_array_equal(result.frame.rgb, false_colors(counted, heat_map).rgb)
    assert len(np.unique(result.frame.rgb.reshape(-1, 3), axis=0)) > 5


def test_the_worker_says_which_backends_count(toy_scene) -> None:
    result = rendered(toy_scene, "reference", "lookups")
    assert (result.frame, result.error) == (None, "the heat map 'lookups' needs the CPU backend, got 'reference'")


@pytest.mark.slow
@needs_window
def test_a_heat_map_in_the_window(toy_scene, tmp_path) -> None:
    with Driver(tmp_path, toy_scene, size=(420, 240)) as driver:
        driver.settings.backend, driver.settings.heat_map = BackendChoice("reference"), "networks"
        driver.settle()
        shown = driver.app.view.shown
        assert shown is not None
        assert isinstance(shown.frame, Frame)
        width = shown.request.shot.camera.width
        assert shown.request.scale == 1.0
        np.testing.assert_allclose(shown.frame.rgb[0, 0], np.array(NOTHING))
        assert shown.request.shot.options.background == NOTHING  # what comes into view while the camera turns
        difference = np.abs(driver.picture().astype(int) - shown.frame.to_rgb8()).max(axis=2)
        assert (difference[2:, 2:] <= 1).mean() > 0.999
        driver.press("F12")
        driver.until(lambda: any("Screenshot saved" in notice.text for notice in driver.app.notices.log))
        saved = np.asarray(Image.open(tmp_path / "screenshot_001.png")).astype(int)
        assert (np.abs(saved - shown.frame.to_rgb8()).max(axis=2) <= 1).mean() > 0.999
        ys, xs = np.nonzero(shown.frame.alpha > 0.9)
        x, y = xs[len(xs) // 2] + 0.5, ys[len(ys) // 2] + 0.5
        assert driver.app.view.pick(x / width, y / shown.request.camera.height) is not None
        driver.settings.heat_map = "off"
        driver.settle()
        after = driver.app.view.shown
        assert after is not None
        assert after.request.shot.heat_map == "off"
        assert after.request.shot.options.background == toy_scene.background


@needs_window
def test_a_backend_that_cannot_goes_on_with_the_picture_and_says_why(toy_scene, tmp_path) -> None:
    with Driver(tmp_path, toy_scene, size=(420, 240)) as driver:
        driver.settings.backend, driver.settings.heat_map = BackendChoice("reference"), "lookups"
        driver.settle()
        assert driver.settings.heat_map == "off"
        assert driver.settings.backend.name == "reference"
        shown = driver.app.view.shown
        assert shown is not None
        assert shown.request.shot.heat_map == "off"
        assert [(notice.text, notice.times) for notice in driver.app.notices.log] == [
            (
                "Rendering failed: the heat map 'lookups' needs the CPU backend, got 'reference'; "
                "going on with the picture itself",
                1,
            )
        ]


def test_a_fitted_scale_ends_where_the_picture_does() -> None:
    samples = np.ones((50, 50))
    samples[:10] = 40
    samples[0, 0] = 9000  # one pixel does not stretch it
    frame = frame_of(samples, np.zeros((50, 50)))
    assert shown_range(frame, "samples") == (1.0, MOST_SAMPLES)
    assert shown_range(frame, "samples", "fitted") == (1.0, 40.0)
    assert shown_range(frame, "samples", (1.0, 7.0)) == (1.0, 7.0)
    colors = false_colors(frame, "samples", "fitted").rgb
    np.testing.assert_allclose(colors[5, 5], SCALE[-1], atol=1e-3)
    np.testing.assert_allclose(colors[20, 5], SCALE[0], atol=1e-3)
    assert shown_range(frame, "networks", "fitted") is None


def plane_frame(camera: Camera, normal, distance) -> Frame:
    """Depth of the plane normal . x = distance."""
    directions = ray_directions(camera).astype(np.float64)
    depth = (distance - camera.position @ normal) / (directions @ normal)
    alpha = (depth > 0).astype(np.float32)
    depth = np.where(depth > 0, depth, np.inf).astype(np.float32)
    return Frame(np.zeros((*depth.shape, 3), np.float32), alpha, depth, FrameStatistics())


def test_normals_of_a_plane_are_its_normal_up_to_its_horizon() -> None:
    camera = Camera.look_at((3.0, 2.0, 1.5), (0.0, 0.0, 0.5), 120, 90)
    normal = np.array([0.1, 0.2, 0.97]) / np.linalg.norm([0.1, 0.2, 0.97])
    frame = plane_frame(camera, normal, 0.2)
    normals = normals_from_depth(frame.depth, camera)
    seen = (frame.alpha > 0) & np.isfinite(normals[..., 0])
    assert seen.mean() > 0.5
    np.testing.assert_allclose(normals[seen], np.broadcast_to(normal, normals[seen].shape), atol=2e-3)
    shown = false_colors(frame, "normals", camera=camera).rgb
    np.testing.assert_allclose(shown[seen], 0.5 + 0.5 * normals[seen], atol=1e-6)
    x, y = 60, 80
    assert value_text(frame, "normals", x, y, camera).split() == [f"{value:+.2f}" for value in normal]
    assert value_text(frame, "depth", x, y, camera) == f"{frame.depth[y, x]:.4g}"


def test_depth_is_bright_where_it_is_near_and_nothing_where_nothing_is() -> None:
    depth = np.linspace(2.0, 8.0, 400, dtype=np.float32).reshape(20, 20)
    alpha = np.ones((20, 20), np.float32)
    alpha[0, 0], depth[0, 0] = 0.0, np.inf
    frame = Frame(np.zeros((20, 20, 3), np.float32), alpha, depth, FrameStatistics())
    low, high = shown_range(frame, "depth", "fitted") or (0.0, 0.0)
    assert (low, high) == pytest.approx((2.0, 8.0), rel=0.03)
    rgb = false_colors(frame, "depth", "fitted").rgb
    luminance = rgb.reshape(-1, 3)[1:] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) <= 1e-6).all()
    np.testing.assert_allclose(rgb[0, 0], NOTHING)
    assert value_text(frame, "depth", 0, 0, Camera.look_at((1, 1, 1), (0, 0, 0), 20, 20)) == "background"


@pytest.mark.parametrize("heat_map", ["depth", "alpha", "normals", "samples", "networks", "lookups"])
def test_the_cpu_gives_all_of_them(toy_scene, heat_map) -> None:
    result = rendered(toy_scene, "cpu", heat_map)
    assert result.error is None
    assert result.frame is not None
    assert len(np.unique(result.frame.rgb.reshape(-1, 3), axis=0)) > 5
