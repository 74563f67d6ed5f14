"""The optimiser of the sparse voxel field, against torch's own; and its total variation, against autograd."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.trainer.ops.grid_adam import GridAdam, add_total_variation
from kilonerf.trainer.ops.native import native_settings, training_paths
from kilonerf.trainer.ops.sparse_grid import DENSITY, SparseGrid, sparse_grid
from support.fields.grid_fields import added_up, random_grid, random_samples

PATHS = ["torch", *training_paths()]


@pytest.mark.parametrize("path", PATHS)
def test_steps_of_all_vertices_are_those_of_torch(path: str) -> None:
    grid = random_grid((4, 4, 4))
    color = grid.rows.detach()[:, :DENSITY].clone().requires_grad_()
    density = grid.rows.detach()[:, DENSITY].clone().requires_grad_()
    other = torch.optim.Adam([{"params": [color]}, {"params": [density]}], betas=(0.9, 0.99), eps=1e-12)
    adam = GridAdam(grid)
    generator = torch.Generator().manual_seed(5)
    before = grid.rows.detach().clone()
    with native_settings(path=path):
        for step in range(12):
            rates = (0.1 * 0.9**step, 0.3 * 0.8**step)
            gradient = torch.randn(grid.rows.shape, generator=generator) * 10.0 ** (-step % 5)
            gradient[:, DENSITY + 1 :] = 0
            grid.gradient.copy_(gradient)
            grid.touched.fill_(1)
            adam.step(*rates)
            color.grad, density.grad = gradient[:, :DENSITY], gradient[:, DENSITY]
            for group, rate in zip(other.param_groups, rates, strict=True):
                group["lr"] = rate
            other.step()
    torch.testing.assert_close(grid.rows[:, :DENSITY], color, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grid.rows[:, DENSITY], density, rtol=1e-5, atol=1e-5)
    assert not grid.rows[:, DENSITY + 1 :].any()
    assert float((grid.rows.detach() - before)[:, :DENSITY].abs().max()) > 0.05


@pytest.mark.parametrize("path", PATHS)
def test_untouched_vertices_are_left_alone_moments_too(path: str) -> None:
    grid = random_grid((4, 4, 4))
    adam = GridAdam(grid)
    chosen = torch.arange(len(grid.rows)) % 3 == 0
    with native_settings(path=path):
        grid.gradient.fill_(1.0)
        grid.touched.fill_(1)
        adam.step(0.1, 0.1)
        kept = [tensor.clone() for tensor in (grid.rows.detach(), adam.first, adam.second)]
        grid.touched.copy_(chosen)
        grid.gradient.fill_(2.0)
        adam.step(0.1, 0.1)
    for before, after in zip(kept, (grid.rows.detach(), adam.first, adam.second), strict=True):
        assert torch.equal(before[~chosen], after[~chosen])
        assert (before[chosen] != after[chosen])[:, : DENSITY + 1].all()
    assert adam.steps == 2


@pytest.mark.parametrize("path", PATHS)
def test_training_goes_on_from_its_state(path: str) -> None:
    grid = random_grid((5, 6, 7))
    adam = GridAdam(grid)

    def steps(grid: SparseGrid, adam: GridAdam, seeds: range) -> None:
        for seed in seeds:
            rgb, density = sparse_grid(*random_samples(60, seed), grid)
            ((rgb - 0.2).square().sum() + (density - 3.0).abs().sum()).backward()
            adam.step(0.1, 0.1)

    with native_settings(path=path):
        steps(grid, adam, range(3))
        state = {name: tensor.clone() for name, tensor in {**grid.state(), **adam.state()}.items()}
        other = SparseGrid.from_state(state)
        other_adam = GridAdam.from_state(other, state)
        steps(grid, adam, range(3, 6))
        steps(other, other_adam, range(3, 6))
    assert np.array_equal(grid.active, other.active)
    assert torch.equal(grid.rows, other.rows)
    assert torch.equal(adam.second, other_adam.second)
    assert other_adam.steps == 6


@pytest.mark.parametrize("path", PATHS)
def test_total_variation_is_the_gradient_of_squared_differences(path: str) -> None:
    grid = random_grid((5, 6, 4))
    generator = torch.Generator().manual_seed(2)
    touched = torch.rand(len(grid.rows), generator=generator) < 0.5
    before = torch.randn(grid.rows.shape, generator=generator)
    grid.touched.copy_(touched)
    grid.gradient.copy_(before)
    with native_settings(path=path):
        add_total_variation(grid, 0.3, 0.02)
    rows = grid.rows.detach().double().requires_grad_()
    total = rows.new_zeros(())
    for axis in range(3):
        size = grid.vertex_index.shape[axis] - 1
        first, second = (np.take(grid.vertex_index, range(begin, begin + size), axis) for begin in (0, 1))
        pairs = torch.from_numpy(np.stack([first, second])[:, (first >= 0) & (second >= 0)]).long()
        difference = rows[pairs[0]] - rows[pairs[1]]
        total = total + 0.15 * difference[:, :DENSITY].square().sum() + 0.01 * difference[:, DENSITY].square().sum()
    total.backward()
    assert rows.grad is not None
    expected = torch.where(touched[:, None], before + rows.grad, 0.0)
    torch.testing.assert_close(
        added_up(grid)[:, : DENSITY + 1].double(), expected[:, : DENSITY + 1], rtol=1e-5, atol=1e-5
    )
    assert torch.equal(grid.touched != 0, touched)
