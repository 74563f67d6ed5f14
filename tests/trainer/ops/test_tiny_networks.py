"""The tiny networks forward and backward: the twin against NumPy's, the native kernel against the twin in float64."""

from functools import cache

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.kernels.reference.networks import evaluate_networks
from kilonerf.model_io import LAYER_SHAPES, KiloNeRFScene, TrainingError
from kilonerf.trainer.ops.adam import Adam
from kilonerf.trainer.ops.native import extension, native_settings, training_paths
from kilonerf.trainer.ops.networks import (
    ROW_LAYOUT,
    ROW_LENGTH,
    SampleGroups,
    TinyNetworks,
    layers_of,
    tiny_networks,
    tiny_networks_torch,
)
from support.network_batches import different_networks, in_float64, random_batch

# Samples of each of five networks: none at all, one, a tile and one more, and more than one item of work.
COUNTS = {
    "empty": [0, 0, 0, 0, 0],
    "one sample": [0, 0, 1, 0, 0],
    "few": [3, 0, 1, 2, 5],
    "tiles": [95, 96, 0, 97, 193],
    "several items": [0, 4200, 0, 7, 0],
}


@pytest.fixture(scope="module")
def networks() -> TinyNetworks:
    return different_networks(5)


def gradient_of(networks: TinyNetworks, batch: tuple, function=tiny_networks, **options) -> tuple:
    """Colour, density, and the gradient of a random linear function of both."""
    generator = torch.Generator().manual_seed(7)
    d_rgb, d_density = (torch.randn(shape, generator=generator) for shape in ((len(batch[0]), 3), (len(batch[0]),)))
    networks.rows.grad = None
    rgb, density = function(*batch, networks, **options)
    ((rgb * d_rgb.to(rgb)).sum() + (density * d_density.to(rgb)).sum()).backward()
    gradient, networks.rows.grad = networks.rows.grad, None
    return rgb.detach(), density.detach(), gradient


@cache
def exact_gradient_of(networks: TinyNetworks, counts: tuple[int, ...], rectified: bool) -> tuple:
    """The same by the twin in float64."""
    points, directions, index = random_batch(networks, list(counts))
    batch = points.double(), directions.double(), index
    return gradient_of(in_float64(networks), batch, tiny_networks_torch, rectified=rectified)


def assert_gradients_close(gradient: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Each layer of each network, relative to that layer's largest gradient."""
    for (name, layer), truth in zip(layers_of(gradient).items(), layers_of(expected).values(), strict=True):
        error = (layer - truth).flatten(1).abs().amax(1)
        assert (error <= tolerance * truth.flatten(1).abs().amax(1)).all(), name


def test_the_twin_is_the_network_of_the_reference_renderer(networks: TinyNetworks) -> None:
    points, directions, index = random_batch(networks, [4, 0, 9, 1, 30])
    exact = in_float64(networks)
    rgb, density = tiny_networks_torch(points.double(), directions.double(), index, exact)
    expected = evaluate_networks(
        exact.to_scene_layers(np.float64), index.numpy(), points.double().numpy(), directions.double().numpy()
    )
    np.testing.assert_allclose(rgb.detach(), expected[0], atol=1e-12)
    np.testing.assert_allclose(density.detach(), expected[1], atol=1e-12)
    assert (density == 0).any()
    assert (density > 0).any()


@pytest.mark.parametrize("rectified", [True, False], ids=["rectified", "raw density"])
@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())
@pytest.mark.parametrize("path", ["torch", *training_paths()])
def test_outputs_and_gradients_are_those_of_float64(
    networks: TinyNetworks, path: str, counts: list[int], rectified: bool
) -> None:
    """Single precision: 3e-6 of the outputs' scale, 1e-5 of each layer's largest gradient."""
    batch = random_batch(networks, counts)
    with native_settings(path=path):
        rgb, density, gradient = gradient_of(networks, batch, rectified=rectified)
    expected = exact_gradient_of(networks, tuple(counts), rectified)
    assert rgb.dtype == density.dtype == gradient.dtype == torch.float32
    torch.testing.assert_close(rgb.double(), expected[0], rtol=0, atol=3e-6)
    torch.testing.assert_close(density.double(), expected[1], rtol=3e-6, atol=1e-5)
    assert_gradients_close(gradient.double(), expected[2], 1e-5)
    assert not gradient[torch.tensor(counts) == 0].any()


@pytest.mark.parametrize("frequencies", [1, 6, 9])
@pytest.mark.parametrize("path", ["torch", *training_paths()])
def test_frequencies_without_weight_are_not_looked_at(path: str, frequencies: int) -> None:
    """Nothing else changes; their gradients, which other networks have, are zero."""
    few = different_networks(5, seed=3, frequencies=frequencies)
    every = TinyNetworks(few.rows.detach().clone())
    batch = random_batch(every, [3, 0, 97, 2, 5])
    with native_settings(path=path):
        rgb, density, gradient = gradient_of(few, batch)
        expected = gradient_of(every, batch)
    torch.testing.assert_close(rgb, expected[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(density, expected[1], rtol=1e-6, atol=1e-6)
    first, of_every = (layers_of(rows)["pts_linears.0.weight"].view(5, 3, 21, 32) for rows in (gradient, expected[2]))
    for kept in (slice(frequencies + 1), slice(11, 11 + frequencies)):
        torch.testing.assert_close(first[:, :, kept], of_every[:, :, kept], rtol=1e-5, atol=1e-5)
    for dropped in (slice(frequencies + 1, 11), slice(11 + frequencies, 21)):
        assert not first[:, :, dropped].any()
        assert of_every[:, :, dropped].any()
    first.zero_()
    of_every.zero_()
    assert_gradients_close(gradient.double(), expected[2].double(), 1e-5)
    assert TinyNetworks.from_layers(few.to_scene_layers()).frequencies == frequencies


def test_gradients_are_slopes(networks: TinyNetworks) -> None:
    """The twin's gradient, by finite differences in float64."""
    points, directions, index = random_batch(networks, [0, 6, 0, 3, 0])
    rows = in_float64(networks).rows.detach()
    generator = torch.Generator().manual_seed(3)
    towards = torch.randn(rows.shape, generator=generator, dtype=torch.float64)

    def total(step: float) -> torch.Tensor:
        shifted = TinyNetworks(rows + step * towards)
        rgb, density = tiny_networks_torch(points.double(), directions.double(), index, shifted)
        (gradient,) = torch.autograd.grad(rgb.sum() + density.sum(), shifted.rows)
        return torch.stack([rgb.detach().sum() + density.detach().sum(), (gradient * towards).sum()])

    step = 1e-6
    difference = (total(step)[0] - total(-step)[0]) / (2 * step)
    torch.testing.assert_close(difference, total(0.0)[1], rtol=1e-6, atol=0)


@pytest.mark.skipif(extension is None, reason="needs the native extension")
def test_the_number_of_threads_changes_nothing(networks: TinyNetworks) -> None:
    batch = random_batch(networks, COUNTS["several items"])
    results = []
    for threads in (1, 2, 5):
        with native_settings(threads=threads):
            results.append(gradient_of(networks, batch))
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.skipif(extension is None, reason="needs the native extension")
@pytest.mark.parametrize("path", training_paths())
def test_a_sample_does_not_depend_on_its_company(networks: TinyNetworks, path: str) -> None:
    points, directions, index = random_batch(networks, [7, 100, 0, 2, 98], run=3)
    with native_settings(path=path), torch.no_grad():
        rgb, density = tiny_networks(points, directions, index, networks)
        for i in range(0, len(points), 11):
            at = slice(i, i + 1)
            alone = tiny_networks(points[at], directions[at], index[at], networks)
            assert torch.equal(alone[0], rgb[at])
            assert torch.equal(alone[1], density[at])


def test_groups_can_be_made_before(networks: TinyNetworks) -> None:
    batch = random_batch(networks, [20, 0, 3, 110, 8])
    groups = SampleGroups.of(batch[2], 5)
    results = gradient_of(networks, batch), gradient_of(networks, (*batch[:2], groups))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    with native_settings(path="torch"):
        twin = SampleGroups.of(batch[2], 5)
    assert groups.order is not None
    assert twin.order is not None
    assert torch.equal(groups.order, twin.order)
    assert torch.equal(groups.starts, twin.starts)


@pytest.mark.parametrize("path", ["torch", "auto"])
def test_a_dense_batch_needs_no_sorting(networks: TinyNetworks, path: str) -> None:
    points, directions, index = random_batch(networks, [33] * 5, run=1)
    order = index.argsort(stable=True)
    batch = points[order], directions[order], index[order]
    with native_settings(path=path):
        expected = gradient_of(networks, batch)
        dense = gradient_of(networks, (*batch[:2], SampleGroups.dense(5, 33)))
    for a, b in zip(dense, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0 if path == "auto" else 1e-5)


@pytest.mark.parametrize(("of_rgb", "of_density"), [(1, 1), (1, 0), (0, 1)])
def test_samples_without_gradient_add_none(networks: TinyNetworks, of_rgb: int, of_density: int) -> None:
    """The kernel leaves them out before it computes anything again."""
    points, directions, index = random_batch(networks, [50, 120, 0, 4, 300])
    kept = torch.arange(len(points)) % 3 == 0
    rgb, density = tiny_networks(points, directions, index, networks)
    (of_rgb * rgb[kept, 1].sum() + of_density * density[kept].sum()).backward()
    gradient, networks.rows.grad = networks.rows.grad, None
    rgb, density = tiny_networks_torch(points[kept], directions[kept], index[kept], networks)
    (of_rgb * rgb[:, 1].sum() + of_density * density.sum()).backward()
    assert gradient is not None
    assert networks.rows.grad is not None
    assert networks.rows.grad.any()
    torch.testing.assert_close(gradient, networks.rows.grad, rtol=1e-4, atol=1e-4)
    networks.rows.grad = None


def test_points_that_ask_for_gradients_get_them(networks: TinyNetworks) -> None:
    points, directions, index = random_batch(networks, [5, 5, 5, 5, 5])
    points.requires_grad_()
    rgb, density = tiny_networks(points, directions, index, networks)
    (gradient,) = torch.autograd.grad(rgb.sum() + density.sum(), points)
    assert gradient.abs().amax(1).all()


def test_parameters_that_have_changed_are_noticed(networks: TinyNetworks) -> None:
    rgb, _ = tiny_networks(*random_batch(networks, [1] * 5), networks)
    with torch.no_grad():
        networks.rows.add_(0.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        rgb.sum().backward()


def test_all_networks_begin_alike() -> None:
    networks = TinyNetworks.initial(4, seed=1)
    assert (networks.rows == networks.rows[0]).all()
    assert not torch.equal(networks.rows[0], TinyNetworks.initial(1, seed=2).rows[0])
    assert torch.equal(networks.rows[0], TinyNetworks.initial(1, seed=1).rows[0])
    for name, (inputs, outputs) in LAYER_SHAPES.items():
        layer = networks.layers()[f"{name}.weight"]
        assert layer.shape == (4, inputs, outputs)
        gain = 1.0 if name in ("feature_linear", "rgb_linear") else 2.0
        deviation = layer[0].std().item() * (inputs / gain) ** 0.5
        if name == "pts_linears.0":  # high frequencies begin with less weight
            by_channel = layer[0].unflatten(0, (3, 21))
            halves = [by_channel[:, [1 + f, 11 + f]].std().item() * (inputs / gain) ** 0.5 for f in range(4, 10)]
            assert halves == pytest.approx([1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125], rel=0.15)
            deviation = by_channel[:, [*range(6), *range(11, 16)]].std().item() * (inputs / gain) ** 0.5
        assert deviation == pytest.approx(1.0, abs=0.35 if outputs == 1 else 0.1)
        assert layer.abs().max() <= (3.0 * gain / inputs) ** 0.5


def test_units_that_are_not_used_stay_so() -> None:
    networks = TinyNetworks.initial(3, seed=1, units=16)
    adam = Adam(networks, learning_rate=0.01, view_dependent_l2=1e-3)
    index = torch.arange(60, dtype=torch.int32) % 3
    points = torch.rand(60, 3, generator=torch.Generator().manual_seed(2)) * 2 - 1
    first = networks.rows.detach().clone()
    for _ in range(3):
        rgb, density = tiny_networks(points, torch.nn.functional.normalize(points + 2), index, networks)
        adam.zero_grad()
        ((rgb - 0.3).square().sum() + (density - 4).square().sum()).backward()
        adam.step()
    layers, before = networks.layers(), TinyNetworks(first).layers()
    for name, (inputs, outputs) in LAYER_SHAPES.items():
        weight, bias = layers[f"{name}.weight"], layers[f"{name}.bias"]
        assert not torch.equal(weight, before[f"{name}.weight"]), name
        if outputs == 32:
            assert not weight[:, :, 16:].any(), name
            assert not bias[:, 16:].any(), name
            assert weight[:, :16, :16].all(), name
        if inputs != 63:
            assert not weight[:, 16:32].any(), name


def test_layers_of_a_scene_come_back(toy_scene: KiloNeRFScene) -> None:
    layers = TinyNetworks.from_layers(toy_scene.layers).to_scene_layers()
    assert set(layers) == set(toy_scene.layers)
    assert all(np.array_equal(layer, toy_scene.layers[name]) for name, layer in layers.items())
    assert all(layer.flags.c_contiguous for layer in layers.values())


@pytest.mark.skipif(extension is None, reason="needs the native extension")
def test_rows_are_laid_out_as_the_native_code_has_them() -> None:
    assert extension.train_layout() == {name: begin for name, (begin, _) in ROW_LAYOUT.items()} | {"row": ROW_LENGTH}


@pytest.mark.parametrize("path", ["torch", "auto"])
@pytest.mark.parametrize("bad", [-1, 5])
def test_networks_that_are_none_are_refused(networks: TinyNetworks, path: str, bad: int) -> None:
    points, directions, index = random_batch(networks, [2] * 5)
    index[3] = bad
    with native_settings(path=path), pytest.raises(TrainingError, match=f"network_index: expected 0 to 4, got.*{bad}"):
        tiny_networks(points, directions, index, networks)


def test_what_does_not_fit_is_refused(networks: TinyNetworks) -> None:
    points, directions, index = random_batch(networks, [2] * 5)
    with pytest.raises(TrainingError, match=r"points: expected torch.float32 \[10, 3\], got torch.float32 \[9, 3\]"):
        tiny_networks(points[1:], directions, index, networks)
    with pytest.raises(TrainingError, match=r"directions: expected torch.float32"):
        tiny_networks(points, directions.double(), index, networks)
    with pytest.raises(TrainingError, match="network_index: expected int32"):
        tiny_networks(points, directions, index.long(), networks)
    with pytest.raises(TrainingError, match="groups: expected 10 samples of 5 networks"):
        tiny_networks(points, directions, SampleGroups.of(index, 6), networks)
    with pytest.raises(TrainingError, match=r"rows of shape \[N, 6240\], got \[3, 6212\]"):
        TinyNetworks(torch.zeros(3, 6212))
    with (
        pytest.raises(TrainingError, match=r"code path: expected one of auto, torch.*got 'sse9'"),
        native_settings(path="sse9"),
    ):
        pass
