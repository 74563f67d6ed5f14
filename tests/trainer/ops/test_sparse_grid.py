"""The sparse voxel field: against formulas, its own float64 twin, and torch's Adam."""

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.model_io import TrainingError
from kilonerf.trainer.ops.grid_adam import GridAdam, add_total_variation
from kilonerf.trainer.ops.native import native_settings, training_paths
from kilonerf.trainer.ops.sparse_grid import (
    BASIS,
    DENSITY,
    DENSITY_SCALE,
    ROW,
    SparseGrid,
    harmonics,
    sparse_grid,
    sparse_grid_torch,
    vertices_of,
)
from support.fields.grid_fields import RESOLUTION, added_up, in_float64, random_grid, random_samples

PATHS = ["torch", *training_paths()]
needs_native = pytest.mark.skipif(not training_paths(), reason="the native extension is not there")


def truth(
    grid: SparseGrid, points: torch.Tensor, directions: torch.Tensor, d_rgb: torch.Tensor, d_density: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Colour, density and gradient in float64, by autograd."""
    exact = in_float64(grid)
    rgb, density = sparse_grid_torch(points.double(), directions.double(), exact)
    ((rgb * d_rgb).sum() + (density * d_density).sum()).backward()
    assert exact.rows.grad is not None
    return rgb.detach(), density.detach(), exact.rows.grad


def assert_near(got: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Relative to the largest of each column: colours and densities have very different gradients."""
    scale = expected.abs().amax(0).clamp(min=1e-30) if len(expected) else 1.0
    assert got.shape == expected.shape
    assert not len(got) or float(((got - expected) / scale).abs().max()) < tolerance


def as_faces(points: torch.Tensor) -> torch.Tensor:
    """Each point moved: in turns to a corner of a voxel, to an edge, to a face, or not at all."""
    half = torch.tensor(RESOLUTION) / 2
    rounded = (((points + 1) * half).round() / half - 1).clamp(-1, 1)
    axes = (torch.arange(len(points)) % 4)[:, None] > torch.arange(3)
    return torch.where(axes, rounded, points)


def test_harmonics_are_orthonormal() -> None:
    heights, weights = np.polynomial.legendre.leggauss(8)
    angles = np.arange(16) * (math.tau / 16)
    z, angle = (torch.from_numpy(array).reshape(-1) for array in np.meshgrid(heights, angles, indexing="ij"))
    radius = torch.sqrt(1 - z * z)
    basis = harmonics(torch.stack([radius * torch.cos(angle), radius * torch.sin(angle), z], 1))
    weight = torch.from_numpy(np.repeat(weights, 16)) * (math.tau / 16)
    torch.testing.assert_close(basis.T @ (weight[:, None] * basis), torch.eye(BASIS, dtype=torch.float64))


@pytest.mark.parametrize("path", PATHS)
def test_rows_that_are_linear_in_space_give_linear_values_before_the_activations(path: str) -> None:
    active = random_grid((6, 5, 7)).active
    size = np.array(active.shape)
    places = torch.from_numpy(np.argwhere(vertices_of(active)) / size * 2 - 1)
    generator = torch.Generator().manual_seed(1)
    slope, height = (torch.randn(shape, generator=generator).double() for shape in ((3, ROW), (ROW,)))
    grid = SparseGrid(active, (places @ slope + height).float())
    points, directions = random_samples(2000)
    with native_settings(path=path), torch.no_grad():
        rgb, density = sparse_grid(points, directions, grid)
    raw = points.double() @ slope + height
    coefficients = raw[:, :DENSITY].reshape(-1, 3, BASIS)
    voxel = np.floor((points.double().numpy() + 1) / 2 * size).astype(int)
    inside = np.logical_and.reduce((voxel >= 0) & (voxel < size), axis=1)
    inside = inside & active[tuple(np.where(inside[:, None], voxel, 0).T)]
    here = torch.from_numpy(inside)
    assert 300 < int(here.sum()) < 1700
    expected = torch.sigmoid(torch.einsum("sci,si->sc", coefficients, harmonics(directions.double())))
    torch.testing.assert_close(rgb[here].double(), expected[here], rtol=1e-5, atol=1e-6)
    expected = DENSITY_SCALE * torch.log1p(torch.exp(raw[:, DENSITY]))
    torch.testing.assert_close(density[here].double(), expected[here], rtol=1e-5, atol=0)
    assert (rgb[~here] == 0.5).all()
    assert (density[~here] == 0).all()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("where", ["anywhere", "faces", "one"])
def test_values_and_gradients_are_those_of_float64(where: str, path: str) -> None:
    grid = random_grid()
    points, directions = random_samples(1 if where == "one" else 3001)
    if where == "faces":
        points = as_faces(points)
    d_rgb, d_density = torch.randn(points.shape), torch.randn(len(points)) * 0.1
    with native_settings(path=path):
        rgb, density = sparse_grid(points, directions, grid)
        torch.autograd.backward((rgb, density), (d_rgb, d_density))
    expected_rgb, expected_density, expected = truth(grid, points, directions, d_rgb, d_density)
    torch.testing.assert_close(rgb.double(), expected_rgb, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(density.double(), expected_density, rtol=2e-5, atol=0)
    assert_near(added_up(grid), expected)
    assert grid.rows.grad is None
    assert torch.equal(grid.touched != 0, expected.any(1))


@pytest.mark.parametrize("path", PATHS)
def test_points_have_gradients_if_they_ask_for_them(path: str) -> None:
    grid = random_grid()
    points, directions = random_samples(3001)
    d_rgb, d_density = torch.randn(points.shape), torch.randn(len(points)) * 0.1
    points.requires_grad_(True)
    with native_settings(path=path):
        torch.autograd.backward(sparse_grid(points, directions, grid), (d_rgb, d_density))
    exact = points.detach().double().requires_grad_(True)
    rgb, density = sparse_grid_torch(exact, directions.double(), in_float64(grid))
    ((rgb * d_rgb).sum() + (density * d_density).sum()).backward()
    assert points.grad is not None
    assert exact.grad is not None
    assert int((exact.grad != 0).any(1).sum()) > 300
    assert_near(points.grad, exact.grad)


@pytest.mark.parametrize("path", PATHS)
def test_densities_are_exact_to_a_few_bits_however_small(path: str) -> None:
    grid = SparseGrid.initial(np.ones((1, 1, 60), np.bool_))
    with torch.no_grad():
        grid.rows[:, DENSITY] = torch.linspace(-60, 30, 61).repeat(4)
    points = torch.zeros(60, 3)
    points[:, 2] = (torch.arange(60) + 0.5) / 30 - 1
    directions = torch.tensor([0.0, 0.0, 1.0]).repeat(60, 1)
    d_rgb, d_density = torch.zeros(60, 3), torch.ones(60)
    with native_settings(path=path):
        rgb, density = sparse_grid(points, directions, grid)
        torch.autograd.backward((rgb, density), (d_rgb, d_density))
    _, expected, expected_gradient = truth(grid, points, directions, d_rgb, d_density)
    torch.testing.assert_close(density.double(), expected, rtol=3e-5, atol=0)
    got = added_up(grid).double()[:, DENSITY]
    torch.testing.assert_close(got, expected_gradient[:, DENSITY], rtol=3e-5, atol=0)


@needs_native
def test_threads_change_no_bit() -> None:
    grid = random_grid((40, 40, 6))
    points, directions = random_samples(5000)
    d_rgb, d_density = torch.randn(points.shape), torch.randn(len(points))
    adam, found = GridAdam(grid), []
    for threads in (1, 2, 3, 7):
        fresh = SparseGrid(grid.active, grid.rows.detach().clone())
        adam = GridAdam(fresh)
        with native_settings(threads=threads):
            rgb, density = sparse_grid(points, directions, fresh)
            torch.autograd.backward((rgb, density), (d_rgb, d_density))
            add_total_variation(fresh, 1e-2, 1e-3)
            gradient, touched = added_up(fresh), fresh.touched.clone()
            adam.step(0.1, 0.2)
        found.append((rgb.detach(), density.detach(), gradient, touched, fresh.rows.detach(), adam.second))
    assert found[0][3].any()
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


@pytest.mark.parametrize("path", PATHS)
def test_gradients_add_up_until_a_step(path: str) -> None:
    grid = random_grid()
    batches = [random_samples(400, seed) for seed in range(3)]
    expected = torch.zeros(len(grid.rows), ROW, dtype=torch.float64)
    with native_settings(path=path):
        for points, directions in batches:
            rgb, density = sparse_grid(points, directions, grid)
            (rgb.sum() + density.sum()).backward()
            expected += truth(grid, points, directions, torch.ones_like(points), torch.ones(len(points)))[2]
        assert_near(added_up(grid), expected)
        GridAdam(grid).step(0.1, 0.1)
        assert not grid.touched.any()
        points, directions = batches[0]
        expected = truth(grid, points, directions, torch.ones_like(points), torch.ones(len(points)))[2]
        rgb, density = sparse_grid(points, directions, grid)
        (rgb.sum() + density.sum()).backward()
    assert_near(added_up(grid), expected)


@needs_native
def test_the_twin_goes_on_after_the_native_code() -> None:
    grid = random_grid()
    points, directions = random_samples(400)
    for path in ("auto", "torch"):
        with native_settings(path=path):
            rgb, density = sparse_grid(points, directions, grid)
            (rgb.sum() + density.sum()).backward()
            found = added_up(grid)
            expected = truth(grid, points, directions, torch.ones_like(points), torch.ones(len(points)))[2]
            GridAdam(grid).step(0.1, 0.1)
        assert_near(found, expected)


@pytest.mark.parametrize("path", PATHS)
def test_only_what_has_a_gradient_is_touched(path: str) -> None:
    grid = SparseGrid.initial(np.ones(RESOLUTION, np.bool_))
    points = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.5, 0.51], [-0.9, 0.0, 0.0]])
    d_density = torch.tensor([1.0, 1.0, 0.0])
    with native_settings(path=path):
        _, density = sparse_grid(points, torch.nn.functional.normalize(torch.ones(3, 3), dim=1), grid)
        density.backward(d_density)
    touched = np.argwhere(grid.touched.numpy().reshape([size + 1 for size in RESOLUTION]))
    assert touched.tolist() == [[8, 16, 4], [12, 24, 6], [12, 24, 7]]


@needs_native
@pytest.mark.parametrize("path", training_paths())
def test_gradients_outside_of_active_voxels_go_nowhere_even_if_they_are_no_numbers(path: str) -> None:
    grid = random_grid(share=0.1)
    points, directions = random_samples(1000)
    points[:10] = math.nan
    with native_settings(path=path):
        rgb, density = sparse_grid(points, directions, grid)
        outside = density == 0
        assert outside[:10].all()
        d_density = torch.where(outside, math.nan, 0.0)
        torch.autograd.backward((rgb, density), (d_density[:, None] * torch.ones(3), d_density))
    assert not grid.touched.any()
    assert not grid.gradient.any()


@pytest.mark.parametrize("path", PATHS)
def test_nothing_in_nothing_out(path: str) -> None:
    empty = SparseGrid.initial(np.zeros((2, 3, 4), np.bool_))
    with native_settings(path=path):
        for grid, count in ((random_grid(), 0), (empty, 0), (empty, 50)):
            rgb, density = sparse_grid(*random_samples(count), grid)
            (rgb.sum() + density.sum()).backward()
            add_total_variation(grid, 1.0, 1.0)
            GridAdam(grid).step(0.1, 0.1)
            assert rgb.shape == (count, 3)
            assert (rgb == 0.5).all()
            assert not density.any()
            assert not grid.touched.any()
    assert not empty.voxel_density().any()
    assert empty.refined().active.shape == (4, 6, 8)


def test_directions_may_ask_for_gradients_and_get_none() -> None:
    points, directions = random_samples(50)
    directions.requires_grad_()
    rgb, density = sparse_grid(points, directions, random_grid())
    (rgb.sum() + density.sum()).backward()
    assert directions.grad is None


def test_refinement_changes_nothing() -> None:
    grid = in_float64(random_grid((3, 5, 4)))
    points, directions = (tensor.double() for tensor in random_samples(3000))
    finer = grid.refined()
    assert finer.active.shape == (6, 10, 8)
    assert finer.active.sum() == 8 * grid.active.sum()
    for other in (finer, finer.refined()):
        for before, after in zip(
            sparse_grid_torch(points, directions, grid), sparse_grid_torch(points, directions, other), strict=True
        ):
            torch.testing.assert_close(before, after, rtol=1e-12, atol=1e-12)


def test_pruning_keeps_what_is_left_and_its_moments() -> None:
    grid = random_grid((6, 7, 5))
    adam = GridAdam(grid)
    adam.first.normal_()
    adam.steps = 4
    keep = np.zeros(grid.active.shape, np.bool_)
    keep[:4, :, 1:] = True
    fewer, rows = grid.pruned(keep)
    assert np.array_equal(fewer.active, keep & grid.active)
    assert torch.equal(fewer.rows, grid.rows[rows])
    of_fewer = adam.of(fewer, rows)
    assert torch.equal(of_fewer.first, adam.first[rows])
    assert of_fewer.steps == 4
    points, directions = random_samples(4000)
    (rgb, density), (rgb_left, density_left) = (sparse_grid(points, directions, g) for g in (grid, fewer))
    left = (points[:, 0] < 1 / 3) & (points[:, 2] >= -0.6)
    assert torch.equal(rgb[left], rgb_left[left])
    assert torch.equal(density[left], density_left[left])
    assert density_left.count_nonzero() == density[left].count_nonzero() > 0
    fewer.rows.data.zero_()
    assert grid.rows.any()


def test_densities_of_voxels() -> None:
    grid = random_grid((4, 5, 6))
    got = grid.voxel_density()
    assert got.dtype == np.float32
    for x, y, z in np.ndindex(*grid.active.shape):
        corners = grid.vertex_index[x : x + 2, y : y + 2, z : z + 2].reshape(-1)
        raw = grid.rows.detach().numpy()[corners, DENSITY].astype(float)
        expected = np.mean(DENSITY_SCALE * np.log1p(np.exp(raw))) if grid.active[x, y, z] else 0.0
        assert got[x, y, z] == pytest.approx(expected, rel=1e-5)


def test_tables_are_where_the_rows_are() -> None:
    grid = SparseGrid(np.ones((2, 3, 4), np.bool_), torch.zeros(60, ROW, device="meta"))
    for made in (grid, grid.refined(), grid.pruned(np.ones((2, 3, 4), np.bool_))[0]):
        for tensor in (made.rows, made.slots, made.corners, made.gradient, made.touched, made.neighbours()):
            assert tensor.device.type == "meta"


def test_what_does_not_fit_is_refused() -> None:
    grid = random_grid()
    points, directions = random_samples(4)
    with pytest.raises(TrainingError, match=r"sparse grid: expected rows \[8, 32\], got \[7, 32\]"):
        SparseGrid(np.ones((1, 1, 1), np.bool_), torch.zeros(7, ROW))
    with pytest.raises(TrainingError, match=r"points: expected torch.float32 \[4, 3\], got torch.float64 \[4, 3\]"):
        sparse_grid(points.double(), directions, grid)
    with pytest.raises(TrainingError, match=r"directions: expected torch.float32 \[4, 3\], got torch.float32 \[3, 3\]"):
        sparse_grid(points, directions[:3], grid)
    with pytest.raises(TrainingError, match=r"voxels to keep: expected \(16, 32, 8\), got \(1, 1, 1\)"):
        grid.pruned(np.ones((1, 1, 1), np.bool_))
    with pytest.raises(TrainingError, match=r"first: expected \[\d+, 32\], got \[8, 32\]"):
        GridAdam.from_state(grid, GridAdam(SparseGrid.initial(np.ones((1, 1, 1), np.bool_))).state())
