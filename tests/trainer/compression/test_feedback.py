"""Rounding with error feedback: what it weighs by, and that it is better than rounding to the nearest."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
import torch

from kilonerf.kernels.native.folding import folded_layers
from kilonerf.model_io.knf.quantized import GROUPS, SIZES, from_layers, parts, step_code, step_size, to_layers
from kilonerf.trainer.compression.feedback import Shares, importance, rounded
from kilonerf.trainer.compression.survey import Samples
from kilonerf.trainer.ops.networks import SampleGroups, TinyNetworks, layers_of, tiny_networks_torch
from support.scenes import random_scene

NUMBERS = from_layers(folded_layers(random_scene(resolution=(1, 2, 2), dropped=0.0, density_scale=2.0).layers))
NOTHING = np.zeros(sum(SIZES), np.float32)


def samples(count: int = 300, seed: int = 0) -> Samples:
    """On a surface in each cell, seen from one side; the last network has none."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(3 * count, 3, generator=generator) * 2 - 1
    points[:, 2] = 0.3 * points[:, 0] + 0.02 * points[:, 2]
    directions = torch.nn.functional.normalize(torch.randn(3 * count, 3, generator=generator) * 0.2 - 1, dim=1)
    signs = torch.randint(0, 2, (3 * count, 4), generator=generator).float() * 2 - 1
    starts = torch.tensor([0, count, 2 * count, 3 * count, 3 * count])
    return Samples(points, directions, starts, signs[:, :3], 0.1 * signs[:, 3], channels=9 * count)


def outputs(numbers: np.ndarray, seen: Samples) -> tuple[torch.Tensor, torch.Tensor]:
    networks = TinyNetworks.from_layers(to_layers(numbers))
    groups = SampleGroups(None, seen.starts)
    return tiny_networks_torch(seen.points, seen.directions, groups, networks, rectified=False)


def test_importance_is_the_mean_of_squared_gradients_of_samples() -> None:
    seen = samples(5)
    found = importance(seen, Shares.of(seen, NUMBERS), NUMBERS)
    expected = np.zeros_like(found)
    for sample in range(15):
        networks = TinyNetworks.from_layers(to_layers(NUMBERS))
        one = slice(sample, sample + 1)
        index = torch.tensor([sample // 5], dtype=torch.int32)
        rgb, density = tiny_networks_torch(seen.points[one], seen.directions[one], index, networks, rectified=False)
        ((rgb * seen.of_rgb[one]).sum() + (density * seen.of_density[one]).sum()).backward()
        assert networks.rows.grad is not None
        gradient = layers_of(networks.rows.grad)
        numbers = from_layers({name: layer.numpy() for name, layer in gradient.items()})
        expected += np.stack([(part**2).mean(axis=1) for part in parts(numbers)], axis=1) / seen.channels
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-12)
    assert not found[3].any()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.8])
def test_it_is_better_than_rounding_to_the_nearest(share: float) -> None:
    seen, unseen = samples(), samples(seed=1)
    codes = step_code(share * np.stack([part.std(axis=1) for part in parts(NUMBERS)], axis=1))
    sizes = step_size(codes)
    wide = np.repeat(sizes, SIZES, axis=1)
    nearest = np.rint(NUMBERS / wide)
    found = rounded(seen, Shares.of(seen, NUMBERS), NUMBERS, sizes, NOTHING)
    errors = []
    for symbols in (nearest, found):
        values = (symbols * wide).astype(np.float32)
        pairs = zip(outputs(values, unseen), outputs(NUMBERS, unseen), strict=True)
        rgb, density = (((got - exact) ** 2).mean() for got, exact in pairs)
        errors.append(float((rgb + 0.01 * density).detach()))
    assert errors[1] < 0.5 * errors[0]


def test_a_network_that_no_ray_met_is_rounded_to_the_nearest() -> None:
    seen = samples(20)
    sizes = np.full((4, len(GROUPS)), 0.25, np.float32)
    shared = np.linspace(-1, 1, sum(SIZES), dtype=np.float32)
    found = rounded(seen, Shares.of(seen, NUMBERS), NUMBERS, sizes, shared)
    assert np.array_equal(found[3], np.rint((NUMBERS[3] - shared) / 0.25))
    assert not np.array_equal(found[0], np.rint((NUMBERS[0] - shared) / 0.25))


def test_small_steps_change_nothing() -> None:
    seen = samples(100)
    sizes = np.full((4, len(GROUPS)), 2.0**-8, np.float32)
    found = rounded(seen, Shares.of(seen, NUMBERS), NUMBERS, sizes, NOTHING)
    for got, exact in zip(outputs(found * np.float32(2.0**-8), seen), outputs(NUMBERS, seen), strict=True):
        assert float((got - exact).detach().abs().max()) < 0.02 * float(exact.detach().abs().max())


def test_frequencies_without_weight_get_none() -> None:
    numbers, seen = NUMBERS.copy(), samples()
    first = parts(numbers)[0].reshape(len(numbers), 64, 32)
    high = [21 * axis + 1 + block + k for axis in range(3) for block in (0, 10) for k in range(6, 10)]
    first[:, high] = 0
    numbers[:, : SIZES[0]] = first.reshape(len(numbers), -1)
    sizes = step_size(step_code(0.3 * np.stack([part.std(axis=1) for part in parts(numbers)], axis=1)))
    found = rounded(seen, Shares.of(seen, numbers), numbers, sizes, NOTHING)
    symbols = parts(found)[0].reshape(len(numbers), 64, 32)
    assert not symbols[:, high].any()
    assert symbols[:, 63].any()
    assert symbols[:, [channel for channel in range(63) if channel not in high]].any(axis=(0, 2)).all()
