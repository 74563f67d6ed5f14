"""Samples of rays by a CUDA device: what ``extension.make_ray_sampler`` is on the CPU, and the very same samples."""

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.kernels.native.grid import GRID, SAMPLE_STEPS, native_grid, native_steps
from kilonerf.kernels.sampling import SampleSteps
from kilonerf.model_io.scene.cells import Cells

from ..ops.cuda import RAY_THREADS, TrainingDevice

BRICK = 4  # voxels on each axis: 64, the bits of a word; as in kernels/native/grid.h
FARTHEST = 64  # bricks; that empty space goes on farther is not told

SAMPLING_GRID = np.dtype([("grid", GRID), ("steps", SAMPLE_STEPS), ("bricks", "<i4", 3)])
"""SamplingGrid in kernels/cuda/training/walk.cuh."""


class CudaRaySampler:
    """Takes samples in occupied voxels; empty space is skipped by bricks of 4x4x4 voxels.

    Args:
        device: runs the kernels.
        where: torch's name of it.
        cells: the grid.
        steps: where samples lie on a ray.
        voxels: int64 [V, 3], those that are occupied and have a network.
    """

    def __init__(
        self,
        device: TrainingDevice,
        where: torch.device,
        cells: Cells,
        steps: SampleSteps,
        voxels: NDArray[np.int64],
    ) -> None:
        self._device, self._where = device, where
        bricks = -(-cells.voxels // BRICK)
        words, slots, places = _bricks(voxels, bricks)
        self._constants = np.zeros((), SAMPLING_GRID)
        self._constants["grid"], self._constants["steps"] = native_grid(cells), native_steps(steps)
        self._constants["bricks"] = bricks
        self._words = torch.from_numpy(words.view(np.int64)).to(where)
        self._empty = torch.from_numpy(_empty_space(words.reshape(bricks) != 0)).to(where)
        self._slots = torch.from_numpy(slots).to(where)
        self._places = torch.from_numpy(places).to(where)
        self._densities = torch.zeros(64 * (int(slots.max()) + 1), dtype=torch.float32, device=where)
        self._network_index = torch.from_numpy(np.ascontiguousarray(cells.network_index, np.int32)).to(where)

    def set_densities(self, densities: NDArray[np.float32]) -> None:
        """Estimates of the voxels' densities, float32 [V]; zero before the first call."""
        self._densities[self._places] = torch.from_numpy(densities).to(self._where)

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
        common = (
            self._constants[()],
            *(self._words, self._empty, self._slots, self._densities, self._network_index),
            *(np.uint64(seed or 0), np.int64(first_ray), np.int32(seed is not None)),
            *(np.float64(most_thickness), np.int64(rays), *from_rays),
        )
        counts = torch.empty(rays, dtype=torch.int64, device=self._where)
        self._launch("count_samples", rays, (*common, counts))
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        total = int(offsets[-1])
        points, unit = (torch.empty((total, 3), device=self._where) for _ in range(2))
        distance, depth = (torch.empty(total, device=self._where) for _ in range(2))
        network = torch.empty(total, dtype=torch.int32, device=self._where)
        if total:
            self._launch("write_samples", rays, (*common, offsets, points, unit, network, distance, depth))
        return offsets, points, unit, network, distance, depth

    def _launch(self, name: str, rays: int, arguments: tuple) -> None:
        if rays:
            self._device.launch("training/rays.cu", name, -(-rays // RAY_THREADS), RAY_THREADS, arguments)


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
