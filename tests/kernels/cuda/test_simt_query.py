"""Queries of the CUDA renderer, executed on the CPU by the SIMT host, against the reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilonerf.kernels.cuda import queries
from kilonerf.kernels.cuda.renderer import CudaRenderer
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.model_io import Scene
from simt.compilation import why_unavailable
from simt.simt_device import SimtDevice
from simt.simt_pictures import DEVICES, ON_DEVICES, SCENES

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))


@pytest.mark.parametrize("on", ON_DEVICES)
def test_simt_query_agrees(on: str) -> None:
    architecture, precision = DEVICES[on]
    rng = np.random.default_rng(5)
    for name in ("toy", "odd factors", "one cell"):  # one cell: several batches of one network
        scene = SCENES[name]
        low, high = scene.box_min - 0.1, scene.box_max + 0.1
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
    points = rng.uniform(toy_scene.box_min, toy_scene.box_max, (1500, 3)).astype(np.float32)
    directions = np.broadcast_to(np.array([0.6, 0.0, 0.8], np.float32), points.shape)
    whole = CudaRenderer(toy_scene, SimtDevice(70)).query(points, directions)
    monkeypatch.setattr(queries, "POINTS_AT_ONCE", 400)
    device = SimtDevice(70)
    parts = CudaRenderer(toy_scene, device).query(points, directions)
    assert len(device.launches) == 4
    for a, b in zip(whole, parts, strict=True):
        assert np.array_equal(a, b)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 700)), max_size=8))
def test_batches_are_runs_of_one_network(runs: list[tuple[int, int]]) -> None:
    networks = np.sort(np.concatenate([np.full(length, network) for network, length in runs] or [np.empty(0, int)]))
    batches = queries.batches(networks)
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
