"""The CUDA renderer and its kernels, executed on the CPU by the SIMT host, against the reference."""

import numpy as np
import pytest
import rendering
from hypothesis import given
from hypothesis import strategies as st
from rendering import MODES
from scenes import random_scene, views
from simt.compilation import why_unavailable
from simt.simt_device import SimtDevice

from kilonerf.kernels import CancelToken, Frame, RenderCancelled, RenderOptions, cuda_renderer
from kilonerf.kernels.cuda_renderer import ON_DEVICE, CudaRenderer
from kilonerf.kernels.frame import OPAQUE
from kilonerf.kernels.reference import ReferenceRenderer
from kilonerf.kernels.sampling import SampleSteps, SceneGrid, positions, ray_directions, ray_origin
from kilonerf.model_io import BackendError, Camera, Scene, load_scene

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))

SCENES = {
    **rendering.SCENES,
    "over 256 cells": random_scene((8, 7, 9), (2, 2, 2), seed=6),  # more than one chunk of the order
}
DEVICES = {"tensor cores, sm_80": (80, "float16"), "tensor cores, sm_75": (75, "float16"), "float32": (70, "float32")}
SHARE = 0.35  # of the views' sizes: every size stays odd or smaller than a tile


def small_views(scene: Scene) -> dict[str, Camera]:
    """The views of other backends' tests in fewer pixels: still several tiles, none a multiple of 16 wide."""
    small = {}
    for name, camera in views(scene).items():
        width, height = max(1, int(SHARE * camera.width)), max(1, int(SHARE * camera.height))
        small[name] = camera.resized(width, height)
    return small


def psnr(picture: Frame, reference: Frame) -> float:
    error = np.mean((picture.rgb.astype(np.float64) - reference.rgb) ** 2)
    return float("inf") if error == 0 else -10 * np.log10(error)


def assert_as_reference(frame: Frame, expected: Frame, precision: str, ert: bool) -> None:
    """float32: tight but for rays whose T comes to lie on epsilon's other side. float16: as exact as fp16 is."""
    if precision == "float32":
        rendering.assert_same_picture(frame, expected, flips=0.002 if ert else 0.0)
    else:
        assert psnr(frame, expected) >= 60
        assert np.abs(frame.rgb - expected.rgb).max(initial=0) < 0.02
        assert np.abs(frame.alpha - expected.alpha).max(initial=0) < 0.02
        seen = expected.alpha > 0.1
        assert np.abs(frame.depth[seen] - expected.depth[seen]).max(initial=0) < 0.2
    assert np.isinf(frame.depth[frame.alpha == 0]).all()
    assert np.isfinite(frame.depth[frame.alpha > 0]).all()
    counted, wanted = frame.statistics, expected.statistics
    assert counted.rays == wanted.rays
    assert counted.rays_hit == wanted.rays_hit
    if ert:  # a flip at the threshold costs a few samples of one ray
        assert abs(counted.samples - wanted.samples) <= 2 + wanted.samples // (1000 if precision == "float32" else 300)
        assert counted.samples <= counted.evaluations <= counted.samples + counted.rays_hit
    else:
        assert counted.samples == counted.evaluations == wanted.samples


@pytest.mark.parametrize(
    ("name", "mode", "on"),
    [
        *(("toy", mode, on) for mode in MODES for on in DEVICES),
        *(
            (name, mode, on)
            for name in SCENES
            for mode in ("flying", "no ERT")
            for on in DEVICES
            if name != "toy" and "sm_75" not in on  # differs from sm_80 in two instructions
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


@pytest.mark.parametrize("on", DEVICES)
@pytest.mark.parametrize("ert", [True, False])
def test_simt_the_shipped_scene(chair_path, on: str, ert: bool) -> None:
    """A real scene: thousands of cells, 16 voxels each."""
    architecture, precision = DEVICES[on]
    scene = load_scene(chair_path)
    assert scene.start_camera is not None
    camera = scene.start_camera.resized(48, 40)
    options = RenderOptions.as_trained(scene, ert=ert)
    expected = ReferenceRenderer(scene).render(camera, options)
    frame = CudaRenderer(scene, SimtDevice(architecture, blocks=4)).render(camera, options)
    assert expected.statistics.rays_hit > 300
    assert psnr(frame, expected) >= (45 if precision == "float16" else 80)
    assert frame.statistics.rays_hit == expected.statistics.rays_hit
    slack = expected.statistics.samples // 100 if ert else 0
    assert abs(frame.statistics.samples - expected.statistics.samples) <= slack


@pytest.mark.parametrize("on", DEVICES)
@pytest.mark.parametrize("focal", [2e3, 4e4, 8e5])
def test_simt_no_tile_is_lost_at_long_focal_lengths(toy_scene: Scene, on: str, focal: float) -> None:
    """A tile's pyramid is then a few millionths wide; its sides must not be lost in rounding."""
    view = views(toy_scene)["outside"]
    camera = Camera.from_matrix(view.matrix, 37, 35, fx=focal, fy=1.3 * focal)
    options = RenderOptions.as_trained(toy_scene, ert=False)
    expected = ReferenceRenderer(toy_scene).render(camera, options)
    frame = CudaRenderer(toy_scene, SimtDevice(DEVICES[on][0])).render(camera, options)
    assert expected.statistics.rays_hit == 37 * 35
    assert_as_reference(frame, expected, DEVICES[on][1], ert=False)


@pytest.mark.parametrize("mirrored", [False, True])
def test_simt_a_scaled_or_mirrored_pose_loses_no_tile(toy_scene: Scene, mirrored: bool) -> None:
    matrix = small_views(toy_scene)["outside"].matrix.copy()
    matrix[:3, 0] *= -1.3 if mirrored else 1.3
    matrix[:3, 1] += 0.2 * matrix[:3, 0]
    camera = Camera.from_matrix(matrix, 59, 41, fx=50)
    options = RenderOptions.as_trained(toy_scene, ert=False)
    expected = ReferenceRenderer(toy_scene).render(camera, options)
    frame = CudaRenderer(toy_scene, SimtDevice(70)).render(camera, options)
    assert expected.statistics.rays_hit > 200
    assert_as_reference(frame, expected, "float32", ert=False)


@pytest.mark.parametrize("on", ["tensor cores, sm_80", "float32"])
@pytest.mark.parametrize("blocks", [1, 3, 100])
def test_simt_any_number_of_blocks_and_frame_after_frame(toy_scene: Scene, on: str, blocks: int) -> None:
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


@pytest.mark.parametrize("on", ["tensor cores, sm_80", "tensor cores, sm_75", "float32"])
@pytest.mark.parametrize("order", ["ascending", "descending", 5])
def test_simt_no_race_no_stray_access_any_order_of_threads(toy_scene: Scene, on: str, order: str | int) -> None:
    """Every access of every thread is checked; the picture does not depend on the order in which threads run."""
    chunks = SCENES["over 256 cells"]
    cases = [
        (toy_scene, views(toy_scene)["grazing"].resized(19, 23), RenderOptions()),
        (toy_scene, views(toy_scene)["grazing"].resized(19, 23), RenderOptions.as_trained(toy_scene, ess=False)),
        (chunks, views(chunks)["outside"].resized(17, 13), RenderOptions(ert=False, step=0.2)),
    ]
    for scene, camera, options in cases:
        device = SimtDevice(DEVICES[on][0], blocks=2, checked=True, order=order)
        frame = CudaRenderer(scene, device).render(camera, options, per_ray=True)
        plain = CudaRenderer(scene, SimtDevice(DEVICES[on][0])).render(camera, options)
        assert frame.statistics.rays_hit > 100
        assert np.abs(frame.rgb - plain.rgb).max() < 1e-6


@pytest.mark.parametrize("order", ["ascending", "descending", 5])
def test_simt_no_race_where_nothing_is(order: str | int) -> None:
    """Tiles without a single cell follow each other with the fewest barriers."""
    scene = random_scene(dropped=1.0)
    device = SimtDevice(80, blocks=1, checked=True, order=order)
    frame = CudaRenderer(scene, device).render(views(scene)["outside"].resized(50, 20), RenderOptions(), per_ray=True)
    assert (frame.rgb == 1).all()
    assert frame.network is not None
    assert (frame.network == -1).all()


@pytest.mark.parametrize("ess", [True, False])
def test_simt_samples_and_networks_of_each_ray(toy_scene: Scene, ess: bool) -> None:
    camera = small_views(toy_scene)["outside"]
    options = RenderOptions.as_trained(toy_scene, ess=ess, ert=False)
    frame = CudaRenderer(toy_scene, SimtDevice(70)).render(camera, options, per_ray=True)
    counts, first = rays_by_definition(toy_scene, camera, options)
    assert frame.samples is not None
    assert frame.network is not None
    np.testing.assert_array_equal(frame.samples, counts)
    np.testing.assert_array_equal(frame.network, first)
    assert len(np.unique(first)) > 5
    ended = CudaRenderer(toy_scene, SimtDevice(70)).render(camera, RenderOptions.as_trained(toy_scene), per_ray=True)
    assert ended.samples is not None
    assert ended.samples.sum() == ended.statistics.samples


def rays_by_definition(scene: Scene, camera: Camera, options: RenderOptions) -> tuple[np.ndarray, np.ndarray]:
    """Samples of each ray without ERT, and the network of its first, straight from the sampling rule."""
    steps, grid = SampleSteps.of(scene, options), SceneGrid.of(scene)
    t = steps.t(np.arange(steps.last + 1))
    points = positions(ray_origin(camera), ray_directions(camera)[:, :, None, :], t)
    inside, voxel = grid.locate(points)
    if options.ess:
        inside &= scene.occupancy[tuple(np.moveaxis(voxel, -1, 0))]
    cells = np.moveaxis(voxel // grid.factor, -1, 0)
    network = np.where(inside, scene.network_index[tuple(cells)], -1)
    counts = network >= 0
    first = np.take_along_axis(network, counts.argmax(-1)[..., None], -1)[..., 0]
    return counts.sum(-1), np.where(counts.any(-1), first, -1)


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


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 7), (7, 0), (1, 1), (17, 1), (1, 16), (33, 31)])
def test_simt_any_picture_size(toy_scene: Scene, width: int, height: int) -> None:
    camera = Camera.from_matrix(views(toy_scene)["outside"].matrix, width, height, fx=60)
    expected = ReferenceRenderer(toy_scene).render(camera, RenderOptions())
    for on in ("tensor cores, sm_80", "float32"):
        frame = CudaRenderer(toy_scene, SimtDevice(DEVICES[on][0])).render(camera, RenderOptions())
        assert frame.rgb.shape == (height, width, 3)
        if width and height:
            assert_as_reference(frame, expected, DEVICES[on][1], ert=True)
        else:
            assert frame.statistics.samples == 0


@pytest.mark.parametrize("on", DEVICES)
def test_simt_query_agrees(on: str) -> None:
    architecture, precision = DEVICES[on]
    rng = np.random.default_rng(5)
    for name in ("toy", "odd factors", "one cell"):  # one cell: several batches of one network
        scene = SCENES[name]
        low, high = scene.aabb_min - 0.1, scene.aabb_max + 0.1
        points = rng.uniform(low, high, (2001, 3)).astype(np.float32)
        directions = rng.normal(size=points.shape)
        directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
        rgb, density = ReferenceRenderer(scene, np.float64).query(points, directions)
        device = SimtDevice(architecture, checked=precision == "float16" and name == "toy")
        got_rgb, got_density = CudaRenderer(scene, device).query(points, directions)
        assert np.abs(rgb - got_rgb).max() < (1e-5 if precision == "float32" else 0.03)
        assert (np.abs(density - got_density) / (1 + density)).max() < (1e-4 if precision == "float32" else 0.3)
        assert np.median(np.abs(density - got_density) / (1 + density)) < 0.01
        assert np.array_equal(got_rgb.any(1), rgb.any(1))  # 0 where no network is, and only there
        assert (got_density > 0).any()


def test_simt_query_in_parts_is_the_same(toy_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    points = rng.uniform(toy_scene.aabb_min, toy_scene.aabb_max, (1500, 3)).astype(np.float32)
    directions = np.broadcast_to(np.array([0.6, 0.0, 0.8], np.float32), points.shape)
    whole = CudaRenderer(toy_scene, SimtDevice(70)).query(points, directions)
    monkeypatch.setattr(cuda_renderer, "POINTS_AT_ONCE", 400)
    device = SimtDevice(70)
    parts = CudaRenderer(toy_scene, device).query(points, directions)
    assert len(device.launches) == 4
    for a, b in zip(whole, parts, strict=True):
        assert np.array_equal(a, b)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 700)), max_size=8))
def test_batches_are_runs_of_one_network(runs: list[tuple[int, int]]) -> None:
    networks = np.sort(np.concatenate([np.full(length, network) for network, length in runs] or [np.empty(0, int)]))
    batches = cuda_renderer._batches(networks)
    covered = [np.arange(batch["first"], batch["first"] + batch["count"]) for batch in batches]
    assert np.array_equal(np.concatenate([*covered, np.empty(0, int)]), np.arange(len(networks)))
    for batch, rows in zip(batches, covered, strict=True):
        assert 1 <= len(rows) <= 256
        assert (networks[rows] == batch["network"]).all()
    assert len(batches) == sum(-(-np.count_nonzero(networks == network) // 256) for network in np.unique(networks))


def test_simt_query_of_no_points(toy_scene: Scene) -> None:
    device = SimtDevice(80)
    renderer = CudaRenderer(toy_scene, device)
    for points in (np.empty((0, 3), np.float32), np.full((5, 3), 100, np.float32)):
        rgb, density = renderer.query(points, points)
        assert rgb.shape == points.shape
        assert not rgb.any()
        assert density.shape == (len(points),)
    assert not device.launches


@pytest.mark.parametrize("name", ["outside", "inside"])
def test_simt_a_frame_that_stays_on_the_device_is_the_same(toy_scene: Scene, name: str) -> None:
    camera = small_views(toy_scene)[name]
    renderer = CudaRenderer(toy_scene, SimtDevice(80, checked=True))
    expected = renderer.render(camera, RenderOptions())
    frame = renderer.render_on_device(camera, RenderOptions())
    assert frame.size == (camera.width, camera.height)
    np.testing.assert_array_equal(frame.host.rgb, expected.rgb)
    np.testing.assert_array_equal(frame.host.alpha, expected.alpha)
    np.testing.assert_array_equal(frame.host.depth, expected.depth)
    (solid,) = frame.device.download([frame.launched.arrays["solid_depth"]])
    np.testing.assert_array_equal(solid, np.where(expected.alpha >= OPAQUE, expected.depth, np.inf))
    assert np.isfinite(solid).any()
    assert not np.array_equal(solid, expected.depth)
    assert frame.statistics.samples == expected.statistics.samples
    assert list(frame.statistics.stages_ms) == ["kernel"]


def test_simt_a_frame_keeps_its_memory_as_long_as_it_lives(toy_scene: Scene) -> None:
    cameras = small_views(toy_scene)
    device = SimtDevice(80)
    renderer = CudaRenderer(toy_scene, device)
    first = renderer.render_on_device(cameras["outside"], RenderOptions())
    device.allocations.clear()
    second = renderer.render_on_device(cameras["outside"], RenderOptions(background=(0.0, 0.0, 0.0)))
    assert device.allocations == list(ON_DEVICE)  # not the first one's, which is still there
    assert first.host.rgb[0, 0].tolist() == [1.0, 1.0, 1.0]
    assert second.host.rgb[0, 0].tolist() == [0.0, 0.0, 0.0]
    device.allocations.clear()
    del first
    third = renderer.render_on_device(cameras["outside"], RenderOptions())
    assert not device.allocations
    other = renderer.render_on_device(cameras["inside"], RenderOptions())  # of another size
    del second, third
    renderer.render_on_device(cameras["outside"], RenderOptions())
    assert device.allocations == list(ON_DEVICE) * 2  # memory of a size that is not wanted any more is not kept
    assert other.host.rgb.shape[:2] == (cameras["inside"].height, cameras["inside"].width)


def test_simt_activations_beyond_fp16_stay_finite(toy_scene: Scene) -> None:
    """A layer that blows up must not become infinite: infinity times zero would be NaN."""
    layers = {name: array.copy() for name, array in toy_scene.layers.items()}
    layers["pts_linears.0.weight"] *= 1e5
    scene = Scene(**{**{f: getattr(toy_scene, f) for f in toy_scene.__dataclass_fields__}, "layers": layers})
    frame = CudaRenderer(scene, SimtDevice(80)).render(small_views(scene)["outside"], RenderOptions())
    assert np.isfinite(frame.rgb).all()
    assert np.isfinite(frame.alpha).all()


def test_simt_only_what_changed_is_copied(toy_scene: Scene) -> None:
    device = SimtDevice(80)
    renderer = CudaRenderer(toy_scene, device)
    cameras = small_views(toy_scene)
    camera = cameras["outside"]
    renderer.render(camera, RenderOptions())
    device.uploads.clear()
    device.allocations.clear()
    turned = camera.moved(np.concatenate([camera.matrix[:3, :3] @ np.diag([1, -1, -1]), camera.matrix[:3, 3:]], axis=1))
    renderer.render(camera, RenderOptions(ert=False))
    renderer.render(turned, RenderOptions())
    assert device.uploads == device.allocations == []
    renderer.render(camera, RenderOptions(ess=False))
    assert device.uploads == ["order of cells"]
    renderer.render(cameras["inside"], RenderOptions(ess=False))
    assert device.uploads == ["order of cells"] * 2
    assert device.allocations == ["rgb", "alpha", "depth"]  # of another size
    renderer.render(cameras["inside"], RenderOptions(ess=False), per_ray=True)
    assert device.allocations[3:] == ["samples", "network"]


def test_simt_precision_is_chosen_by_the_device_or_by_name(toy_scene: Scene) -> None:
    camera = small_views(toy_scene)["inside"]
    renderer = CudaRenderer(toy_scene, SimtDevice(80))
    assert renderer.backend == "cuda"
    assert renderer.device == "SIMT host, float16 tensor cores"
    half = renderer.render(camera, RenderOptions())
    full = renderer.render(camera, RenderOptions(precision="float32"))
    assert renderer.device == "SIMT host, float32"
    expected = ReferenceRenderer(toy_scene).render(camera, RenderOptions())
    assert np.abs(full.rgb - expected.rgb).max() < 2e-5 < np.abs(half.rgb - expected.rgb).max()
    again = renderer.render(camera, RenderOptions(precision="float16"))
    assert np.array_equal(half.rgb, again.rgb)
    old = CudaRenderer(toy_scene, SimtDevice(70))
    assert old.device == "SIMT host, float32"
    with pytest.raises(BackendError, match=r"float16 needs .*7\.5 or newer, SIMT host has 7\.0"):
        old.render(camera, RenderOptions(precision="float16"))
    assert np.array_equal(old.render(camera, RenderOptions()).rgb, full.rgb)


def test_simt_a_used_token_cancels_before_the_launch(toy_scene: Scene) -> None:
    device = SimtDevice(80)
    renderer = CudaRenderer(toy_scene, device)
    token = CancelToken()
    token.cancel()
    with pytest.raises(RenderCancelled):
        renderer.render(small_views(toy_scene)["inside"], RenderOptions(), token)
    assert not device.launches


@pytest.mark.parametrize("honest", [True, False])
def test_simt_too_little_memory_names_need_and_free(toy_scene: Scene, honest: bool) -> None:
    device = SimtDevice(80, memory=3 << 16, honest=honest)
    with pytest.raises(BackendError) as caught:
        CudaRenderer(toy_scene, device)
    if honest:  # known before anything of the scene is allocated
        expected = f"a scene of {toy_scene.num_networks} networks in float16 needs 1 MiB, SIMT host has 1 MiB free: "
        assert device.uploads == ["counters", "tile counters"]
    else:
        expected = "networks needs 1 MiB, SIMT host has 1048576 MiB free but refuses it: "
    assert str(caught.value) == f"backend 'cuda': {expected}close other programs, or use --backend cpu"


def test_simt_a_picture_too_large_leaves_the_renderer_usable(toy_scene: Scene) -> None:
    renderer = CudaRenderer(toy_scene, SimtDevice(80, memory=4 << 20))
    camera = small_views(toy_scene)["inside"]
    before = renderer.render(camera, RenderOptions())
    with pytest.raises(BackendError, match=r"a picture of 4000x3000 needs 229 MiB, SIMT host has 4 MiB free"):
        renderer.render(camera.resized(4000, 3000), RenderOptions())
    assert np.array_equal(renderer.render(camera, RenderOptions()).rgb, before.rgb)


def test_simt_statistics_say_what_took_how_long(toy_scene: Scene) -> None:
    frame = CudaRenderer(toy_scene, SimtDevice(80)).render(small_views(toy_scene)["inside"], RenderOptions())
    stages = frame.statistics.stages_ms
    assert list(stages) == ["kernel", "copy"]
    assert sum(stages.values()) == pytest.approx(frame.statistics.total_ms)
    assert stages["kernel"] > 0
