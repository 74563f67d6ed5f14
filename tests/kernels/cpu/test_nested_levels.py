"""Nested boxes: the order of cells, and the CPU renderer against the reference, from inside and outside."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kilonerf.kernels import RenderOptions
from kilonerf.kernels.cpu.paths import available_cpu_paths
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.kernels.sampling import SampleSteps, positions
from kilonerf.model_io.scene.levels import front_to_back
from support.scenes import nested_scene, views

pytest.importorskip("kilonerf.kernels._cpu", reason="the native extension is not built")

SCENE = nested_scene()
FULL = nested_scene(levels=4, resolution=(4, 4, 4), factor=(2, 2, 2), dropped=0.0)
RENDERER = CpuRenderer(FULL, threads=1)
coordinate = st.floats(-16, 16, width=32)
places = st.tuples(coordinate, coordinate, coordinate)


@settings(max_examples=300)
@given(origin=places, towards=places)
@example(origin=(0.0, 0.0, 0.0), towards=(1.0, 1.0, 1.0))  # through corners
@example(origin=(-16.0, 0.1, 0.1), towards=(16.0, 0.1, 0.1))  # along an axis, through all levels
def test_every_ray_meets_cells_of_all_levels_in_order(origin: tuple, towards: tuple) -> None:
    place = np.asarray(origin, np.float32)
    direction = np.asarray(towards, np.float32) - place
    points = positions(place, direction[None], np.linspace(0, 2, 4001, dtype=np.float32))
    rows, first = np.full(len(points), -1), 0
    for cells in FULL.levels:
        inside, voxel = cells.locate(points)
        leaf = np.where(inside, cells.leaf_numbers[tuple((voxel // cells.factor).T)], -1)
        assert (rows[leaf >= 0] < 0).all()  # no place is in two levels
        rows = np.where(leaf >= 0, leaf + first, rows)
        first += len(cells.leaves)
    rows = rows[rows >= 0]
    order = RENDERER._native.order_cells(place.tolist())
    assert order == front_to_back(FULL.levels, place).tolist()
    assert sorted(order) == list(range(first))
    assert (np.diff(np.argsort(order)[rows]) >= 0).all()


@pytest.mark.parametrize("ess", [True, False])
@pytest.mark.parametrize("view", ["outside", "inside", "grazing", "along an axis", "off-centre lens"])
def test_the_same_samples_and_picture_as_the_reference(view: str, ess: bool) -> None:
    camera = views(SCENE)[view]
    options = replace(RenderOptions.as_trained(SCENE), ess=ess, ert=False, precision="float32")
    expected = ReferenceRenderer(SCENE).render(camera, options)
    found = CpuRenderer(SCENE, threads=2).render(camera, options)
    assert found.statistics.samples == expected.statistics.samples > 0
    np.testing.assert_allclose(found.rgb, expected.rgb, atol=2e-4)
    np.testing.assert_allclose(found.alpha, expected.alpha, atol=2e-4)


@pytest.mark.parametrize("path", [path.name for path in available_cpu_paths()])
def test_every_code_path_takes_the_same_samples(path: str) -> None:
    camera = views(SCENE)["inside"]
    options = RenderOptions(ert=False)
    expected = ReferenceRenderer(SCENE).render(camera, replace(options, far=30.0))
    found = CpuRenderer(SCENE, threads=1, path=path).render(camera, replace(options, far=30.0))
    assert found.statistics.samples == expected.statistics.samples
    assert -10 * np.log10(np.mean((found.rgb - expected.rgb) ** 2)) > 45


def test_a_level_takes_every_second_sample_of_the_one_inside() -> None:
    steps = SampleSteps(np.float32(0.013), np.float32(0.0177), 1000)
    k = np.arange(0, 1000, 8)
    assert (steps.t(k) == steps.of_level(3).t(k // 8)).all()
    assert steps.of_level(3).last == 125


def test_queries_find_the_level_of_each_point() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-8, 8, (4000, 3)).astype(np.float32)
    directions = rng.standard_normal((4000, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    expected, found = (
        renderer.query(points, directions) for renderer in (ReferenceRenderer(SCENE), CpuRenderer(SCENE))
    )
    assert (expected[1] > 0).sum() > 100
    np.testing.assert_allclose(found[0], expected[0], atol=2e-4)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-3, atol=1e-2)
