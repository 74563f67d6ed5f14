"""The baseline that the fused renderer is measured against renders rightly: its own kernels, executed on the CPU."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import sorted_baseline
from benchmarks.gpu.sorted_baseline import PER_PASS, STAGES, SortedBaseline
from kilonerf.kernels import RenderOptions
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.kernels.sampling import SampleSteps, ray_directions, ray_origin
from kilonerf.model_io import Camera, Scene, UsageError
from simt.simt_baseline import SimtBaselineDevice
from support.scenes import random_scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    scene = random_scene((3, 2, 3), (8, 8, 8), occupied=0.6, seed=11, density_scale=25.0)
    return dataclasses.replace(scene, num_samples=160)  # many samples of a ray: several passes


@pytest.fixture(scope="module")
def camera() -> Camera:
    return Camera.look_at((2.6, 1.9, 1.5), (0.0, 0.0, 0.0), 23, 17)


def taken_and_found(scene: Scene, camera: Camera, options: RenderOptions) -> tuple[np.ndarray, np.ndarray]:
    """Samples of each ray up to the one that ends it, and all that it has: from the reference."""
    steps, directions = SampleSteps.of(scene, options), ray_directions(camera).reshape(-1, 3)
    trace = ReferenceRenderer(scene)._trace
    counts = [
        trace(ray_origin(camera), directions, steps, RenderOptions.as_trained(scene, ess=options.ess, ert=ert))[
            0
        ].samples
        for ert in (True, False)
    ]
    return counts[0], counts[1]


@pytest.mark.parametrize("ess", [True, False])
def test_simt_sorted_baseline_is_the_reference_without_termination(scene, camera, ess: bool) -> None:
    options = RenderOptions.as_trained(scene, ess=ess, ert=False, background=(0.2, 0.5, 0.9))
    expected = ReferenceRenderer(scene).render(camera, options)
    frame = SortedBaseline(scene, SimtBaselineDevice()).render(camera, options)
    assert frame.evaluations == expected.statistics.samples > 1000
    assert np.abs(frame.rgb - expected.rgb).max() < 2e-5
    assert np.abs(frame.alpha - expected.alpha).max() < 2e-5


def test_simt_sorted_baseline_evaluates_a_network_with_one_sample(scene, camera, monkeypatch) -> None:
    device = SimtBaselineDevice()
    in_a_pass: list[int] = []  # samples of each network
    launch = device.launch

    def watched(kernel: str, blocks: int, arguments: Sequence[Any]) -> None:
        if kernel == "evaluate":
            in_a_pass.extend(np.diff(arguments[2]).tolist())
        launch(kernel, blocks, arguments)

    monkeypatch.setattr(device, "launch", watched)
    options = RenderOptions.as_trained(scene, ert=False)
    few = camera.resized(3, 2)
    expected = ReferenceRenderer(scene).render(few, options)
    frame = SortedBaseline(scene, device).render(few, options)
    assert in_a_pass.count(1) > 0
    assert sum(in_a_pass) == frame.evaluations == expected.statistics.samples
    assert np.abs(frame.rgb - expected.rgb).max() < 2e-5


def test_simt_sorted_baseline_ends_rays_between_passes(scene, camera) -> None:
    options = RenderOptions.as_trained(scene)
    taken, found = taken_and_found(scene, camera, options)
    assert (taken < found).sum() > 50  # rays do end early here
    expected = np.minimum(found, -(-taken // PER_PASS) * PER_PASS).sum()
    frame = SortedBaseline(scene, SimtBaselineDevice()).render(camera, options, stages=True)
    assert abs(frame.evaluations - expected) <= PER_PASS  # a ray whose T comes to lie on the other side of epsilon
    assert frame.evaluations > taken.sum()
    exact = ReferenceRenderer(scene).render(camera, options)
    complete = ReferenceRenderer(scene).render(camera, RenderOptions.as_trained(scene, ert=False))
    assert np.abs(frame.rgb - exact.rgb).max() < 0.012
    assert np.abs(frame.rgb - complete.rgb).max() < 0.012
    assert frame.passes > 1
    assert list(frame.stages_ms) == list(STAGES)
    assert all(ms > 0 for ms in frame.stages_ms.values())


@pytest.mark.slow
def test_simt_sorted_baseline_has_no_race_and_stays_in_bounds(scene, camera) -> None:
    options = RenderOptions.as_trained(scene)
    small = camera.resized(9, 7)
    plain = SortedBaseline(scene, SimtBaselineDevice()).render(small, options)
    checked = SortedBaseline(scene, SimtBaselineDevice(checked=True)).render(small, options)
    assert np.array_equal(plain.rgb, checked.rgb)
    assert plain.evaluations == checked.evaluations > 0


def test_simt_sorted_baseline_shows_the_background_of_an_empty_scene(camera) -> None:
    empty = random_scene(occupied=0.0)
    frame = SortedBaseline(empty, SimtBaselineDevice()).render(camera, RenderOptions.as_trained(empty))
    assert (frame.rgb == np.float32(1.0)).all()
    assert (frame.evaluations, frame.passes) == (0, 1)


def test_simt_sorted_baseline_refuses_what_its_queries_cannot_hold(scene, camera) -> None:
    baseline = SortedBaseline(scene, SimtBaselineDevice())
    with pytest.raises(UsageError, match=r"sorted baseline: expected fewer than 2\^31 sample positions"):
        baseline.render(camera, RenderOptions())


def test_simt_sorted_baseline_finds_the_network_of_each_voxel(scene) -> None:
    for ess in (True, False):
        grid = sorted_baseline._network_of_voxel(scene, ess)
        for voxel in np.random.default_rng(0).integers(0, scene.occupancy.shape, (200, 3)):
            network = scene.network_index[tuple(voxel // scene.occupancy_factor)]
            assert grid[tuple(voxel)] == (network if scene.occupancy[tuple(voxel)] or not ess else -1)
