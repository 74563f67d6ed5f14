"""Nested boxes: the order of cells, and the CPU renderer against the reference, from inside and outside."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kilonerf.kernels import PER_RAY, PICTURE, RenderOptions
from kilonerf.kernels.cpu.paths import available_cpu_paths
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.kernels.sampling import SampleSteps, positions, ray_directions
from kilonerf.model_io import Camera
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
@example(origin=(0.0, 0.05, 0.0), towards=(0.0, 1.0, 0.0))  # from a plane between cells: float32's 0.05
def test_every_ray_meets_cells_of_all_levels_in_order(origin: tuple, towards: tuple) -> None:
    place = FULL.planes.cleared(np.asarray(origin, np.float32))  # as every camera is
    assert_in_order(place, np.asarray(towards, np.float32) - place)


def plane(level: int, axis: int, number: int, aside: int) -> np.ndarray:
    """A place in a plane between cells, or some units in the last place aside of it."""
    cells = FULL.levels[level]
    place = np.array([0.21, -0.17, 0.3], np.float32)
    share = number / cells.resolution[axis]
    place[axis] = cells.box.min[axis] * (1 - share) + cells.box.max[axis] * share
    for _ in range(abs(aside)):
        place[axis] = np.nextafter(place[axis], np.float32(np.copysign(np.inf, aside)))
    return place


@settings(max_examples=200)
@given(
    level=st.integers(0, 3),
    axis=st.integers(0, 2),
    number=st.integers(0, 4),
    aside=st.integers(-3, 3),
    turn=st.floats(0, 6.25, width=32),
)
def test_rays_that_stay_in_a_plane_between_cells_meet_them_in_order(
    level: int, axis: int, number: int, aside: int, turn: float
) -> None:
    place = plane(level, axis, number, aside)
    cleared = FULL.planes.cleared(place)
    np.testing.assert_allclose(cleared, place, atol=1e-5)
    assert np.array_equal(FULL.planes.cleared(cleared), cleared)
    direction = np.zeros(3, np.float32)
    direction[axis - 2], direction[axis - 1] = 30 * np.cos(turn), 30 * np.sin(turn)
    assert_in_order(cleared, direction)


def test_some_planes_are_where_levels_disagree_and_nothing_else_is_moved() -> None:
    places = [plane(level, axis, number, aside) for level, axis, number, aside in np.ndindex(4, 3, 5, 3)]
    moved = [not np.array_equal(FULL.planes.cleared(place), place) for place in places]
    assert 0.02 < np.mean(moved) < 0.5
    for place in np.random.default_rng(0).uniform(-9, 9, (500, 3)).astype(np.float32):
        assert np.array_equal(FULL.planes.cleared(place), place)


@pytest.mark.slow
@pytest.mark.parametrize("axis", range(3))
def test_pictures_from_a_plane_are_the_references(axis: int) -> None:
    found = [place for number in np.ndindex(4, 5, 3) if is_moved(place := plane(number[0], axis, *number[1:]))]
    for place in found[:6]:
        ahead = np.eye(3)[axis - 1]
        camera = Camera.look_at(place, place + ahead, 33, 33, up=np.eye(3)[axis - 2])
        assert (ray_directions(camera)[:, :, axis] == 0).any()
        options = RenderOptions(ert=False, precision="float32", far=30.0)
        frames = [
            renderer.render(camera, options, PICTURE | PER_RAY) for renderer in (ReferenceRenderer(FULL), RENDERER)
        ]
        np.testing.assert_array_equal(frames[1].network, frames[0].network)  # type: ignore[arg-type]
        np.testing.assert_array_equal(frames[1].samples, frames[0].samples)  # type: ignore[arg-type]
        np.testing.assert_allclose(frames[1].rgb, frames[0].rgb, atol=2e-4)
    assert found


def is_moved(place: np.ndarray) -> bool:
    return not np.array_equal(FULL.planes.cleared(place), place)


def assert_in_order(place: np.ndarray, direction: np.ndarray) -> None:
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


@pytest.mark.parametrize("ess", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("view", ["outside", "inside", "grazing", "along an axis", "off-centre lens"])
def test_the_same_samples_and_picture_as_the_reference(view: str, ess: bool) -> None:
    camera = views(SCENE)[view]
    camera = camera.resized(camera.width // 2, camera.height // 2)  # the reference takes seconds for all levels
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
    # Networks of random weights are harder on 8 bits than trained ones are, and here all of them have 8.
    least = 38 if path.endswith("int8") else 45
    assert -10 * np.log10(np.mean((found.rgb - expected.rgb) ** 2)) > least


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
