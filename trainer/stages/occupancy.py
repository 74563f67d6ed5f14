"""Where something is: the occupancy grid from a teacher's density, and the grid of networks (KiloNeRF section 3.4)."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.model_io import TrainingError
from kilonerf.model_io.scene.box import Box
from kilonerf.model_io.scene.cells import occupied_cells
from kilonerf.model_io.scene.levels import hole, level_box

from ..teachers.nested_grid import half_side

_POINTS_AT_ONCE = 1 << 18


def network_grid(
    box_min: Sequence[float] | NDArray[np.floating],  # [3]
    box_max: Sequence[float] | NDArray[np.floating],  # [3]
    longest: int = 16,
) -> tuple[tuple[int, int, int], Box]:
    """Cubic cells over a box.

    Args:
        box_min: the box's corner with the least coordinates, world units; not rounded to float32 yet.
        box_max: the opposite corner.
        longest: cells along its longest side.

    Returns:
        the cells on each axis, and the box that they fill: the one given, grown about its middle to whole cells.
    """
    low, high = np.asarray(box_min, np.float64), np.asarray(box_max, np.float64)
    cell = float((high - low).max()) / longest
    cells = np.maximum(1, np.ceil((high - low) / cell - 1e-6)).astype(int)
    middle, half = (low + high) / 2, cells * cell / 2
    x, y, z = (int(count) for count in cells)
    return (x, y, z), Box((middle - half).astype(np.float32), (middle + half).astype(np.float32))


def occupancy_from_density(
    density: Callable[[torch.Tensor], torch.Tensor],
    box: Box,
    resolution: tuple[int, int, int],
    *,
    samples: int = 3,
    threshold: float = 10.0,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.bool_]:
    """Voxels in which any sample of the density exceeds a threshold.

    Args:
        density: per world unit, [S], at points in world units, float32 [S, 3].
        box: what the voxels fill.
        resolution: voxels on each axis.
        samples: of each voxel on each axis, from face to face; those on a face are its neighbour's too, and are
            taken once. At least 2.
        threshold: the density that counts as something.
        progress: is told the slices done and of all.

    Returns:
        bool ``resolution``.

    Raises:
        TrainingError: fewer than two samples.
    """
    if samples < 2:
        raise TrainingError(f"occupancy: samples: expected 2 or more along each side of a voxel, got {samples}")
    between = samples - 1
    axes = [
        (low + np.arange(n * between + 1) * ((high - low) / (n * between))).astype(np.float32)
        for low, high, n in zip(box.min.astype(np.float64), box.max.astype(np.float64), resolution, strict=True)
    ]
    plane = np.stack(np.meshgrid(axes[1], axes[2], indexing="ij"), -1).reshape(-1, 2)
    occupied = np.zeros(resolution, np.bool_)
    for index, x in enumerate(axes[0]):
        points = torch.from_numpy(np.concatenate([np.full((len(plane), 1), x, np.float32), plane], axis=1))
        above = torch.cat([density(part).cpu() > threshold for part in points.split(_POINTS_AT_ONCE)])
        section = above.reshape(len(axes[1]), len(axes[2])).numpy()
        for axis, n in ((0, resolution[1]), (1, resolution[2])):
            section = _any_of_voxels(section, axis, n, between)
        first, last = math.ceil(index / between) - 1, index // between  # a face belongs to two voxels
        for voxel in {max(first, 0), min(last, resolution[0] - 1)}:
            occupied[voxel] |= section
        if progress is not None:
            progress(index + 1, len(axes[0]))
    return occupied


def network_index_of(occupancy: NDArray[np.bool_], resolution: tuple[int, int, int]) -> NDArray[np.int32]:
    """A network for each cell with an occupied voxel, numbered in C order; -1 elsewhere; int32 ``resolution``."""
    occupied = occupied_cells(occupancy, resolution)
    return np.where(occupied, np.cumsum(occupied.reshape(-1)).reshape(resolution) - 1, -1).astype(np.int32)


def network_indices(
    occupancies: Sequence[NDArray[np.bool_]], resolution: tuple[int, int, int]
) -> list[NDArray[np.int32]]:
    """As :func:`network_index_of` for each of several levels, whose networks are numbered one after the other."""
    indices, first = [], 0
    for occupancy in occupancies:
        index = network_index_of(occupancy, resolution)
        indices.append(np.where(index >= 0, index + first, -1).astype(np.int32))
        first += int(index.max()) + 1
    return indices


def _any_of_voxels(flags: NDArray[np.bool_], axis: int, voxels: int, between: int) -> NDArray[np.bool_]:
    """Whether any of ``between + 1`` flags of each voxel is set, along one axis."""
    flags = np.moveaxis(flags, axis, 0)
    result = flags[: voxels * between : between].copy()
    for offset in range(1, between + 1):
        result |= flags[offset : offset + (voxels - 1) * between + 1 : between]
    return np.moveaxis(result, 0, axis)


def occupancy_of_teacher(
    density: Callable[[torch.Tensor], torch.Tensor],
    box: Box,
    resolution: tuple[int, int, int],
    *,
    samples: int,
    threshold: float,
    stage: str = "occupancy",
) -> NDArray[np.bool_]:
    """As :func:`occupancy_from_density`, of a teacher that has to have density somewhere.

    Raises:
        TrainingError: it has none; ``stage`` is named.
    """
    occupancy = occupancy_from_density(density, box, resolution, samples=samples, threshold=threshold)
    if not occupancy.any():
        raise TrainingError(f"{stage}: expected a teacher with densities above {threshold:g} somewhere, got none")
    return occupancy


def nested_occupancy(
    density: Callable[[torch.Tensor], torch.Tensor],
    box: Box,
    levels: int,
    *,
    cells: int,
    factor: int,
    threshold: float,
) -> tuple[Box, NDArray[np.bool_], NDArray[np.int32]]:
    """The grids of nested boxes.

    Args:
        density: per world unit, [S], at points in world units, float32 [S, 3].
        box: of level 0.
        levels: how many there are.
        cells: along the longest side; rounded to a multiple of 4.
        factor: voxels of a cell on each axis.
        threshold: the density that counts as something, per half the longest side of each level's box.

    Returns:
        the box; occupancy, bool [L, ox, oy, oz]; the network of each cell, int32 [L, rx, ry, rz], -1 for none.

    Raises:
        TrainingError: nothing is that dense.
    """
    cell = box.size.max() / (4 * max(1, round(cells / 4)))
    resolution = 4 * np.maximum(1, np.rint(box.size / cell / 4)).astype(int)
    x, y, z = (int(count) for count in resolution)
    voxels = (x * factor, y * factor, z * factor)
    occupancy: list[NDArray[np.bool_]] = []
    for level in range(levels):
        occupied = occupancy_from_density(
            density,
            level_box(box, level),
            voxels,
            samples=2,  # the teacher is linear between the corners of these voxels
            threshold=threshold / half_side(box, level),
        )
        if level:
            occupied[hole(voxels)] = False
        occupancy.append(occupied)
    if not any(occupied.any() for occupied in occupancy):
        raise TrainingError(f"occupancy: expected a teacher with densities above {threshold:g}, got none")
    return box, np.stack(occupancy), np.stack(network_indices(occupancy, (x, y, z)))
