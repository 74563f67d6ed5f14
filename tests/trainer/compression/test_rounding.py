"""Rounding while training: what is looked through is what is written, and gradients go past it."""

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
import torch

from kilonerf.kernels.native.folding import folded_layers
from kilonerf.model_io.knf.quantized import SIZES, from_layers, step_size, to_layers
from kilonerf.trainer.compression.rounding import Rounding
from kilonerf.trainer.compression.settings import RoundingSettings
from kilonerf.trainer.ops.networks import ROW_LAYOUT, TinyNetworks, layers_of
from support.scenes import random_scene

SCENE = random_scene(resolution=(2, 2, 3), dropped=0.0)
NUMBERS = from_layers(folded_layers(SCENE.layers))
FACTOR = torch.tensor([32.0] * 6 + [8.0] * 6)


def networks() -> TinyNetworks:
    """As a student has them: densities over their factor."""
    layers = to_layers(NUMBERS)
    for name in ("alpha_linear.weight", "alpha_linear.bias"):
        factor = FACTOR.numpy().reshape(-1, *[1] * (layers[name].ndim - 1))
        layers[name] = (layers[name] / factor).astype(np.float32)
    return TinyNetworks.from_layers(layers)


def rounding(strength: float = 0.05, **settings: Any) -> Rounding:
    importance = np.random.default_rng(0).uniform(0.5, 8, (12, 5))
    found = Rounding(networks().rows.detach(), importance, FACTOR, RoundingSettings(**settings))
    found.set_strength(strength)
    return found


@pytest.mark.parametrize("strength", [0.002, 0.05, 1.0, 50.0])
@pytest.mark.parametrize("predict", [False, True])
def test_what_is_looked_through_is_what_is_written(strength: float, predict: bool) -> None:
    student, found = networks(), rounding(strength, predict=predict)
    before = student.rows.detach().clone()
    found.apply(student)
    seen = found.numbers(student.rows)
    found.undo(student)
    assert torch.equal(student.rows.detach(), before)
    quantized = found.quantized(student.rows)
    written = quantized.values()
    assert np.abs(seen - written).max() <= 2e-6 * np.abs(written).max()
    sizes = np.repeat(step_size(found.step_codes), SIZES, axis=1)
    assert (np.abs(written - NUMBERS) <= 0.5001 * sizes + 1e-5).all()
    assert np.abs(quantized.symbols).max() < 1023


def test_gradients_are_of_the_rounded_and_stay_away_from_the_feature_layer() -> None:
    student, found = networks(), rounding()
    found.apply(student)
    target = student.rows.detach() + 1
    ((student.rows - target) ** 2).sum().backward()
    found.undo(student)
    assert student.rows.grad is not None
    gradient = layers_of(student.rows.grad)
    for name in ROW_LAYOUT:
        expected = 0.0 if name.startswith("feature_linear") else -2.0
        assert torch.allclose(gradient[name], torch.tensor(expected)), name


def test_bits_pull_towards_what_costs_less() -> None:
    """A step against the pull alone makes the file smaller; without weight there is none."""
    student, found = networks(), rounding()
    before = found.look_at_rate(student.rows)
    student.rows.grad = torch.zeros_like(student.rows)
    found.apply(student)
    found.undo(student)
    pull = student.rows.grad
    assert pull is not None
    assert float(layers_of(pull)["feature_linear.weight"].abs().max()) == 0
    with torch.no_grad():
        student.rows.sub_(0.05 * pull / pull.abs().max())
    assert found.look_at_rate(student.rows) < before
    none = rounding(rate_weight=0.0)
    none.look_at_rate(student.rows)
    student.rows.grad = torch.zeros_like(student.rows)
    none.apply(student)
    none.undo(student)
    assert student.rows.grad is not None
    assert not student.rows.grad.any()


def test_size_falls_as_steps_grow() -> None:
    rows = networks().rows
    sizes = [rounding(strength).look_at_rate(rows) for strength in (0.01, 0.1, 1.0, 10.0)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 3 * sizes[2]
    # One octave is one bit of every number, as long as there are many.
    assert math.isclose(rounding(0.05).look_at_rate(rows) - sizes[1], 12 * 5156 / 8, rel_tol=0.1)


def test_rounding_down_takes_fewer_bytes() -> None:
    rows, found = networks().rows, rounding(0.5)
    near, lower = found.quantized(rows), found.quantized(rows, 0.3)
    assert (np.abs(lower.symbols) <= np.abs(near.symbols)).all()
    assert (np.abs(near.symbols - lower.symbols) <= 1).all()
    assert (lower.symbols != near.symbols).any()


def test_what_matters_more_is_rounded_more_finely() -> None:
    importance = np.ones((12, 5))
    importance[3] = 16.0
    found = Rounding(networks().rows.detach(), importance, torch.ones(12), RoundingSettings())
    found.set_strength(0.1)
    steps = step_size(found.step_codes)
    assert np.allclose(steps[3] * 4, steps[2])
    assert np.allclose(steps[2], 0.1, rtol=0.1)


def test_a_state_is_taken_up() -> None:
    rows, first, second = networks().rows, rounding(0.07), rounding(1.0)
    first.look_at_rate(rows)
    second.load_state(first.state())
    assert second.strength == first.strength
    assert np.array_equal(second.step_codes, first.step_codes)
    assert torch.equal(second.state()["pull"], first.state()["pull"])


def test_rows_are_those_of_the_numbers() -> None:
    student, found = networks(), rounding()
    quantized = found.quantized(student.rows)
    rows = found.rows(quantized)
    assert np.allclose(found.numbers(rows), quantized.values(), rtol=1e-6)
    assert np.array_equal(found.quantized(rows).symbols, quantized.symbols)  # of values on the grid, the same again
    assert found.size(quantized.symbols) == found.look_at_rate(student.rows)
