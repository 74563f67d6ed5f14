"""The CPU backend's octree fields: the reference's samples and picture, in every code path."""

import numpy as np
import pytest

from kilonerf.kernels import Crop, Frame, RenderOptions
from kilonerf.kernels.cpu.paths import available_cpu_paths
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.kernels.renderer import PER_RAY
from kilonerf.model_io import BackendError, Camera
from support.fields.octree_scenes import OCTREES, random_octree_scene
from support.rendering import MODES, assert_same_picture
from support.scenes import views

_cpu = pytest.importorskip("kilonerf.kernels._cpu", reason="the native extension is not built")
PATHS = [name for name, _ in _cpu.available_paths(octree=True)]
COUNTS = PER_RAY


def per_ray(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Samples and first cell of each ray."""
    assert frame.samples is not None
    assert frame.network is not None
    return frame.samples, frame.network


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(("codes", mode) for mode in MODES),
        *(pytest.param(name, "neither", marks=pytest.mark.slow) for name in OCTREES if name != "codes"),
    ],
)
def test_same_samples_and_same_picture(name: str, mode: str) -> None:
    scene = OCTREES[name]
    options = MODES[mode](scene)
    reference, hit = ReferenceRenderer(scene), 0
    others = [CpuRenderer(scene, threads=2, path=path) for path in PATHS]
    for camera in views(scene).values():
        expected = reference.render(camera, options, COUNTS)
        assert expected.samples is not None
        hit += expected.statistics.rays_hit
        for renderer in others:
            frame = renderer.render(camera, options, COUNTS)
            assert_same_picture(frame, expected, flips=0.002 if options.ert else 0.0)
            assert frame.statistics.rays_hit == expected.statistics.rays_hit
            assert frame.samples is not None
            assert (frame.samples != expected.samples).sum() <= (0.002 * frame.samples.size if options.ert else 0)
            assert np.array_equal(per_ray(frame)[1], per_ray(expected)[1])
    assert hit > 500


@pytest.mark.parametrize("path", PATHS)
def test_threads_do_not_change_a_bit(path: str) -> None:
    scene = OCTREES["codes"]
    camera = views(scene)["outside"].resized(300, 170)
    one, *others = (CpuRenderer(scene, threads=n, path=path).render(camera, RenderOptions()) for n in (1, 2, 5))
    for other in others:
        assert np.array_equal(one.rgb, other.rgb)
        assert np.array_equal(one.depth, other.depth)


@pytest.mark.parametrize("path", PATHS)
def test_a_renderer_keeps_nothing_of_the_frame_before(path: str) -> None:
    """What each ray's direction adds is kept for a tile: another camera must not find it."""
    scene = OCTREES["codes"]
    renderer = CpuRenderer(scene, path=path)
    cameras = list(views(scene).values())
    for camera in cameras:
        renderer.render(camera, RenderOptions())
    for camera in cameras[::-1]:
        fresh = CpuRenderer(scene, path=path).render(camera, RenderOptions())
        assert np.array_equal(renderer.render(camera, RenderOptions()).rgb, fresh.rgb)


@pytest.mark.parametrize("path", PATHS)
def test_query_agrees(path: str) -> None:
    rng = np.random.default_rng(5)
    for scene in OCTREES.values():
        points = rng.uniform(scene.box_min - 0.1, scene.box_max + 0.1, (6001, 3)).astype(np.float32)
        directions = rng.normal(size=points.shape)
        directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
        renderer = CpuRenderer(scene, path=path)
        renderer.render(views(scene)["outside"], RenderOptions())
        rgb, density = ReferenceRenderer(scene, np.float64).query(points, directions)
        rgb_cpu, density_cpu = renderer.query(points, directions)
        assert np.abs(rgb - rgb_cpu).max() < 2e-5
        assert (np.abs(density - density_cpu) / (1 + density)).max() < 1e-4
        assert (density_cpu > 0).any()


@pytest.mark.parametrize(("width", "height"), [(0, 0), (7, 0), (1, 1), (65, 129)])
def test_any_picture_size(width: int, height: int) -> None:
    scene = OCTREES["one bit"]
    camera = Camera.from_matrix(views(scene)["outside"].matrix, width, height, fx=60)
    expected = ReferenceRenderer(scene).render(camera, RenderOptions())
    assert_same_picture(CpuRenderer(scene).render(camera, RenderOptions()), expected, flips=0.002)


def test_a_crop_and_no_samples() -> None:
    scene = OCTREES["codes"]
    camera = views(scene)["outside"]
    crop = Crop((-0.4, -0.5, -0.3), (0.5, 0.3, 0.6))
    for options in (RenderOptions(crop=crop, ert=False), RenderOptions(crop=Crop((5.0, 5.0, 5.0), (6.0, 6.0, 6.0)))):
        expected = ReferenceRenderer(scene).render(camera, options, COUNTS)
        frame = CpuRenderer(scene).render(camera, options, COUNTS)
        assert_same_picture(frame, expected)
        assert np.array_equal(per_ray(frame)[0], per_ray(expected)[0])
    assert not frame.statistics.samples
    assert (frame.rgb == 1).all()


def test_levels_of_detail_agree() -> None:
    scene = random_octree_scene(5, 3, codings=("plain", "codes"))
    camera = views(scene)["outside"]
    for level in (3, 4):
        coarse = scene.upto(level)
        expected = ReferenceRenderer(coarse).render(camera, RenderOptions())
        assert_same_picture(CpuRenderer(coarse).render(camera, RenderOptions()), expected, flips=0.002)


def test_what_cannot_render_it_says_so() -> None:
    scene = OCTREES["shallow"]
    other = next((path.name for path in available_cpu_paths() if path.name not in PATHS), None)
    if other is not None:
        with pytest.raises(BackendError, match=f"{other}': this machine has .*baseline for octree fields"):
            CpuRenderer(scene, path=other)
    with pytest.raises(ValueError, match="network_rate: expected networks"):
        CpuRenderer(scene).network_rate(64, 0.01)
