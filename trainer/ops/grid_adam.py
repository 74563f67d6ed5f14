"""How a sparse grid learns: Adam and total variation, both for the vertices that a step touched."""

from collections.abc import Mapping

import torch

from kilonerf.model_io import TrainingError

from .native import current_settings, native_for
from .sparse_grid import DENSITY, ROW, SparseGrid


class GridAdam:
    """Adam for the vertices that a step touched (Kingma and Ba 2015); the others are left alone, moments too.

    Args:
        grid: whose rows are stepped, and whose gradient is forgotten then.
        betas: how fast the moments forget.
        epsilon: added to the second moment's root.

    Attributes:
        steps: so far.
    """

    def __init__(self, grid: SparseGrid, betas: tuple[float, float] = (0.9, 0.99), epsilon: float = 1e-12) -> None:
        self._grid, self._betas, self._epsilon = grid, betas, epsilon
        self.first = torch.zeros_like(grid.rows.detach())
        self.second = torch.zeros_like(self.first)
        self.steps = 0

    def of(self, grid: SparseGrid, rows: torch.Tensor) -> "GridAdam":
        """For a grid that keeps these rows of the one before, int64."""
        adam = GridAdam(grid, self._betas, self._epsilon)
        adam.first, adam.second, adam.steps = self.first[rows], self.second[rows], self.steps
        return adam

    def state(self) -> dict[str, torch.Tensor]:
        """Tensors to keep."""
        return {"first": self.first, "second": self.second, "steps": torch.tensor(self.steps)}

    @classmethod
    def from_state(cls, grid: SparseGrid, state: Mapping[str, torch.Tensor]) -> "GridAdam":
        """For ``grid``, from what :meth:`state` gave."""
        adam = cls(grid)
        for name in ("first", "second"):
            if state[name].shape != grid.rows.shape:
                raise TrainingError(f"{name}: expected {list(grid.rows.shape)}, got {list(state[name].shape)}")
        adam.first, adam.second = (state[name].to(grid.rows.device) for name in ("first", "second"))
        adam.steps = int(state["steps"])
        return adam

    @torch.no_grad()
    def step(self, color_rate: float, density_rate: float) -> None:
        """One step of the touched vertices; their gradient is forgotten."""
        self.steps += 1
        grid = self._grid
        native = native_for(grid.rows)
        if native is not None:
            native.grid_adam(
                rows=grid.rows.detach().numpy(),
                first=self.first.numpy(),
                second=self.second.numpy(),
                gradient=grid.gradient.numpy(),
                touched=grid.touched.numpy(),
                step=self.steps,
                color_rate=color_rate,
                density_rate=density_rate,
                beta1=self._betas[0],
                beta2=self._betas[1],
                epsilon=self._epsilon,
                **current_settings().arguments(),
            )
            torch.autograd.graph.increment_version(grid.rows)
            return
        at = grid.touched.nonzero()[:, 0]
        gradient, (beta1, beta2) = grid.gradient[at], self._betas
        self.first[at] = beta1 * self.first[at] + (1 - beta1) * gradient
        self.second[at] = beta2 * self.second[at] + (1 - beta2) * gradient**2
        rate = gradient.new_full((ROW,), color_rate)
        rate[DENSITY] = density_rate
        root = (self.second[at] / (1 - beta2**self.steps)).sqrt() + self._epsilon
        grid.rows[at] -= rate * self.first[at] / (1 - beta1**self.steps) / root
        grid.touched.zero_()


@torch.no_grad()
def add_total_variation(grid: SparseGrid, color_weight: float, density_weight: float) -> None:
    """Add the gradient of weight / 2 * (sum over pairs of neighbouring vertices of squared differences).

    Only vertices that a sample has touched get theirs: the others will when a sample touches them.
    """
    native = native_for(grid.rows)
    if native is not None:
        native.grid_smooth(
            rows=grid.rows.detach().numpy(),
            neighbours=grid.neighbours().numpy(),
            color_weight=color_weight,
            density_weight=density_weight,
            gradient=grid.gradient.numpy(),
            touched=grid.touched.numpy(),
            **current_settings().arguments(),
        )
        return
    weight = grid.rows.new_full((ROW,), color_weight)
    weight[DENSITY], weight[DENSITY + 1 :] = density_weight, 0
    at = grid.touched.nonzero()[:, 0]
    for beside in grid.neighbours()[at].long().unbind(1):
        there = (beside >= 0)[:, None]
        grid.gradient[at] += torch.where(there, weight * (grid.rows[at] - grid.rows[beside.clamp(min=0)]), 0)
