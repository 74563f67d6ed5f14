"""What each ray took, as the CPU backend counts it: as the reference does."""

import numpy as np
import pytest

from kilonerf.kernels import LOOKUPS, PER_RAY, PICTURE, RenderOptions
from kilonerf.kernels.cpu.paths import available_cpu_paths
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from support.scenes import nested_scene, views

ALL = PICTURE | PER_RAY | LOOKUPS


def total(counts):
    assert counts is not None
    return counts.sum()


def compared(scene, camera, options, path="auto"):
    cpu = CpuRenderer(scene, threads=2, path=path)
    return cpu.render(camera, options, ALL), ReferenceRenderer(scene).render(camera, options, PICTURE | PER_RAY)


@pytest.mark.parametrize("path", [path.name for path in available_cpu_paths()])
@pytest.mark.parametrize("ess", [True, False])
def test_counts_are_those_of_the_reference(toy_scene, path, ess):
    for name in ("outside", "inside"):
        camera = views(toy_scene)[name].resized(73, 41)
        counted, reference = compared(toy_scene, camera, RenderOptions(ess=ess, ert=False), path)
        np.testing.assert_array_equal(counted.samples, reference.samples)
        np.testing.assert_array_equal(counted.network, reference.network)
        assert total(counted.samples) == counted.statistics.samples


def test_of_nested_boxes_too():
    scene = nested_scene()
    for camera in views(scene).values():
        counted, reference = compared(scene, camera.resized(21, 37), RenderOptions(ert=False))
        np.testing.assert_array_equal(counted.samples, reference.samples)
        np.testing.assert_array_equal(counted.network, reference.network)


def test_with_early_termination_almost_all_are(toy_scene):
    camera = views(toy_scene)["outside"].resized(90, 70)
    counted, reference = compared(toy_scene, camera, RenderOptions(precision="float32", ert_threshold=0.3))
    np.testing.assert_array_equal(counted.network, reference.network)
    assert (counted.samples == reference.samples).mean() > 0.98
    assert total(counted.samples) == counted.statistics.samples


def test_lookups_are_the_positions_in_the_cells_that_are_visited(toy_scene):
    camera = views(toy_scene)["outside"].resized(90, 70)
    cpu = CpuRenderer(toy_scene, threads=2)
    with_ess = cpu.render(camera, RenderOptions(ert=False), ALL)
    without = cpu.render(camera, RenderOptions(ess=False, ert=False), ALL)
    np.testing.assert_array_equal(without.lookups, without.samples)
    np.testing.assert_array_less(with_ess.samples, with_ess.lookups + 1)  # type: ignore[operator]
    np.testing.assert_array_less(with_ess.lookups, without.lookups + 1)  # type: ignore[operator]
    assert total(with_ess.samples) < total(with_ess.lookups)


def test_a_counted_picture_is_the_same_bit_for_bit(toy_scene):
    cpu = CpuRenderer(toy_scene, threads=2)
    for camera in views(toy_scene).values():
        plain, counted = cpu.render(camera, RenderOptions()), cpu.render(camera, RenderOptions(), ALL)
        for name in ("rgb", "alpha", "depth"):
            np.testing.assert_array_equal(getattr(plain, name), getattr(counted, name))
        assert plain.samples is None
        assert plain.lookups is None
    only = cpu.render(views(toy_scene)["outside"], RenderOptions(), PICTURE | LOOKUPS)
    assert only.samples is None
    assert only.lookups is not None
