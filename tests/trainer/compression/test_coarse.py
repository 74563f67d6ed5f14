"""Coarse networks while they are trained: what is made of them, and whose gradient it is."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
import torch

from kilonerf.model_io.knf.coarse import CoarseCells
from kilonerf.model_io.knf.quantized import from_layers
from kilonerf.trainer.compression.coarse import Derivation, chosen_cells, coarse_samples
from kilonerf.trainer.compression.survey import Samples
from kilonerf.trainer.ops.networks import ROW_LENGTH, TinyNetworks, layers_of, tiny_networks
from support.scenes import random_scene

SCENE = random_scene(resolution=(5, 2, 3), dropped=0.3)
CELLS = CoarseCells.of(SCENE.network_index[None], 4, SCENE.num_networks)
COARSE = random_scene((len(CELLS), 1, 1), seed=4, dropped=0.0)


def coarse_networks() -> TinyNetworks:
    return TinyNetworks.from_layers(COARSE.layers)


def student_networks() -> TinyNetworks:
    return TinyNetworks(torch.zeros(SCENE.num_networks, ROW_LENGTH))


def numbers(rows: torch.Tensor) -> np.ndarray:
    return from_layers(
        {name: layer.detach().numpy() for name, layer in layers_of(rows).items() if "feature" not in name}
    )


def test_what_is_trained_is_what_is_made_when_a_file_is_loaded() -> None:
    networks, coarse = student_networks(), coarse_networks()
    Derivation(CELLS, coarse).put(networks)
    expected = CELLS.derived(numbers(coarse.rows), np.arange(SCENE.num_networks))
    assert np.abs(numbers(networks.rows) - expected).max() < 2e-6 * np.abs(expected).max()
    feature = layers_of(networks.rows)["feature_linear.weight"]
    assert torch.equal(feature, coarse.layers()["feature_linear.weight"][torch.from_numpy(CELLS.of_network)])


def test_coarse_networks_get_the_gradient_of_all_that_is_made_of_them() -> None:
    """The derivation is linear: <made of d, g> = <d, gradient> for all d and g."""
    random = torch.Generator().manual_seed(0)
    networks, coarse = student_networks(), coarse_networks()
    derivation = Derivation(CELLS, coarse)
    derivation.apply(networks)
    gradient = torch.randn(networks.rows.shape, generator=random)
    networks.rows.grad = gradient
    derivation.undo(networks)
    assert networks.rows.grad is None
    assert coarse.rows.grad is not None
    direction = torch.randn(coarse.rows.shape, generator=random)
    made = Derivation(CELLS, TinyNetworks(direction)).rows().detach()
    first, second = (float((a.double() * b).sum()) for a, b in ((made, gradient), (direction, coarse.rows.grad)))
    assert abs(first - second) < 1e-5 * float(made.norm() * gradient.norm())
    assert abs(first) > 1e-3 * float(made.norm() * gradient.norm()) / ROW_LENGTH


class Halved:
    """A rounding that is easily seen."""

    def apply(self, networks: TinyNetworks) -> None:
        self.rows = networks.rows.data
        networks.rows.data = self.rows / 2

    def undo(self, networks: TinyNetworks) -> None:
        networks.rows.data = self.rows


def test_a_rounding_is_of_the_coarse_networks() -> None:
    networks, coarse = student_networks(), coarse_networks()
    before = coarse.rows.detach().clone()
    halved = Derivation(CELLS, coarse, Halved())  # pyright: ignore[reportArgumentType]
    halved.apply(networks)
    seen = networks.rows.detach().clone()
    networks.rows.grad = torch.ones_like(networks.rows)
    halved.undo(networks)
    assert torch.equal(coarse.rows.detach(), before)
    Derivation(CELLS, coarse).put(networks)
    assert torch.allclose(seen, networks.rows / 2, atol=1e-6)


def test_samples_are_those_of_coarse_networks_where_these_are_evaluated() -> None:
    random = torch.Generator().manual_seed(1)
    network = torch.arange(SCENE.num_networks).repeat_interleave(9)
    count = len(network)
    points, directions = torch.rand(count, 3, generator=random) * 2 - 1, torch.randn(count, 3, generator=random)
    directions /= directions.norm(dim=1, keepdim=True)
    starts = torch.arange(SCENE.num_networks + 1) * 9
    of_density = torch.arange(count).float()
    samples = Samples(points, directions, starts, torch.zeros(count, 3), of_density, 7)
    found = coarse_samples(samples, CELLS)
    coarse, networks = coarse_networks(), student_networks()
    Derivation(CELLS, coarse).put(networks)
    own = torch.repeat_interleave(torch.arange(len(CELLS)), found.starts.diff()).int()
    assert len(own) == count
    seen = tiny_networks(found.points, found.directions, own, coarse)
    expected = tiny_networks(points, directions, network.int(), networks)
    order = found.of_density.long()  # which of the samples each one is
    assert torch.equal(order.sort().values, torch.arange(count))
    for a, b in zip(seen, expected, strict=True):
        assert torch.allclose(a, b[order], rtol=1e-4, atol=5e-3)  # 2^9 times a float32's rounding


def test_cells_are_as_small_as_the_size_allows() -> None:
    scene = random_scene(resolution=(8, 8, 8), factor=(1, 1, 1), dropped=0.0)
    assert [chosen_cells(scene, size).side for size in (51_200, 51_199, 6_400, 6_399, 10)] == [2, 4, 4, 8, 8]
    assert chosen_cells(scene, 10, side=2).side == 2
