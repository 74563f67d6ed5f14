"""A crop takes the very same samples away in every backend, and none of them is evaluated."""

from functools import cache

import numpy as np
import pytest

from kilonerf.kernels import LOOKUPS, PER_RAY, PICTURE, Crop, Frame, RenderOptions
from kilonerf.kernels.cpu.paths import CpuPath, available_cpu_paths
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.cuda.renderer import CudaRenderer
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.kernels.sampling import SampleSteps, positions, ray_directions, ray_origin
from kilonerf.model_io import Camera, Scene
from simt.compilation import why_unavailable
from simt.simt_device import SimtDevice
from support.scenes import nested_scene, random_scene, views

SCENES = {"toy": random_scene((3, 3, 4)), "odd factors": random_scene((2, 3, 4), (3, 5, 2), seed=2)}
NESTED = nested_scene()
ALL = {**SCENES, "nested": NESTED}
EVERYTHING = Crop((-1e6, -1e6, -1e6), (1e6, 1e6, 1e6))
COUNTED = PICTURE | PER_RAY


def part_of(scene: Scene, low: float = 0.21, high: float = 0.67) -> Crop:
    """A box that cuts cells and voxels anywhere."""
    box = scene.levels[-1].box
    corners = [tuple((box.min + share * box.size + 0.0123).tolist()) for share in (low, high)]
    return Crop(*corners)


def cut_voxel_face(scene: Scene) -> Crop:
    """A box with a face exactly on a face of voxels."""
    low, high = scene.cells.box.min.tolist(), scene.cells.box.max.tolist()
    low[0] = float(scene.cells.corners(np.array([[1, 0, 0]]))[0, 0])
    return Crop(tuple(low), tuple(high))


def samples_by_definition(scene: Scene, camera: Camera, options: RenderOptions) -> np.ndarray:
    """Samples of each ray without ERT: those of the whole scene whose float32 position is inside the crop."""
    steps, crop = SampleSteps.of(scene, options), options.crop
    total = np.zeros((camera.height, camera.width), int)
    for number, cells in enumerate(scene.levels):
        own = steps.of_level(number)
        points = positions(ray_origin(camera), ray_directions(camera)[:, :, None, :], own.t(np.arange(own.last + 1)))
        counts = cells.networks_at(points, ess=options.ess)[0] >= 0
        if crop is not None:
            low, high = (np.array(corner, np.float32) for corner in (crop.min, crop.max))
            counts &= ((points > low) & (points < high)).all(-1)
        total += counts.sum(-1)
    return total


@pytest.mark.parametrize("ess", [True, False])
@pytest.mark.parametrize("name", SCENES)
def test_the_reference_takes_the_samples_inside(name: str, ess: bool) -> None:
    scene, taken = SCENES[name], 0
    for crop in (None, part_of(scene), cut_voxel_face(scene)):
        options = RenderOptions.as_trained(scene, ess=ess, ert=False, crop=crop)
        for camera in (view.resized(24, 17) for view in views(scene).values()):
            frame = ReferenceRenderer(scene).render(camera, options, COUNTED)
            np.testing.assert_array_equal(frame.samples, samples_by_definition(scene, camera, options))
            assert frame.statistics.evaluations == frame.statistics.samples
            taken += frame.statistics.samples
    assert taken > 1000


@cache
def cropped_references(name: str, ess: bool) -> list[tuple[Camera, RenderOptions, Frame]]:
    """What the reference makes of each view, once for all code paths."""
    scene = ALL[name]
    reference = ReferenceRenderer(scene)
    shown = [
        (view.resized(40, 30), RenderOptions(ess=ess, ert=False, crop=crop))
        for crop in (part_of(scene), cut_voxel_face(scene))
        for view in views(scene).values()
    ]
    return [(camera, options, reference.render(camera, options, COUNTED)) for camera, options in shown]


@pytest.mark.parametrize("path", available_cpu_paths(), ids=lambda path: path.name)
@pytest.mark.parametrize("ess", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ALL)
def test_the_cpu_takes_the_same(name: str, path: CpuPath, ess: bool) -> None:
    tolerance = {"float32": 2e-5, "int8": 0.8, "int16": 0.02, "bfloat16": 0.2}[path.precision]
    renderer = CpuRenderer(ALL[name], threads=2, path=path.name)
    for camera, options, expected in cropped_references(name, ess):
        frame = renderer.render(camera, options, COUNTED)
        np.testing.assert_array_equal(frame.samples, expected.samples)
        np.testing.assert_array_equal(frame.network, expected.network)
        np.testing.assert_allclose(frame.alpha, expected.alpha, atol=tolerance)


def test_a_crop_comes_and_goes_with_its_frame() -> None:
    """One renderer, frame after frame; a crop around everything changes no bit."""
    for scene in (SCENES["toy"], NESTED):
        renderer = CpuRenderer(scene, threads=2)
        camera = views(scene)["outside"]
        for ess in (True, False):
            whole = renderer.render(camera, RenderOptions(ess=ess, ert=False))
            part = renderer.render(camera, RenderOptions(ess=ess, ert=False, crop=part_of(scene)))
            assert 0 < part.statistics.samples < whole.statistics.samples
            for crop in (None, EVERYTHING):
                frame = renderer.render(camera, RenderOptions(ess=ess, ert=False, crop=crop))
                assert frame.statistics.samples == whole.statistics.samples
                for array in ("rgb", "alpha", "depth"):
                    np.testing.assert_array_equal(getattr(frame, array), getattr(whole, array))


def test_cells_outside_cost_nothing() -> None:
    """Not even a look at their voxels."""
    scene = SCENES["toy"]
    renderer, camera = CpuRenderer(scene, threads=1), views(scene)["outside"]
    box = scene.cells.box
    beside = Crop(tuple((box.max + 1).tolist()), tuple((box.max + 2).tolist()))
    for ess in (True, False):
        frame = renderer.render(camera, RenderOptions(ess=ess, crop=beside), PICTURE | LOOKUPS)
        assert frame.statistics.samples == frame.statistics.rays_hit == 0
        assert frame.lookups is not None
        assert not frame.lookups.any()
        assert not frame.alpha.any()
        np.testing.assert_array_equal(frame.rgb, np.ones_like(frame.rgb))
    whole = renderer.render(camera, RenderOptions(ert=False), PICTURE | LOOKUPS)
    part = renderer.render(camera, RenderOptions(ert=False, crop=part_of(scene)), PICTURE | LOOKUPS)
    assert whole.lookups is not None
    assert part.lookups is not None
    assert part.lookups.sum() < 0.4 * whole.lookups.sum()


@pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
@pytest.mark.parametrize("architecture", [80, pytest.param(70, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scene", [SCENES["toy"], pytest.param(NESTED, marks=pytest.mark.slow)], ids=["toy", "nested"])
def test_simt_the_cuda_kernel_takes_the_same(scene: Scene, architecture: int) -> None:
    renderer, reference = CudaRenderer(scene, SimtDevice(architecture, blocks=4)), ReferenceRenderer(scene)
    camera = views(scene)["outside"].resized(40, 33)
    whole = renderer.render(camera, RenderOptions(ert=False), COUNTED)
    for ess, crop in ((True, cut_voxel_face(scene)), (False, part_of(scene))):
        options = RenderOptions(ess=ess, ert=False, crop=crop)
        frame, expected = (each.render(camera, options, COUNTED) for each in (renderer, reference))
        np.testing.assert_array_equal(frame.samples, expected.samples)
        np.testing.assert_array_equal(frame.network, expected.network)
        np.testing.assert_allclose(frame.rgb, expected.rgb, atol=0.02 if architecture == 80 else 2e-5)
    again = renderer.render(camera, RenderOptions(ert=False), COUNTED)
    np.testing.assert_array_equal(again.rgb, whole.rgb)


@pytest.mark.parametrize(
    ("low", "high"),
    [((0, 0, 0), (1, 1, 0)), ((0, 0), (1, 1)), ((0, 0, 0), (1, 1, float("inf"))), ((float("nan"), 0, 0), (1, 1, 1))],
)
def test_a_box_that_is_none_is_refused(low: tuple, high: tuple) -> None:
    with pytest.raises(ValueError, match="expected three numbers and three larger ones, got"):
        Crop(low, high)
