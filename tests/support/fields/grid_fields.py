"""Sparse voxel fields and samples for tests of training."""

import torch

from kilonerf.trainer.ops.sparse_grid import DENSITY, ROW, SparseGrid, vertices_of

RESOLUTION = (16, 32, 8)  # powers of two: the faces of voxels are exact in float32


def random_grid(resolution: tuple[int, int, int] = RESOLUTION, share: float = 0.4, seed: int = 0) -> SparseGrid:
    """Voxels here and there; raw densities from far below to far above zero."""
    generator = torch.Generator().manual_seed(seed)
    active = (torch.rand(resolution, generator=generator) < share).numpy()
    rows = torch.randn(int(vertices_of(active).sum()), ROW, generator=generator)
    rows[:, DENSITY] *= 4.0
    rows[:, DENSITY + 1 :] = 0
    return SparseGrid(active, rows)


def random_samples(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points, some of them outside of the box; directions in runs, as of rays."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand((count, 3), generator=generator) * 2.1 - 1.05
    directions = torch.randn((count, 3), generator=generator)
    run = (torch.rand(count, generator=generator) < 0.2).long().cumsum(0).clamp(max=max(count - 1, 0))
    return points, torch.nn.functional.normalize(directions, dim=1)[run]


def in_float64(grid: SparseGrid) -> SparseGrid:
    return SparseGrid(grid.active, grid.rows.detach().double())


def added_up(grid: SparseGrid) -> torch.Tensor:
    """The gradient, without what rows hold that do not count."""
    return torch.where(grid.touched[:, None] != 0, grid.gradient, 0.0)
