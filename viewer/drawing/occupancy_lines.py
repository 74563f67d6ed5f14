"""Lines of the grids, as pure geometry: which voxel edges to draw, each once, joined to the longest straight runs."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SLAB_VOXELS = 1 << 22
"""Voxels looked at together: bounds the working memory to some ten megabytes for a grid of any size."""


class TooManyLinesError(ValueError):
    """A grid has more lines than the caller allows."""


MAX_CELLS_ON_AXIS = 0xFFFF
"""Corners 0..n are stored in 16 bits."""


def merge_voxels(occupancy: NDArray[np.bool_], level: int) -> NDArray[np.bool_]:
    """Merge 2**level voxels on each axis into one that is occupied if any of them is.

    Args:
        occupancy: bool [ox, oy, oz].
        level: >= 0; sizes that are no multiple of ``2**level`` are rounded up.

    Returns:
        bool [ceil(ox / 2**level), ...].
    """
    merged = occupancy
    for axis in range(3):
        for _ in range(level):  # halving again and again touches less memory than one big reduction
            if merged.shape[axis] == 1:
                break
            even = [slice(None)] * 3
            odd = [slice(None)] * 3
            even[axis], odd[axis] = slice(0, None, 2), slice(1, None, 2)
            halved = merged[tuple(even)].copy()
            rest = merged[tuple(odd)]
            part = [slice(None)] * 3
            part[axis] = slice(0, rest.shape[axis])
            halved[tuple(part)] |= rest
            merged = halved
    return merged


def grid_lines(
    cells: NDArray[np.bool_], *, exposed_only: bool = True, max_lines: int | None = None
) -> NDArray[np.uint16]:
    """Edges of the set cells as straight lines between grid corners, no edge drawn twice.

    An edge belongs to a face between a set and an unset cell exactly if the four cells around it are neither all
    set nor all unset. Edges that follow each other are one line.

    Args:
        cells: bool [nx, ny, nz].
        exposed_only: only edges of faces between a set and an unset cell (or the outside); else all edges of
            set cells.
        max_lines: give up as soon as there are more.

    Returns:
        uint16 [L, 2, 3]: both ends of each line as corner indices, 0..n on each axis.

    Raises:
        TooManyLinesError: there are more than ``max_lines``.
        ValueError: an axis has more than ``MAX_CELLS_ON_AXIS`` cells.
    """
    if max(cells.shape) > MAX_CELLS_ON_AXIS:
        raise ValueError(f"grid_lines: at most {MAX_CELLS_ON_AXIS} cells on an axis, got {list(cells.shape)}")
    lower, upper = _occupied_bounds(cells)
    if lower is None or upper is None:
        return np.zeros((0, 2, 3), np.uint16)
    tight = cells[lower[0] : upper[0], lower[1] : upper[1], lower[2] : upper[2]]
    parts: list[NDArray[np.uint16]] = []
    count = 0
    for axis in range(3):
        for part in _axis_lines(tight, axis, exposed_only):
            parts.append(part)
            count += len(part)
            if max_lines is not None and count > max_lines:
                raise TooManyLinesError(f"grid_lines: more than {max_lines} lines in a grid of {list(cells.shape)}")
    return np.concatenate(parts) + lower.astype(np.uint16)


def _occupied_bounds(cells: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]] | tuple[None, None]:
    """Lower and upper corner [3] of the set cells' bounding box."""
    lower, upper = np.zeros(3, np.intp), np.zeros(3, np.intp)
    for axis in range(3):
        hits = np.flatnonzero(cells.any(axis=tuple(a for a in range(3) if a != axis)))
        if len(hits) == 0:
            return None, None
        lower[axis], upper[axis] = hits[0], hits[-1] + 1
    return lower, upper


def _axis_lines(cells: NDArray[np.bool_], axis: int, exposed_only: bool) -> Iterator[NDArray[np.uint16]]:
    """The lines [L, 2, 3] along one axis, slab after slab."""
    # The two other axes, the first of them cut into slabs; `along` is put last, where runs are contiguous.
    across = [a for a in range(3) if a != axis]
    turned = cells.transpose([*across, axis])
    rows, columns, length = turned.shape
    slab = max(1, SLAB_VOXELS // max(1, (columns + 1) * length))
    for first in range(0, rows + 1, slab):
        last = min(first + slab, rows + 1)  # corners first..last-1 need the cells on both sides of them
        padded = np.zeros((last - first + 1, columns + 2, length), np.bool_)
        below, above = max(first - 1, 0), min(last, rows)
        padded[below - first + 1 : above - first + 1, 1:-1] = turned[below:above]
        runs = _runs(_edges(padded, exposed_only), first)
        lines = np.empty((len(runs), 2, 3), np.uint16)
        for place, source in enumerate(across):
            lines[:, :, source] = runs[:, place, None]
        lines[:, :, axis] = runs[:, 2:]
        yield lines


def _edges(padded: NDArray[np.bool_], exposed_only: bool) -> NDArray[np.bool_]:
    """[r + 1, c + 1, n] cells to [r, c, n]: which edges along the last axis to draw."""
    pair_any = padded[1:] | padded[:-1]
    some = pair_any[:, 1:] | pair_any[:, :-1]
    if exposed_only:
        pair_all = padded[1:] & padded[:-1]
        some &= ~(pair_all[:, 1:] & pair_all[:, :-1])
    return some


def _runs(edges: NDArray[np.bool_], first_row: int) -> NDArray[np.uint16]:
    """Runs of edges along the last axis: uint16 [L, 4] (row, column, begin, end)."""
    rows, columns, length = edges.shape
    bordered = np.zeros((rows, columns, length + 1), np.bool_)  # one unset step between neighbouring lines
    bordered[..., :length] = edges
    flat = bordered.ravel()
    change = np.empty(len(flat), np.bool_)
    change[0] = flat[0]
    np.not_equal(flat[1:], flat[:-1], out=change[1:])
    places = np.flatnonzero(change)
    begin, end = places[0::2], places[1::2]
    line, offset = np.divmod(begin, length + 1)
    row, column = np.divmod(line, columns)
    return np.stack([row + first_row, column, offset, offset + (end - begin)], axis=1).astype(np.uint16)
