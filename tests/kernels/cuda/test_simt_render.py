"""Pictures of the CUDA kernels, executed on the CPU by the SIMT host, against the reference."""

import numpy as np
import pytest

from kilonerf.kernels import PER_RAY, PICTURE, RenderOptions
from kilonerf.kernels.cuda.renderer import CudaRenderer
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.model_io import Camera, KiloNeRFScene, load_kilonerf_scene
from simt.compilation import why_unavailable
from simt.simt_device import SimtDevice
from simt.simt_pictures import DEVICES, ON_DEVICES, ORDERS, SCENES, assert_as_reference, small_views
from support.rendering import MODES, rays_by_definition
from support.scenes import random_scene, views

OUTPUTS = PICTURE | PER_RAY
pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))


@pytest.mark.parametrize(
    ("name", "mode", "on"),
    [
        *(("toy", mode, on) for mode in MODES for on in ("tensor cores, sm_80", "float32")),
        *(pytest.param("toy", mode, "tensor cores, sm_75", marks=pytest.mark.slow) for mode in MODES),
        *(
            (name, mode, on)
            for name in SCENES
            for mode in ("flying", "no ERT")
            for on in ("tensor cores, sm_80", "float32")
            if name != "toy"
        ),
    ],
)
def test_simt_pictures_are_the_references(name: str, mode: str, on: str) -> None:
    scene = SCENES[name]
    architecture, precision = DEVICES[on]
    options = MODES[mode](scene)
    reference, renderer = ReferenceRenderer(scene), CudaRenderer(scene, SimtDevice(architecture))
    hit = 0
    for camera in small_views(scene).values():
        expected = reference.render(camera, options)
        frame = renderer.render(camera, options)
        assert_as_reference(frame, expected, precision, options.ert)
        hit += expected.statistics.rays_hit
    assert hit > 100  # the views do show the scene


@pytest.mark.slow
@pytest.mark.parametrize("on", ON_DEVICES)
@pytest.mark.parametrize("ert", [True, False])
def test_simt_the_shipped_scene(chair_path, on: str, ert: bool) -> None:
    """A real scene: thousands of cells, 16 voxels each."""
    architecture, precision = DEVICES[on]
    scene = load_kilonerf_scene(chair_path)
    assert scene.start_camera is not None
    camera = scene.start_camera.resized(48, 40)
    options = RenderOptions.as_trained(scene, ert=ert)
    expected = ReferenceRenderer(scene).render(camera, options)
    frame = CudaRenderer(scene, SimtDevice(architecture, blocks=4)).render(camera, options)
    assert expected.statistics.rays_hit > 300
    assert psnr(frame.rgb, expected.rgb) >= (45 if precision == "float16" else 80)
    assert frame.statistics.rays_hit == expected.statistics.rays_hit
    slack = expected.statistics.samples // 100 if ert else 0
    assert abs(frame.statistics.samples - expected.statistics.samples) <= slack


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [80, 75])
def test_simt_fp16_sums_are_nearly_as_exact(chair_path, architecture: int) -> None:
    """Of the hidden layers, on a real scene; the option changes the arithmetic, and nothing else."""
    scene = load_kilonerf_scene(chair_path)
    assert scene.start_camera is not None
    camera = scene.start_camera.resized(48, 40)
    options = RenderOptions.as_trained(scene)
    exact = CudaRenderer(scene, SimtDevice(70)).render(camera, options)
    plain = CudaRenderer(scene, SimtDevice(architecture)).render(camera, options)
    halved = CudaRenderer(scene, SimtDevice(architecture), half_sums=True).render(camera, options)
    assert not np.array_equal(halved.rgb, plain.rgb)
    assert psnr(halved.rgb, exact.rgb) >= 70
    assert halved.statistics.rays_hit == exact.statistics.rays_hit
    assert abs(halved.statistics.samples - exact.statistics.samples) <= 5
    full = CudaRenderer(scene, SimtDevice(architecture), half_sums=True)
    assert np.array_equal(
        full.render(camera, RenderOptions.as_trained(scene, precision="float32")).rgb,
        CudaRenderer(scene, SimtDevice(70)).render(camera, RenderOptions.as_trained(scene, precision="float32")).rgb,
    )


@pytest.mark.slow
@pytest.mark.parametrize("on", ON_DEVICES)
@pytest.mark.parametrize("focal", [2e3, 4e4, 8e5])
def test_simt_no_tile_is_lost_at_long_focal_lengths(toy_scene: KiloNeRFScene, on: str, focal: float) -> None:
    """A tile's pyramid is then a few millionths wide; its sides must not be lost in rounding."""
    view = views(toy_scene)["outside"]
    camera = Camera.from_matrix(view.matrix, 37, 35, fx=focal, fy=1.3 * focal)
    options = RenderOptions.as_trained(toy_scene, ert=False)
    expected = ReferenceRenderer(toy_scene).render(camera, options)
    frame = CudaRenderer(toy_scene, SimtDevice(DEVICES[on][0])).render(camera, options)
    assert expected.statistics.rays_hit == 37 * 35
    assert_as_reference(frame, expected, DEVICES[on][1], ert=False)


@pytest.mark.parametrize("mirrored", [False, True])
def test_simt_a_scaled_or_mirrored_pose_loses_no_tile(toy_scene: KiloNeRFScene, mirrored: bool) -> None:
    matrix = small_views(toy_scene)["outside"].matrix.copy()
    matrix[:3, 0] *= -1.3 if mirrored else 1.3
    matrix[:3, 1] += 0.2 * matrix[:3, 0]
    camera = Camera.from_matrix(matrix, 59, 41, fx=50)
    options = RenderOptions.as_trained(toy_scene, ert=False)
    expected = ReferenceRenderer(toy_scene).render(camera, options)
    frame = CudaRenderer(toy_scene, SimtDevice(70)).render(camera, options)
    assert expected.statistics.rays_hit > 200
    assert_as_reference(frame, expected, "float32", ert=False)


@pytest.mark.slow
@pytest.mark.parametrize("on", ["tensor cores, sm_80", "float32"])
@pytest.mark.parametrize("blocks", [1, 3, 100])
def test_simt_any_number_of_blocks_and_frame_after_frame(toy_scene: KiloNeRFScene, on: str, blocks: int) -> None:
    """Blocks take tiles from a counter that the last one resets; nothing of a frame stays for the next."""
    device = SimtDevice(DEVICES[on][0], blocks=blocks)
    renderer = CudaRenderer(toy_scene, device)
    cameras = small_views(toy_scene)
    camera, other = cameras["outside"], cameras["inside"]
    tiles = -(-camera.width // 16) * -(-camera.height // 16)
    options = RenderOptions()
    frames = [renderer.render(view, options) for view in (camera, camera, other, camera)]
    expected = CudaRenderer(toy_scene, SimtDevice(DEVICES[on][0], blocks=2)).render(camera, options)
    assert device.launches[0] == ("render", min(blocks, tiles))
    for frame in (frames[0], frames[1], frames[3]):
        assert np.array_equal(frame.rgb, expected.rgb)
        assert np.array_equal(frame.alpha, expected.alpha)
        assert np.array_equal(frame.depth, expected.depth)
        assert frame.statistics.samples == expected.statistics.samples
        assert frame.statistics.evaluations == expected.statistics.evaluations
        assert frame.statistics.rays_hit == expected.statistics.rays_hit
    assert frames[2].rgb.shape == (other.height, other.width, 3)


@pytest.mark.parametrize("on", ON_DEVICES)
@pytest.mark.parametrize("order", ORDERS)
def test_simt_no_race_no_stray_access_any_order_of_threads(toy_scene: KiloNeRFScene, on: str, order: str | int) -> None:
    """Every access of every thread is checked; the picture does not depend on the order in which threads run."""
    chunks = SCENES["over 256 cells"]
    cases = [
        (toy_scene, views(toy_scene)["grazing"].resized(19, 23), RenderOptions()),
        (toy_scene, views(toy_scene)["grazing"].resized(19, 23), RenderOptions.as_trained(toy_scene, ess=False)),
        (chunks, views(chunks)["outside"].resized(17, 13), RenderOptions(ert=False, step=0.2)),
    ]
    for scene, camera, options in cases:
        device = SimtDevice(DEVICES[on][0], blocks=2, checked=True, order=order)
        frame = CudaRenderer(scene, device).render(camera, options, OUTPUTS)
        plain = CudaRenderer(scene, SimtDevice(DEVICES[on][0])).render(camera, options)
        assert frame.statistics.rays_hit > 100
        assert np.abs(frame.rgb - plain.rgb).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_simt_no_race_where_nothing_is(order: str | int) -> None:
    """Tiles without a single cell follow each other with the fewest barriers."""
    scene = random_scene(dropped=1.0)
    device = SimtDevice(80, blocks=1, checked=True, order=order)
    frame = CudaRenderer(scene, device).render(views(scene)["outside"].resized(50, 20), RenderOptions(), OUTPUTS)
    assert (frame.rgb == 1).all()
    assert frame.network is not None
    assert (frame.network == -1).all()


@pytest.mark.parametrize("ess", [True, False])
def test_simt_samples_and_networks_of_each_ray(toy_scene: KiloNeRFScene, ess: bool) -> None:
    camera = small_views(toy_scene)["outside"]
    options = RenderOptions.as_trained(toy_scene, ess=ess, ert=False)
    frame = CudaRenderer(toy_scene, SimtDevice(70)).render(camera, options, OUTPUTS)
    counts, first = rays_by_definition(toy_scene, camera, options)
    assert frame.samples is not None
    assert frame.network is not None
    np.testing.assert_array_equal(frame.samples, counts)
    np.testing.assert_array_equal(frame.network, first)
    assert len(np.unique(first)) > 5
    ended = CudaRenderer(toy_scene, SimtDevice(70)).render(camera, RenderOptions.as_trained(toy_scene), OUTPUTS)
    assert ended.samples is not None
    assert ended.samples.sum() == ended.statistics.samples
    expected = ReferenceRenderer(toy_scene).render(camera, RenderOptions.as_trained(toy_scene), OUTPUTS)
    assert (ended.samples != expected.samples).sum() <= 2  # rays whose T comes to lie on epsilon's other side
    np.testing.assert_array_equal(ended.network, expected.network)


@pytest.mark.parametrize("ess", [True, False])
def test_simt_empty_scenes_show_the_background(ess: bool) -> None:
    options = RenderOptions(ess=ess, background=(0.25, 0.5, 1.0))
    for scene in (random_scene(occupied=0.0), random_scene(dropped=1.0)):
        if not ess and scene.num_networks:
            continue  # without ESS the networks fill their cells
        for architecture in (80, 70):
            renderer = CudaRenderer(scene, SimtDevice(architecture))
            frame = renderer.render(small_views(scene)["outside"], options)
            assert (frame.rgb == np.array([0.25, 0.5, 1.0], np.float32)).all()
            assert not frame.alpha.any()
            assert np.isinf(frame.depth).all()
            assert frame.statistics.samples == frame.statistics.evaluations == frame.statistics.rays_hit == 0


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 7), (7, 0), (1, 1), (17, 1), (1, 16), (33, 31)])
def test_simt_any_picture_size(toy_scene: KiloNeRFScene, width: int, height: int) -> None:
    camera = Camera.from_matrix(views(toy_scene)["outside"].matrix, width, height, fx=60)
    expected = ReferenceRenderer(toy_scene).render(camera, RenderOptions())
    for on in ("tensor cores, sm_80", "float32"):
        frame = CudaRenderer(toy_scene, SimtDevice(DEVICES[on][0])).render(camera, RenderOptions())
        assert frame.rgb.shape == (height, width, 3)
        if width and height:
            assert_as_reference(frame, expected, DEVICES[on][1], ert=True)
        else:
            assert frame.statistics.samples == 0


@pytest.mark.slow
def test_simt_activations_beyond_fp16_stay_finite(toy_scene: KiloNeRFScene) -> None:
    """A layer that blows up must not become infinite: infinity times zero would be NaN."""
    layers = {name: array.copy() for name, array in toy_scene.layers.items()}
    layers["pts_linears.0.weight"] *= 1e5
    scene = KiloNeRFScene(**{**{f: getattr(toy_scene, f) for f in toy_scene.__dataclass_fields__}, "layers": layers})
    for half_sums in (False, True):
        renderer = CudaRenderer(scene, SimtDevice(80), half_sums=half_sums)
        frame = renderer.render(small_views(scene)["outside"], RenderOptions())
        assert np.isfinite(frame.rgb).all()
        assert np.isfinite(frame.alpha).all()
