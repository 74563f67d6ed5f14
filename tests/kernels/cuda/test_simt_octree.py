"""Octree fields on CUDA: the kernels, executed on the CPU by the SIMT host, against the reference."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu.octree_field import made_up_field
from kilonerf.kernels import (
    PER_RAY,
    PICTURE,
    CancelToken,
    Crop,
    Frame,
    RenderCancelled,
    RenderOptions,
    create_renderer,
)
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.cuda import cupy_device
from kilonerf.kernels.cuda.kilonerf.networks import fragments
from kilonerf.kernels.cuda.octree.field import COLUMNS
from kilonerf.kernels.cuda.renderer import CudaRenderer
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.model_io import BackendError, Camera, OctreeScene, Scene, load_scene
from kilonerf.model_io.scene.cells import Cells
from simt.compilation import why_unavailable
from simt.simt_device import SimtDevice
from simt.simt_pictures import assert_as_reference, small_views
from support.fields.octree_scenes import OCTREES, octree_scene_of
from support.rendering import MODES
from support.scenes import views

OUTPUTS = PICTURE | PER_RAY
DEVICES = {"tensor cores": (80, "float16"), "float32": (70, "float32")}  # each one's sources are compiled once
pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))


def assert_agrees(frame: Frame, expected: Frame, precision: str, *, ert: bool) -> None:
    """The picture; the same first cells; the same samples of each ray, but for rays that end at the threshold."""
    assert_as_reference(frame, expected, precision, ert)
    assert frame.samples is not None
    assert expected.samples is not None
    assert (frame.samples != expected.samples).sum() <= (0.01 * frame.samples.size if ert else 0)
    assert frame.network is not None
    np.testing.assert_array_equal(frame.network, expected.network)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(("codes", mode) for mode in ("flying", "no ESS", "fine steps")),
        ("every coding", "flying"),
        ("shallow", "neither"),
        ("plain float32", "no ERT"),
    ],
)
def test_simt_pictures_of_octree_fields_are_the_references(name: str, mode: str) -> None:
    scene = OCTREES[name]
    options, cameras, hit = MODES[mode](scene), small_views(scene), 0
    renderers = [(CudaRenderer(scene, SimtDevice(architecture)), kind) for architecture, kind in DEVICES.values()]
    for camera in (cameras["outside"], cameras["inside"].resized(21, 18)):
        expected = ReferenceRenderer(scene).render(camera, options, OUTPUTS)
        for renderer, precision in renderers:
            assert_agrees(renderer.render(camera, options, OUTPUTS), expected, precision, ert=options.ert)
        hit += expected.statistics.rays_hit
    assert hit > 100  # the views do show the scene


def one_voxel() -> OctreeScene:
    occupancy = np.zeros((32, 32, 32), np.bool_)
    occupancy[17, 14, 16] = True
    return octree_scene_of(occupancy)


def a_full_cell() -> OctreeScene:
    """Of 32 whole words of voxels each, beside cells that hold nothing."""
    occupancy = np.zeros((32, 32, 32), np.bool_)
    occupancy[16:, :16, 16:] = True
    return octree_scene_of(occupancy)


@pytest.mark.slow
@pytest.mark.parametrize("on", DEVICES)
@pytest.mark.parametrize("scene", [one_voxel(), a_full_cell()], ids=["one voxel", "a full cell"])
def test_simt_one_voxel_and_a_full_cell(scene: OctreeScene, on: str) -> None:
    architecture, precision = DEVICES[on]
    camera = Camera.look_at((0.6, 0.3, 0.5), (0.094, -0.19, 0.13), 33, 31, fov_y=0.15)
    for options in (RenderOptions(step=0.01, ert=False), RenderOptions(step=0.06, ess=False)):
        expected = ReferenceRenderer(scene).render(camera, options, OUTPUTS)
        frame = CudaRenderer(scene, SimtDevice(architecture)).render(camera, options, OUTPUTS)
        assert expected.statistics.rays_hit > 50
        assert_agrees(frame, expected, precision, ert=options.ert)


@pytest.mark.slow
@pytest.mark.parametrize("on", DEVICES)
def test_simt_voxels_of_a_real_scene(chair_path: Path, on: str) -> None:
    """The chair's, in many cells; what is in them is made up."""
    architecture, precision = DEVICES[on]
    scene = made_up_field(load_scene(chair_path), 6)
    assert scene.start_camera is not None
    camera = scene.start_camera.resized(47, 39)
    renderer = CudaRenderer(scene, SimtDevice(architecture, blocks=4))
    for ert in (True, False):
        options = RenderOptions.as_trained(scene, ert=ert)
        expected, frame = CpuRenderer(scene).render(camera, options), renderer.render(camera, options)
        assert expected.statistics.rays_hit > 300
        assert psnr(frame.rgb, expected.rgb) >= (50 if precision == "float16" else 80)
        assert frame.statistics.rays_hit == expected.statistics.rays_hit
        slack = expected.statistics.samples // 100 if ert else 0
        assert abs(frame.statistics.samples - expected.statistics.samples) <= slack


@pytest.mark.parametrize("on", DEVICES)
def test_simt_a_crop_and_nothing_at_all(on: str) -> None:
    architecture, precision = DEVICES[on]
    scene = OCTREES["codes"]
    renderer, camera = CudaRenderer(scene, SimtDevice(architecture)), small_views(scene)["outside"]
    crop = Crop((-0.4, -0.5, -0.3), (0.5, 0.3, 0.6))
    for options in (
        RenderOptions(crop=crop, ert=False),
        RenderOptions(),
        RenderOptions(crop=Crop((5.0, 5.0, 5.0), (6.0, 6.0, 6.0))),
    ):
        expected = ReferenceRenderer(scene).render(camera, options, OUTPUTS)
        frame = renderer.render(camera, options, OUTPUTS)
        assert_agrees(frame, expected, precision, ert=options.ert)
    assert not frame.statistics.samples
    assert (frame.rgb == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(0, 0), (7, 0), (1, 1), (17, 1), (33, 31)])
def test_simt_octree_pictures_of_any_size(width: int, height: int) -> None:
    scene = OCTREES["one bit"]
    camera = Camera.from_matrix(views(scene)["outside"].matrix, width, height, fx=40)
    expected = ReferenceRenderer(scene).render(camera, RenderOptions(), OUTPUTS)
    for architecture, precision in DEVICES.values():
        frame = CudaRenderer(scene, SimtDevice(architecture)).render(camera, RenderOptions(), OUTPUTS)
        assert frame.rgb.shape == (height, width, 3)
        if width and height:
            assert_agrees(frame, expected, precision, ert=True)


@pytest.mark.slow
@pytest.mark.parametrize(("on", "blocks"), [("tensor cores", 1), ("tensor cores", 3), ("float32", 1)])
def test_simt_nothing_of_a_tile_or_frame_stays_for_the_next(blocks: int, on: str) -> None:
    """What rays' directions add is kept for a tile, by block: other tiles, and other cameras, must not find it."""
    scene, device = OCTREES["codes"], SimtDevice(DEVICES[on][0], blocks=blocks)
    renderer, cameras = CudaRenderer(scene, device), small_views(scene)
    tiles = -(-cameras["outside"].width // 16) * -(-cameras["outside"].height // 16)
    frames = [renderer.render(cameras[name], RenderOptions()) for name in ("outside", "inside", "outside")]
    assert device.launches[0] == ("render", min(blocks, tiles))
    fresh = CudaRenderer(scene, SimtDevice(DEVICES[on][0], blocks=tiles)).render(cameras["outside"], RenderOptions())
    for frame in (frames[0], frames[2]):
        np.testing.assert_array_equal(frame.rgb, fresh.rgb)
        assert frame.statistics.samples == fresh.statistics.samples


@pytest.mark.slow
@pytest.mark.parametrize(
    ("on", "order"),
    [
        ("tensor cores", 5),
        pytest.param("tensor cores", "descending", marks=pytest.mark.slow),
        *(pytest.param("float32", order, marks=pytest.mark.slow) for order in ("ascending", "descending", 5)),
    ],
)
def test_simt_octree_no_race_no_stray_access(on: str, order: str | int) -> None:
    """Every access of every thread is checked; the picture does not depend on the order in which threads run."""
    scene = OCTREES["codes"]
    camera = views(scene)["grazing"].resized(19, 17)
    for options in (RenderOptions(), RenderOptions(ess=False, step=0.1)):
        device = SimtDevice(DEVICES[on][0], blocks=2, checked=True, order=order)
        frame = CudaRenderer(scene, device).render(camera, options, OUTPUTS)
        plain = CudaRenderer(scene, SimtDevice(DEVICES[on][0])).render(camera, options)
        assert frame.statistics.rays_hit > 100
        assert np.abs(frame.rgb - plain.rgb).max() < 1e-6


@pytest.mark.parametrize("on", DEVICES)
def test_simt_octree_query_agrees(on: str) -> None:
    architecture, precision = DEVICES[on]
    rng = np.random.default_rng(5)
    for name in ("codes", "shallow", "one bit"):
        scene = OCTREES[name]
        points = rng.uniform(scene.box_min - 0.1, scene.box_max + 0.1, (3001, 3)).astype(np.float32)
        directions = rng.normal(size=points.shape)
        directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
        rgb, density = ReferenceRenderer(scene, np.float64).query(points, directions)
        renderer = CudaRenderer(scene, SimtDevice(architecture, blocks=1))
        got_rgb, got_density = renderer.query(points, directions)
        assert np.abs(rgb - got_rgb).max() < (2e-5 if precision == "float32" else 0.03)
        worst = (np.abs(density - got_density) / (1 + density)).max()
        assert worst < (1e-4 if precision == "float32" else 0.05)
        assert np.array_equal(got_rgb.any(1), rgb.any(1))
        assert (got_density > 0).any()
    assert renderer.query(points[:0], directions[:0])[0].shape == (0, 3)


def test_simt_levels_of_detail_and_precisions_of_a_field() -> None:
    scene = OCTREES["every coding"].upto(4)
    camera = small_views(scene)["outside"]
    renderer = CudaRenderer(scene, SimtDevice(80))
    expected = ReferenceRenderer(scene).render(camera, RenderOptions())
    assert renderer.device == "SIMT host, float16 tensor cores"
    assert_as_reference(renderer.render(camera, RenderOptions()), expected, "float16", ert=True)
    with pytest.raises(BackendError, match="expected precision auto, float16 or float32, got int8"):
        renderer.render(camera, RenderOptions(precision="int8"))


def test_simt_weights_beyond_fp16_stay_finite() -> None:
    """What a direction adds is kept in fp16: it must not become infinite, as infinity minus infinity would be NaN."""
    scene = OCTREES["plain float32"]
    decoder = {
        name: array * (np.float32(3e5) if name.startswith("hidden") else 1) for name, array in scene.decoder.items()
    }
    scene = OctreeScene(**{**{f: getattr(scene, f) for f in scene.__dataclass_fields__}, "decoder": decoder})
    frame = CudaRenderer(scene, SimtDevice(80)).render(small_views(scene)["outside"], RenderOptions())
    assert frame.statistics.rays_hit > 100
    assert np.isfinite(frame.rgb).all()


def test_simt_too_little_memory_for_a_field_is_one_line() -> None:
    scene = OCTREES["codes"]
    with pytest.raises(BackendError) as caught:
        CudaRenderer(scene, SimtDevice(80, memory=1 << 17))
    voxels = int(scene.cells.occupancy.sum())
    assert str(caught.value).startswith(f"backend 'cuda': an octree field of {voxels} voxels in float16 needs ")
    assert "\n" not in str(caught.value)


def test_a_scene_of_an_unknown_kind_is_refused() -> None:
    given = OCTREES["shallow"]

    class Other(Scene):
        def _find_cells(self) -> Cells:
            return given.cells

        def field_arrays(self) -> list[np.ndarray]:
            return []

    scene = Other(
        box_min=given.box_min,
        box_max=given.box_max,
        near=given.near,
        far=given.far,
        num_samples=given.num_samples,
    )
    with pytest.raises(BackendError, match="backend 'cuda': expected a scene of a kind that it knows, got Other"):
        CudaRenderer(scene, SimtDevice(70))


def test_features_lie_in_the_columns_that_lanes_hold() -> None:
    """Lane t of a row interpolates features 4t .. 4t + 3, and its weights are in the rows that its columns meet."""
    assert sorted(COLUMNS) == list(range(16))
    for t in range(4):
        assert [COLUMNS[column] for column in (2 * t, 2 * t + 1, 2 * t + 8, 2 * t + 9)] == [4 * t + i for i in range(4)]
    weights = np.arange(16, dtype=np.float32)[None, :, None] * np.ones((1, 1, 16), np.float32)
    laid = fragments(weights[:, COLUMNS])[0, 0, 0]
    assert laid[:, :4].tolist() == [[4 * (lane % 4) + i for i in range(4)] for lane in range(32)]


def test_octree_fields_are_rendered_on_the_gpu_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_device, "CupyDevice", lambda index: SimtDevice(80))
    for name in ("auto", "cuda"):
        assert create_renderer(OCTREES["shallow"], name).backend == "cuda"


def test_simt_a_long_frame_of_a_field_is_cut_and_cancelled() -> None:
    token = CancelToken()

    class Slow(SimtDevice):
        cancels = False

        def milliseconds(self, begin: float, end: float) -> float:
            if self.cancels:
                token.cancel()
            return 1000.0

    scene, device = OCTREES["codes"], Slow(80, blocks=2)
    renderer, camera = CudaRenderer(scene, device), views(scene)["outside"].resized(80, 33)
    whole = CudaRenderer(scene, SimtDevice(80)).render(camera, RenderOptions(), OUTPUTS)
    renderer.render(camera, RenderOptions())
    device.launches.clear()
    cut = renderer.render(camera, RenderOptions(), on_device=True)
    assert device.launches == [("render", 2)] * 7 + [("render", 1)]  # 15 tiles
    np.testing.assert_array_equal(cut.host().rgb, whole.rgb)
    assert cut.statistics.samples == whole.statistics.samples
    device.cancels = True
    device.launches.clear()
    with pytest.raises(RenderCancelled):
        renderer.render(camera, RenderOptions(), cancel=token)
    assert len(device.launches) == 1
    np.testing.assert_array_equal(renderer.render(camera, RenderOptions()).rgb, whole.rgb)
