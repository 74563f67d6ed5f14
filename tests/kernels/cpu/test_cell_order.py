"""Cells by Manhattan distance from the camera's cell: front to back along every ray, from anywhere."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.sampling import positions
from support.scenes import random_scene

pytest.importorskip("kilonerf.kernels._cpu", reason="the native extension is not built")

SCENE = random_scene((5, 4, 3), (2, 3, 1), dropped=0.0)
RENDERER = CpuRenderer(SCENE, threads=1)
GRID = SCENE.cells

coordinate = st.floats(-4, 4, width=32)
places = st.tuples(coordinate, coordinate, coordinate)


@settings(max_examples=300)
@given(origin=places, towards=places)
@example(origin=(0.0, 0.0, 0.0), towards=(1.0, 1.0, 1.0))  # through corners
@example(origin=(-4.0, 0.1, 0.1), towards=(4.0, 0.1, 0.1))  # along an axis
def test_every_ray_meets_cells_in_order(origin: tuple, towards: tuple) -> None:
    place = np.asarray(origin, np.float32)
    direction = np.asarray(towards, np.float32) - place
    t = np.linspace(0, 2, 2001, dtype=np.float32)
    inside, voxel = GRID.locate(positions(place, direction[None], t))
    cells = (voxel // GRID.factor)[inside]
    rows = GRID.leaf_numbers[tuple(cells.T)]
    order = RENDERER._native.order_cells(place.tolist())
    assert order == GRID.front_to_back(place).tolist()
    assert sorted(order) == list(range(SCENE.num_networks))
    rank = np.argsort(order)[rows]
    assert (np.diff(rank) >= 0).all()
    # Two cells of one distance never share a ray, so the distance itself grows strictly.
    distance = np.abs(cells - GRID.cell_of(place)).sum(1)
    moved = np.diff(rows) != 0
    assert (np.diff(distance)[moved] > 0).all()
