"""A sparse voxel field of density and spherical-harmonic colour, as a differentiable operation.

After Plenoxels (Fridovich-Keil et al., CVPR 2022). ``sparse_grid_torch`` is the plain twin, for any dtype and device;
float32 tensors on the CPU take the native kernel (``kernels/cpu/training/sparse_grid.cpp``).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from kilonerf.model_io import TrainingError

from .native import NativeSettings, current_settings, extension, native_for

ROW = 32
"""Floats of a vertex: 9 colour coefficients for each of red, green and blue, raw density, and zeros."""
BASIS = 9
DENSITY = 3 * BASIS
DENSITY_SCALE = 50.0
"""Density per world unit at softplus(raw) = 1."""

_CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]


class SparseGrid(torch.nn.Module):
    """The field: rows of numbers at the vertices of active voxels.

    Vertices are numbered in C order, so that the next one up in z is the next row.

    Args:
        active: bool [gx, gy, gz], voxels that hold something.
        rows: [V, ROW], one for each vertex of an active voxel.

    Attributes:
        rows: the parameters. Their gradient is not in ``rows.grad``: it grows in ``gradient``, because a step touches
            few vertices, and an array as large as ``rows`` would have to be made and cleared in each.
        gradient: [V, ROW]; a row counts only where ``touched``.
        touched: uint8 [V].
        vertex_index: int32 [gx + 1, gy + 1, gz + 1], -1 where no vertex is.
    """

    def __init__(self, active: NDArray[np.bool_], rows: torch.Tensor) -> None:
        super().__init__()
        self.active = np.ascontiguousarray(active, np.bool_)
        used = vertices_of(self.active)
        if rows.shape != (int(used.sum()), ROW):
            raise TrainingError(f"sparse grid: expected rows [{int(used.sum())}, {ROW}], got {list(rows.shape)}")
        self.vertex_index = np.where(used, np.cumsum(used.reshape(-1)).reshape(used.shape) - 1, -1).astype(np.int32)
        self.rows = torch.nn.Parameter(rows.contiguous())
        slots = np.where(self.active, np.cumsum(self.active.reshape(-1)).reshape(active.shape) - 1, -1)
        voxels = np.argwhere(self.active)
        corners = [self.vertex_index[tuple((voxels + np.array([x, y, 0])).T)] for x in (0, 1) for y in (0, 1)]
        tables = {"slots": slots, "corners": np.stack(corners, -1)}
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table.astype(np.int32)).to(rows.device), persistent=False)
        self.register_buffer("gradient", torch.zeros_like(self.rows.detach()), persistent=False)
        self.register_buffer("touched", self.rows.new_zeros(len(rows), dtype=torch.uint8), persistent=False)
        self.slots: torch.Tensor
        self.corners: torch.Tensor
        self.gradient: torch.Tensor
        self.touched: torch.Tensor
        self._neighbours: torch.Tensor | None = None

    @classmethod
    def initial(cls, active: NDArray[np.bool_], raw_density: float = -5.0) -> "SparseGrid":
        """Grey and of one raw density everywhere."""
        rows = torch.zeros(int(vertices_of(active).sum()), ROW)
        rows[:, DENSITY] = raw_density
        return cls(active, rows)

    @classmethod
    def from_state(cls, state: Mapping[str, torch.Tensor]) -> "SparseGrid":
        """From what :meth:`state` gave."""
        return cls(state["active"].numpy().astype(np.bool_), state["rows"])

    def state(self) -> dict[str, torch.Tensor]:
        """Tensors to keep."""
        return {"rows": self.rows.detach(), "active": torch.from_numpy(self.active)}

    @torch.no_grad()
    def refined(self) -> "SparseGrid":
        """Each voxel cut into 2x2x2, by trilinear interpolation: the same field.

        Every new vertex lies in an active voxel of this grid, so that none of those around it is missing.
        """
        fine = self.active.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        places = np.argwhere(vertices_of(fine))
        rows = torch.zeros(len(places), ROW, dtype=self.rows.dtype, device=self.rows.device)
        for corner in _CORNERS:  # where a place is even, both of its corners along that axis are one
            vertex = self.vertex_index[tuple(((places + corner) // 2).T)]
            rows += self.rows[torch.from_numpy(vertex).long().to(rows.device)]
        return SparseGrid(fine, rows.div_(len(_CORNERS)))

    @torch.no_grad()
    def pruned(self, active: NDArray[np.bool_]) -> tuple["SparseGrid", torch.Tensor]:
        """Without some voxels.

        Args:
            active: the voxels to keep, some of those that are active.

        Returns:
            the grid, and the rows of this one that it keeps, int64.

        Raises:
            TrainingError: the voxels are of another grid.
        """
        if active.shape != self.active.shape:
            raise TrainingError(f"sparse grid: voxels to keep: expected {self.active.shape}, got {active.shape}")
        kept = torch.from_numpy(self.vertex_index[vertices_of(active & self.active)]).long().to(self.rows.device)
        return SparseGrid(active & self.active, self.rows[kept]), kept

    def voxel_density(self) -> NDArray[np.float32]:
        """Mean of the densities at each active voxel's corners; 0 elsewhere; float32 [gx, gy, gz]."""
        density = DENSITY_SCALE * torch.nn.functional.softplus(self.rows.detach()[:, DENSITY]).cpu().numpy()
        corners = self.corners.cpu().numpy()
        result = np.zeros(self.active.shape, np.float32)
        result[self.active] = density[np.concatenate([corners, corners + 1], axis=1)].mean(1)
        return result

    def centre_density(self) -> NDArray[np.float32]:
        """Density in the middle of each active voxel, [active voxels] in C order.

        Never more than :meth:`voxel_density` says, for the density is interpolated before it is made positive.
        """
        raw = self.rows.detach()[:, DENSITY].cpu()
        corners = self.corners.cpu().long()
        middle = raw[torch.cat([corners, corners + 1], dim=1)].mean(1)
        return (DENSITY_SCALE * torch.nn.functional.softplus(middle)).numpy()

    def neighbours(self) -> torch.Tensor:
        """The vertices beside each vertex, int32 [V, 6]; -1: none."""
        if self._neighbours is None:
            padded = np.pad(self.vertex_index, 1, constant_values=-1)
            places = np.argwhere(self.vertex_index >= 0) + 1
            steps = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
            beside = np.stack([padded[tuple((places + step).T)] for step in steps], axis=1)
            self._neighbours = torch.from_numpy(np.ascontiguousarray(beside)).to(self.rows.device)
        return self._neighbours


def vertices_of(active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which vertices active voxels have, bool [gx + 1, gy + 1, gz + 1]."""
    used = np.zeros([size + 1 for size in active.shape], np.bool_)
    gx, gy, gz = active.shape
    for x, y, z in _CORNERS:
        used[x : x + gx, y : y + gy, z : z + gz] |= active
    return used


def sparse_grid(
    points: torch.Tensor,  # [S, 3]
    directions: torch.Tensor,  # [S, 3]
    grid: SparseGrid,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour and density of a grid, trilinearly interpolated before the activations.

    A backward pass adds to ``grid.gradient``, and gives points their gradients if they ask for them;
    directions get none.

    Args:
        points: coordinates within the grid's box, -1 to 1.
        directions: unit vectors; samples of a ray cost least where they follow each other.
        grid: the field.

    Returns:
        colour [S, 3] and density [S], per world unit; grey and 0 outside of active voxels.

    Raises:
        TrainingError: shapes do not fit.
    """
    for name, tensor in (("points", points), ("directions", directions)):
        if tensor.shape != (len(points), 3) or tensor.dtype != grid.rows.dtype:
            got = f"{tensor.dtype} {list(tensor.shape)}"
            raise TrainingError(f"{name}: expected {grid.rows.dtype} [{len(points)}, 3], got {got}")
    if native_for(points, directions, grid.rows) is not None:
        rgb, density = _NativeGrid.apply(
            grid.rows, points.contiguous(), directions.detach().contiguous(), grid, current_settings()
        )
        return rgb, density
    return sparse_grid_torch(points, directions, grid, _Collected.apply(grid.rows, grid))


def sparse_grid_torch(
    points: torch.Tensor,  # [S, 3]
    directions: torch.Tensor,  # [S, 3]
    grid: SparseGrid,
    rows: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The plain twin of :func:`sparse_grid`; gradients go to ``rows``, the grid's if left out, as usual."""
    rows = grid.rows if rows is None else rows
    resolution = torch.tensor(grid.active.shape, device=points.device)
    at = (points + 1.0) * (0.5 * resolution.to(points.dtype))
    inside = ((at >= 0) & (at <= resolution)).all(1)
    voxel = torch.where(inside[:, None], at, 0).long().minimum(resolution - 1)
    slot = grid.slots[tuple(voxel.T)].long()
    here = inside & (slot >= 0)
    fraction = (at - voxel)[here]
    pairs = grid.corners[slot[here]].long()
    raw = rows.new_zeros((len(fraction), ROW))
    for number, (x, y, z) in enumerate(_CORNERS):
        weight = torch.ones_like(fraction[:, 0])
        for axis, side in enumerate((x, y, z)):
            weight = weight * (fraction[:, axis] if side else 1.0 - fraction[:, axis])
        raw = raw + weight[:, None] * rows[pairs[:, number // 2] + z]
    basis = harmonics(directions[here])
    rgb = torch.sigmoid((raw[:, :DENSITY].unflatten(1, (3, BASIS)) * basis[:, None]).sum(-1))
    density = DENSITY_SCALE * torch.nn.functional.softplus(raw[:, DENSITY])
    nothing = rows.sum() * 0.0  # keeps the graph
    index = here.nonzero()[:, 0]
    return (
        (torch.full_like(points, 0.5) + nothing).index_put((index,), rgb),
        (torch.zeros_like(points[:, 0]) + nothing).index_put((index,), density),
    )


def harmonics(directions: torch.Tensor) -> torch.Tensor:
    """Real spherical harmonics up to degree 2 of unit vectors, [S, BASIS]."""
    x, y, z = directions.unbind(1)
    return torch.stack(
        [
            torch.full_like(x, 0.28209479177387814),
            0.4886025119029199 * y,
            0.4886025119029199 * z,
            0.4886025119029199 * x,
            1.0925484305920792 * x * y,
            1.0925484305920792 * y * z,
            0.31539156525252005 * (3.0 * z * z - 1.0),
            1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ],
        dim=1,
    )


class _NativeGrid(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        points: torch.Tensor,
        directions: torch.Tensor,
        grid: SparseGrid,
        settings: NativeSettings,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rgb, density = torch.empty_like(points), torch.empty_like(points[:, 0])
        located = torch.empty((len(points), 8), dtype=torch.int32)
        extension.grid_forward(
            rows=rows.detach().numpy(),
            slots=grid.slots.numpy(),
            corners=grid.corners.numpy(),
            points=points.detach().numpy(),
            directions=directions.numpy(),
            rgb=rgb.numpy(),
            density=density.numpy(),
            located=located.numpy(),
            **settings.arguments(),
        )
        ctx.save_for_backward(directions, rgb, density, located)
        ctx.how = grid, settings
        return rgb, density

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # because of the decorator
        ctx: Any, *grad_outputs: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        d_rgb, d_density = (gradient.contiguous() for gradient in grad_outputs)
        directions, rgb, density, located = ctx.saved_tensors
        grid, settings = ctx.how
        kept = {
            "directions": directions.numpy(),
            "rgb": rgb.detach().numpy(),
            "density": density.detach().numpy(),
            "located": located.numpy(),
            "d_rgb": d_rgb.numpy(),
            "d_density": d_density.numpy(),
            **settings.arguments(),
        }
        extension.grid_backward(**kept, gradient=grid.gradient.numpy(), touched=grid.touched.numpy())
        d_points = None
        if ctx.needs_input_grad[1]:
            d_points = torch.empty_like(rgb)
            extension.grid_places(**kept, rows=grid.rows.detach().numpy(), d_places=d_points.numpy())
            d_points *= 0.5 * torch.tensor(grid.active.shape)  # voxels in a unit of the points
        return None, d_points, None, None, None


class _Collected(torch.autograd.Function):
    """The rows; their gradient is added to the grid's own."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, grid: SparseGrid) -> torch.Tensor:
        ctx.grid = grid
        return rows.view_as(rows)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[None, None]:
        gradient, grid = grad_outputs[0], ctx.grid
        grid.gradient[grid.touched == 0] = 0  # the native step leaves there what it has used
        grid.gradient += gradient
        grid.touched |= (gradient != 0).any(1).to(torch.uint8)
        return None, None
