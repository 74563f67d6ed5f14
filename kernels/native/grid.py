"""The grid of a scene as native code reads it: structures of ``kernels/native/grid.h``, filled by name."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import BackendError
from kilonerf.model_io.scene.cells import Cells

from ..sampling import SampleSteps

GRID = np.dtype(
    [
        ("box_min", "<f4", 3),
        ("box_max", "<f4", 3),
        ("inside_min", "<f4", 3),
        ("inside_max", "<f4", 3),
        ("inverse_voxel", "<f4", 3),
        ("cell_size", "<f4", 3),
        ("local_scale", "<f4", 3),
        ("resolution", "<i4", 3),
        ("factor", "<i4", 3),
        ("voxel_shift", "<i4", 3),
    ]
)
CELL = np.dtype(
    [
        ("clip_min", "<f4", 3),
        ("clip_max", "<f4", 3),
        ("minimum", "<f4", 3),
        ("first_voxel", "<i4", 3),
        ("network", "<i4"),
        ("first_word", "<i4"),
        ("near_border", "<i4"),
        ("occupied", "<i2"),
        ("level", "<i2"),
    ]
)
MOST_WORDS = 2**31 - 1  # of occupancy: Cell::first_word is an int32
SAMPLE_STEPS = np.dtype([("near", "<f4"), ("step", "<f4"), ("last", "<f4")])


def native_grid(cells: Cells) -> NDArray[np.void]:
    """The constants of a grid, a 0-dimensional array of ``GRID``."""
    grid = np.zeros((), GRID)
    grid["box_min"], grid["box_max"] = cells.box.min, cells.box.max
    for name in ("inside_min", "inside_max", "inverse_voxel", "cell_size", "local_scale", "resolution", "factor"):
        grid[name] = getattr(cells, name)
    _, bits_y, bits_z = (int(count - 1).bit_length() for count in cells.factor)
    grid["voxel_shift"] = (bits_y + bits_z, bits_z, 0)
    return grid


def native_cells(*levels: Cells, ess: bool) -> NDArray[np.void]:
    """The leaves of a scene's levels, one level after the other, ``CELL`` [L], with the boxes that rays are clipped to.

    Raises:
        BackendError: their voxels take more words than ``first_word`` can count.
    """
    native = np.concatenate([_cells_of_level(cells, level, ess=ess) for level, cells in enumerate(levels)])
    words = words_of_leaf(levels[0])
    if len(native) * words > MOST_WORDS:
        got = f"{len(native)} cells of {words}"
        raise BackendError(f"occupancy: expected at most {MOST_WORDS} words of 32 voxels, got {got}")
    native["first_word"] = np.arange(len(native)) * words
    return native


def cropped_cells(native: NDArray[np.void], levels: Sequence[Cells]) -> NDArray[np.void]:
    """``native``, CELL [L], for cropped ``levels``: boxes end at the crop; those of cells outside it are inverted."""
    cropped = native.copy()
    low, high = cropped["clip_min"], cropped["clip_max"]
    cropped["near_border"] = np.concatenate([cells.leaf_near_border for cells in levels])
    for level, cells in enumerate(levels):
        own = native["level"] == level
        low[own] = np.maximum(low[own], cells.inside_min)
        high[own] = np.minimum(high[own], cells.inside_max)
    outside = np.any(low >= high, axis=1)
    low[outside], high[outside] = np.inf, -np.inf
    return cropped


def visited_cells(native: NDArray[np.void], *, ess: bool) -> NDArray[np.bool_]:
    """Which cells rays may take samples in, bool [L]: those with an occupied voxel if ``ess``, and in the crop."""
    visited = native["clip_min"][:, 0] <= native["clip_max"][:, 0]
    return visited & (native["occupied"] != 0) if ess else visited


def _cells_of_level(cells: Cells, level: int, *, ess: bool) -> NDArray[np.void]:
    native = np.zeros(len(cells.leaves), CELL)
    native["clip_min"], native["clip_max"] = cells.leaf_boxes(ess)
    native["minimum"] = cells.corners(cells.leaves)
    native["first_voxel"] = cells.leaves * cells.factor
    native["network"] = cells.network_index[tuple(cells.leaves.T)]
    native["near_border"] = cells.leaf_near_border
    native["occupied"], native["level"] = cells.leaf_occupied, level
    return native


def voxel_words(cells: Cells) -> NDArray[np.uint32]:
    """Occupancy of the leaves, one bit per voxel at the place that ``Grid::voxel_shift`` says, leaf after leaf."""
    padding = [(0, (1 << int(count - 1).bit_length()) - count) for count in cells.factor.tolist()[1:]]
    bits = np.pad(cells.leaf_voxels(), [(0, 0), (0, 0), *padding])
    bits = bits.reshape(len(bits), int(np.prod(bits.shape[1:])))
    words = np.zeros((len(bits), _bytes_of_leaf(cells)), np.uint8)
    packed = np.packbits(bits, axis=1, bitorder="little")
    words[:, : packed.shape[1]] = packed
    return words.reshape(-1).view(np.uint32)


def native_steps(steps: SampleSteps) -> NDArray[np.void]:
    """Where samples lie on a ray, a 0-dimensional array of ``SAMPLE_STEPS``."""
    return np.array((steps.near, steps.step, steps.last), SAMPLE_STEPS)


def as_bytes(structures: NDArray[np.void]) -> NDArray[np.uint8]:
    """Structures as the native extension takes them, [bytes]."""
    return structures.reshape(-1).view(np.uint8)


def words_of_leaf(cells: Cells) -> int:
    """Words of 32 voxels that a leaf's voxels take."""
    return _bytes_of_leaf(cells) // 4


def _bytes_of_leaf(cells: Cells) -> int:
    """Bytes of a leaf's voxels: whole words."""
    fx, fy, fz = cells.factor.tolist()
    bits = fx << ((fy - 1).bit_length() + (fz - 1).bit_length())
    return -(-bits // 32) * 4
