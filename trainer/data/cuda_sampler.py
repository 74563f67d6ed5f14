"""Samples of rays by a CUDA device: what ``extension.make_ray_sampler`` is on the CPU, and the very same samples."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.kernels.native.grid import GRID, SAMPLE_STEPS, native_grid, native_steps
from kilonerf.kernels.sampling import SampleSteps
from kilonerf.model_io.scene.cells import Cells

from ..ops.cuda import RAY_THREADS, TrainingDevice

BRICK = 4  # voxels on each axis: 64, the bits of a word; as in kernels/native/grid.h
FARTHEST = 64  # bricks; that empty space goes on farther is not told

SAMPLING_GRID = np.dtype([("grid", GRID), ("steps", SAMPLE_STEPS), ("bricks", "<i4", 3), ("level", "<i4")])
"""SamplingGrid in kernels/cuda/training/walk.cuh."""


class CudaRaySampler:
    """Takes samples in occupied voxels; empty space is skipped by bricks of 4x4x4 voxels.

    Args:
        device: runs the kernels.
        where: torch's name of it.
        levels: the grid of each level.
        steps: where samples of the innermost level lie on a ray.
        voxels: for each level int64 [V, 3], those that are occupied and have a network.
    """

    def __init__(
        self,
        device: TrainingDevice,
        where: torch.device,
        levels: Sequence[Cells],
        steps: SampleSteps,
        voxels: Sequence[NDArray[np.int64]],
    ) -> None:
        self._device, self._where = device, where
        self._levels = [
            _Level(where, number, cells, steps.of_level(number), there)
            for number, (cells, there) in enumerate(zip(levels, voxels, strict=True))
        ]

    def set_densities(self, densities: Sequence[NDArray[np.float32]]) -> None:
        """Estimates of the voxels' densities, for each level float32 [V]; zero before the first call."""
        for level, of_level in zip(self._levels, densities, strict=True):
            level.densities[level.places] = torch.from_numpy(of_level).to(self._where)

    def sample(
        self,
        origins: torch.Tensor,  # [R, 3]
        directions: torch.Tensor,  # [R, 3]
        seed: int | None,
        first_ray: int,
        most_thickness: float,
    ) -> tuple[torch.Tensor, ...]:
        """What RaySamples holds, on the device; waits for the number of samples."""
        from_rays = origins.float().contiguous().to(self._where), directions.float().contiguous().to(self._where)
        rays = len(origins)
        jitter = np.uint64(seed or 0), np.int64(first_ray), np.int32(seed is not None)
        common = [
            (*level.arguments, *jitter, np.float64(most_thickness), np.int64(rays), *from_rays)
            for level in self._levels
        ]
        counts = torch.empty((len(common), rays), dtype=torch.int64, device=self._where)
        for arguments, of_level in zip(common, counts, strict=True):
            self._launch("count_samples", rays, (*arguments, of_level))
        offsets = torch.nn.functional.pad(counts.flatten().cumsum(0), (1, 0))
        total = int(offsets[-1])
        points, unit = (torch.empty((total, 3), device=self._where) for _ in range(2))
        distance, depth, density = (torch.empty(total, device=self._where) for _ in range(3))
        network = torch.empty(total, dtype=torch.int32, device=self._where)
        for number, arguments in enumerate(common):
            if total:
                written = offsets[number * rays :], points, unit, network, distance, depth, density
                self._launch("write_samples", rays, (*arguments, *written))
        if len(common) == 1:
            return offsets, points, unit, network, distance, depth
        merged, source = self._merged(rays, offsets, depth, density, distance, most_thickness)
        return merged, *(part[source] for part in (points, unit, network, distance, depth))

    def _merged(
        self,
        rays: int,
        offsets: torch.Tensor,
        depth: torch.Tensor,
        density: torch.Tensor,
        distance: torch.Tensor,
        most_thickness: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Each ray's samples of all levels in one row: offsets, and where each comes from."""
        counts = torch.empty(rays, dtype=torch.int64, device=self._where)
        common = (np.int64(rays), np.int32(len(self._levels)), offsets, depth, density, distance)
        if len(depth):
            self._launch("count_merged", rays, (*common, np.float64(most_thickness), counts))
        else:
            counts.zero_()
        merged = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        source = torch.empty(int(merged[-1]), dtype=torch.int64, device=self._where)
        if len(source):
            self._launch("write_merged", rays, (*common, np.float64(most_thickness), merged, source))
        return merged, source

    def _launch(self, name: str, rays: int, arguments: tuple) -> None:
        if rays:
            self._device.launch("training/rays.cu", name, -(-rays // RAY_THREADS), RAY_THREADS, arguments)


class _Level:
    """A level's arrays on the device.

    Attributes:
        arguments: what kernels are told of it.
        densities: estimates, in the order of ``places``.
        places: of the level's voxels among the densities.
    """

    def __init__(
        self, where: torch.device, number: int, cells: Cells, steps: SampleSteps, voxels: NDArray[np.int64]
    ) -> None:
        bricks = -(-cells.voxels // BRICK)
        words, slots, places = _bricks(voxels, bricks)
        constants = np.zeros((), SAMPLING_GRID)
        constants["grid"], constants["steps"] = native_grid(cells), native_steps(steps)
        constants["bricks"], constants["level"] = bricks, number
        self.places = torch.from_numpy(places).to(where)
        self.densities = torch.zeros(64 * (int(slots.max()) + 1), dtype=torch.float32, device=where)
        self.arguments = (
            constants[()],
            torch.from_numpy(words.view(np.int64)).to(where),
            torch.from_numpy(_empty_space(words.reshape(bricks) != 0)).to(where),
            torch.from_numpy(slots).to(where),
            self.densities,
            torch.from_numpy(np.ascontiguousarray(cells.network_index, np.int32)).to(where),
        )


def _bricks(
    voxels: NDArray[np.int64], bricks: NDArray[np.int32]
) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int64]]:
    """A word for each brick; among those that are not empty, its number (else -1); each voxel's place by it."""
    brick = np.ravel_multi_index(tuple((voxels // BRICK).T), tuple(bricks))
    bit = np.ravel_multi_index(tuple((voxels % BRICK).T), (BRICK, BRICK, BRICK))
    words = np.zeros(int(np.prod(bricks)), np.uint64)
    np.bitwise_or.at(words, brick, np.uint64(1) << bit.astype(np.uint64))
    slots = np.where(words != 0, np.cumsum(words != 0) - 1, -1).astype(np.int32)
    return words, slots, 64 * slots[brick].astype(np.int64) + bit


def _empty_space(occupied: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """How far the nearest brick is that is not empty, by the largest of the axes' differences; at most FARTHEST."""
    empty = np.where(occupied, 0, FARTHEST).astype(np.uint8)
    reached = occupied
    for away in range(1, FARTHEST):
        if reached.all():
            break
        for axis in range(3):
            wide = np.pad(reached, [(int(axis == other),) * 2 for other in range(3)])
            count = reached.shape[axis]
            reached = np.logical_or.reduce([wide.take(range(at, at + count), axis) for at in range(3)])
        empty[reached & (empty == FARTHEST)] = away
    return empty
