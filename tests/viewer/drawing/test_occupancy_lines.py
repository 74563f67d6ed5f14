"""Which lines a grid has, against cases counted by hand and against one edge at a time."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kilonerf.viewer.drawing import occupancy_lines
from kilonerf.viewer.drawing.occupancy_lines import TooManyLinesError, grid_lines, merge_voxels

grids = hnp.arrays(np.bool_, st.tuples(*[st.integers(1, 6)] * 3))


def unit_edges(lines):
    """The lines cut at every corner they pass: a list of (begin, axis)."""
    edges = []
    for begin, end in lines.astype(int):
        (axis,) = np.flatnonzero(begin != end)
        for place in range(begin[axis], end[axis]):
            corner = begin.copy()
            corner[axis] = place
            edges.append((tuple(corner.tolist()), int(axis)))
    return edges


def edges_by_definition(cells, exposed_only):
    """Edges of each set cell's faces that lead to an unset cell (or of all its faces), one face at a time."""
    edges = set()
    for cell in np.argwhere(cells):
        for axis, side in itertools.product(range(3), (0, 1)):
            neighbour = cell.copy()
            neighbour[axis] += 2 * side - 1
            inside = np.all(neighbour >= 0) and np.all(neighbour < cells.shape)
            if exposed_only and inside and cells[tuple(neighbour)]:
                continue
            first, second = (a for a in range(3) if a != axis)
            for along, other in ((first, second), (second, first)):
                for step in (0, 1):
                    corner = cell.copy()
                    corner[axis] += side
                    corner[other] += step
                    edges.add((tuple(corner.tolist()), along))
    return edges


def total_length(lines):
    return int(np.abs(lines[:, 1].astype(int) - lines[:, 0]).sum())


def test_one_voxel_has_12_edges():
    cells = np.zeros((3, 4, 5), np.bool_)
    cells[1, 2, 3] = True
    lines = grid_lines(cells)
    assert len(lines) == 12
    assert lines.min(axis=(0, 1)).tolist() == [1, 2, 3]
    assert lines.max(axis=(0, 1)).tolist() == [2, 3, 4]


def test_two_neighbours_have_20_edges_in_16_lines():
    lines = grid_lines(np.ones((2, 1, 1), np.bool_))
    assert total_length(lines) == 20  # 2 * 12 less the 4 they share
    assert len(lines) == 16  # 4 long lines, and 3 squares of 4


def test_a_hollow_cube_shows_its_inner_faces_too():
    cells = np.ones((3, 3, 3), np.bool_)
    solid = total_length(grid_lines(cells))
    assert solid == 108  # 6 faces of 9 squares: 54 * 4 / 2, each edge in two faces
    cells[1, 1, 1] = False
    assert total_length(grid_lines(cells)) == 108 + 12


def test_all_edges_of_a_solid_cube():
    assert total_length(grid_lines(np.ones((3, 3, 3), np.bool_), exposed_only=False)) == 3 * 3 * 4 * 4


def test_an_empty_grid_has_no_lines():
    assert grid_lines(np.zeros((4, 3, 2), np.bool_)).shape == (0, 2, 3)


@given(grids, st.booleans())
def test_every_edge_once_and_only_those(cells, exposed_only):
    edges = unit_edges(grid_lines(cells, exposed_only=exposed_only))
    assert len(edges) == len(set(edges))
    assert set(edges) == edges_by_definition(cells, exposed_only)


@settings(max_examples=30)
@given(grids, st.integers(1, 40))
def test_slabs_do_not_show(cells, slab_voxels):
    whole = grid_lines(cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(occupancy_lines, "SLAB_VOXELS", slab_voxels)
        assert np.array_equal(np.unique(grid_lines(cells), axis=0), np.unique(whole, axis=0))


def test_it_gives_up_at_the_limit():
    cells = np.ones((2, 2, 2), np.bool_)
    count = len(grid_lines(cells))
    assert len(grid_lines(cells, max_lines=count)) == count
    with pytest.raises(TooManyLinesError, match=f"more than {count - 1} lines"):
        grid_lines(cells, max_lines=count - 1)


def test_an_axis_that_16_bits_cannot_count_is_refused():
    with pytest.raises(ValueError, match="at most 65535 cells"):
        grid_lines(np.ones((65536, 1, 1), np.bool_))


@given(grids, st.integers(0, 4))
def test_a_merged_voxel_is_occupied_exactly_if_one_of_its_voxels_is(cells, level):
    size = 2**level
    merged = merge_voxels(cells, level)
    assert merged.shape == tuple(-(-n // size) for n in cells.shape)
    for place in np.ndindex(merged.shape):
        block = cells[tuple(slice(p * size, (p + 1) * size) for p in place)]
        assert merged[place] == block.any()


def test_merging_leaves_the_grid_alone():
    cells = np.zeros((4, 4, 4), np.bool_)
    cells[3, 3, 3] = True
    merge_voxels(cells, 2)
    assert cells.sum() == 1
