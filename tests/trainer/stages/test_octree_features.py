"""Codings of an octree's features while they are trained, and as a scene stores them."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.model_io.scene.octree import Octree
from kilonerf.trainer.ops.octree import field_levels
from kilonerf.trainer.stages.octree_features import (
    CodedFeatures,
    Features,
    FreeFeatures,
    HashedFeatures,
    LowRankFeatures,
    k_means,
)

OCTREE = Octree.of_occupancy(np.random.default_rng(0).random((8, 8, 8)) < 0.3)
(LEVEL,) = field_levels(OCTREE, 3)
ROWS = torch.randn((LEVEL.num_corners, 16), generator=torch.Generator().manual_seed(1))


def made(name: str) -> Features:
    generator = torch.Generator().manual_seed(2)
    return {
        "plain": lambda: FreeFeatures.initial(LEVEL, generator),
        "low-rank": lambda: LowRankFeatures.initial(LEVEL, 4, generator),
        "hash": lambda: HashedFeatures.initial(LEVEL, 3, 5, generator),
        "codes": lambda: CodedFeatures.initial(LEVEL, 4, generator),
        "codes of features": lambda: CodedFeatures.of_features(LEVEL, ROWS, 4, seed=0),
    }[name]()


@pytest.mark.parametrize("name", ["plain", "low-rank", "hash", "codes", "codes of features"])
def test_a_scene_stores_what_was_trained(name: str) -> None:
    features = made(name)
    stored = features.stored(np.float32)
    assert stored.coding == name.split()[0]
    values = stored.values(3, LEVEL.num_corners)
    assert np.allclose(values[LEVEL.order.numpy()], features.values().numpy(), atol=1e-7)


@pytest.mark.parametrize("name", ["plain", "low-rank", "hash", "codes"])
def test_gradients_of_parameters_are_those_of_their_values(name: str) -> None:
    """By finite differences of sum(gradient * values), which is linear in each parameter by itself."""
    features = made(name)
    gradient = torch.randn((LEVEL.num_corners, 16), generator=torch.Generator().manual_seed(3))
    features.backward(gradient)
    for parameter in features.parameters.values():
        assert parameter.grad is not None
        for place in [(0, 0), (1, 3), (len(parameter) - 1, parameter.shape[1] - 1)]:
            before = (gradient * features.values()).double().sum()
            parameter[place] += 0.5
            after = (gradient * features.values()).double().sum()
            parameter[place] -= 0.5
            assert float(after - before) / 0.5 == pytest.approx(float(parameter.grad[place]), rel=2e-3, abs=2e-3)


def test_codes_follow_the_gradient_and_their_state_comes_back() -> None:
    features = CodedFeatures.of_features(LEVEL, ROWS, 3, seed=0)
    target = ROWS.flip(0)
    first = float(((features.values() - target) ** 2).mean())
    for _ in range(200):
        features.learn(features.values() - target, 0.1)
    assert float(((features.values() - target) ** 2).mean()) < 0.85 * first
    again = CodedFeatures.of_state(LEVEL, features.state())
    for both in (features, again):
        both.learn(both.values() - target, 0.1)
    for name, tensor in features.state().items():
        assert torch.equal(tensor, again.state()[name])


def test_k_means_finds_groups() -> None:
    generator = torch.Generator().manual_seed(4)
    centres = 10 * torch.randn((8, 16), generator=generator)
    rows = centres.repeat_interleave(50, 0) + 0.01 * torch.randn((400, 16), generator=generator)
    found = k_means(rows, 8, seed=0)
    assert float(torch.cdist(centres, found).min(1).values.max()) < 0.1


def test_k_means_of_fewer_rows_than_centres() -> None:
    found = k_means(ROWS[:5], 16, seed=0)
    assert found.shape == (16, 16)
    assert float(torch.cdist(ROWS[:5], found).min(1).values.max()) < 1e-3


def test_more_bits_are_nearer() -> None:
    errors = [float(((CodedFeatures.of_features(LEVEL, ROWS, b, 0).values() - ROWS) ** 2).mean()) for b in (1, 3, 6)]
    assert errors[0] > 1.05 * errors[1] > 1.05 * errors[2]
