"""Octree fields in training: native kernels against the plain twins, these against autograd and definitions."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.kernels.native.expansion import ExpandedField
from kilonerf.model_io import TrainingError
from kilonerf.trainer.ops.native import native_settings, training_paths
from kilonerf.trainer.ops.octree import (
    CodeState,
    FieldLevel,
    field_levels,
    learn_codes,
    octree_field,
    octree_field_torch,
    summed,
)
from support.fields.octree_scenes import random_octree_scene

PATHS = ["torch", *training_paths()]
SCENE = random_octree_scene(5, 3, codings=("plain",), occupied=0.05)
LEVELS = field_levels(SCENE.octree, SCENE.first_level)
NAMES = ("features", "output.weight", "output.bias")


def features(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Of the scene, in the order of the levels' corners."""
    return [
        torch.from_numpy(own.values(0, 0))[level.order].to(dtype).requires_grad_()
        for own, level in zip(SCENE.features, LEVELS, strict=True)
    ]


def decoder(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    hidden = torch.from_numpy(SCENE.decoder["hidden.weight"].astype(np.float32))
    parts = {
        "features": hidden[:16].clone(),
        "output.weight": torch.from_numpy(SCENE.decoder["output.weight"].astype(np.float32)).T.contiguous(),
        "output.bias": torch.from_numpy(SCENE.decoder["output.bias"].astype(np.float32)),
    }
    return {name: tensor.to(dtype).requires_grad_() for name, tensor in parts.items()}


def samples(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Points in voxels, beside them, on faces and outside the box; rays of several samples; what the rays add."""
    rng = np.random.default_rng(3)
    voxels = SCENE.octree.voxels(SCENE.depth)
    points = (voxels[rng.integers(0, len(voxels), count)] + rng.random((count, 3))) / 16 - 1
    points[::5] = rng.uniform(-1.05, 1.05, (len(points[::5]), 3))
    points[::7] = np.rint(points[::7] * 16) / 16
    rays = np.sort(rng.integers(0, 1 + count // 6, count)).astype(np.int32)
    part = rng.normal(size=(1 + count // 6, 128))
    return (
        torch.from_numpy(points.astype(np.float32)),
        torch.from_numpy(rays),
        torch.from_numpy(part.astype(np.float32)).requires_grad_(),
    )


def as_truth(
    points: torch.Tensor, rays: torch.Tensor, part: torch.Tensor, d_raw: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Raw outputs and gradients of features, decoder and rays in float64, by autograd."""
    own, weights, part = features(torch.float64), decoder(torch.float64), part.detach().double().requires_grad_()
    level = LEVELS[-1]
    with native_settings(path="torch"):
        rows = summed(LEVELS, own)
    raw = octree_field_torch(points, rays, rows, part, weights, level)
    (raw * d_raw).sum().backward()
    gradients = [tensor.grad for tensor in (*own, *(weights[name] for name in NAMES), part)]
    assert all(gradient is not None for gradient in gradients)
    return raw.detach(), gradients  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("count", [1, 3, 4, 65, 1000])
def test_field_and_gradients(path: str, count: int) -> None:
    points, rays, part = samples(count)
    d_raw = torch.from_numpy(np.random.default_rng(4).normal(size=(count, 4)).astype(np.float32))
    expected, expected_gradients = as_truth(points, rays, part, d_raw)
    own, weights = features(), decoder()
    with native_settings(path=path):
        raw = octree_field(points, rays, summed(LEVELS, own), part, weights, LEVELS[-1])
        (raw * d_raw).sum().backward()
    assert (raw.double() - expected).abs().max() < 1e-4 * (1 + expected.abs().max())
    gradients = [tensor.grad for tensor in (*own, *(weights[name] for name in NAMES), part)]
    for got, wanted in zip(gradients, expected_gradients, strict=True):
        assert got is not None
        assert (got.double() - wanted).abs().max() <= 1e-4 * (1e-6 + wanted.abs().max())
    if count == 1000:
        assert (expected == 0).all(1).any()
        assert (expected != 0).all(1).sum() > 500


def test_no_samples() -> None:
    points, rays, part = samples(5)
    raw = octree_field(points[:0], rays[:0], summed(LEVELS, features()), part, decoder(), LEVELS[-1])
    raw.sum().backward()
    assert raw.shape == (0, 4)
    assert part.grad is not None
    assert not part.grad.any()


@pytest.mark.skipif(not training_paths(), reason="the native extension is not there")
def test_threads_do_not_change_a_bit() -> None:
    points, rays, part = samples(3000)
    found = []
    for threads in (1, 2, 5):
        own, weights = features(), decoder()
        part.grad = None
        with native_settings(threads=threads):
            raw = octree_field(points, rays, summed(LEVELS, own), part, weights, LEVELS[-1])
            (raw**2).sum().backward()
        assert part.grad is not None
        gradients = [tensor.grad for tensor in (*own, *weights.values())]
        found.append([raw.detach(), part.grad.clone(), *(g for g in gradients if g is not None)])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("path", PATHS)
def test_levels_are_added_up_as_in_a_finished_scene(path: str) -> None:
    with native_settings(path=path):
        rows = summed(LEVELS, features()).detach()
    assert np.abs(rows.numpy() - ExpandedField.of(SCENE).rows).max() < 1e-5


def test_shapes_that_do_not_fit() -> None:
    points, rays, part = samples(8)
    rows = summed(LEVELS, features())
    for wrong in ((points, rays[:3], rows, part), (points[:, :2], rays, rows, part), (points, rays, rows[:9], part)):
        with pytest.raises(TrainingError, match=r"octree field: .*: expected"):
            octree_field(*wrong, decoder(), LEVELS[-1])


def coded_state(corners: int, codes: int) -> tuple[CodeState, torch.Tensor, torch.Tensor]:
    """Logits, a codebook and gradients, some of them zero."""
    generator = torch.Generator().manual_seed(codes)
    logits = torch.randn((corners, codes), generator=generator)
    moments = 0.01 * torch.randn((corners, codes), generator=generator)
    gradient = torch.randn((corners, 16), generator=generator)
    gradient[::3] = 0
    state = CodeState(logits, moments, moments**2, logits.argmax(1).to(torch.uint8))
    return state, torch.randn((codes, 16), generator=generator), gradient


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_codes_learn_by_the_gradient_of_the_softmax(path: str, bits: int) -> None:
    """Against autograd through softmax(C) D, and torch's Adam from zero moments."""
    state, codebook, gradient = coded_state(40, 1 << bits)
    state.first.zero_()
    state.second.zero_()
    logits = state.logits.double().requires_grad_()
    (torch.softmax(logits, 1) @ codebook.double() * gradient).sum().backward()
    torch.optim.Adam([logits], lr=0.05, betas=(0.9, 0.99), eps=1e-12).step()
    before = state.logits.clone()
    with native_settings(path=path):
        learn_codes(state, codebook, gradient, 1, 0.05)
    touched = (gradient != 0).any(1)
    assert torch.equal(state.logits[~touched], before[~touched])
    assert (state.logits[touched] - logits.detach().float()[touched]).abs().max() < 2e-3  # Adam's first step is a sign
    assert logits.grad is not None
    slope = state.first / 0.1
    scale = logits.grad.abs().max()
    assert (slope[touched].double() - logits.grad[touched]).abs().max() < 1e-5 * scale
    assert torch.equal(state.chosen.long()[touched], state.logits.argmax(1)[touched])


@pytest.mark.skipif(not training_paths(), reason="the native extension is not there")
@pytest.mark.parametrize("path", training_paths())
def test_codes_of_a_later_step_are_as_the_twin_s(path: str) -> None:
    twin, codebook, gradient = coded_state(300, 64)
    native = CodeState(*(tensor.clone() for tensor in twin))
    with native_settings(path="torch"):
        learn_codes(twin, codebook, gradient, 17, 0.1)
    with native_settings(path=path, threads=3):
        learn_codes(native, codebook, gradient, 17, 0.1)
    for got, expected in zip(native[:3], twin[:3], strict=True):
        assert (got - expected).abs().max() < 1e-4
    assert (native.chosen == twin.chosen).float().mean() > 0.99


def test_no_row_is_as_large_as_samples_times_codes() -> None:
    """Corners without a gradient keep their moments: nothing grows with the steps that did not see them."""
    state, codebook, gradient = coded_state(30, 4)
    before = CodeState(*(tensor.clone() for tensor in state))
    learn_codes(state, codebook, torch.zeros_like(gradient), 3, 0.1)
    assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True))


def test_a_level_moves_to_a_device() -> None:
    moved = LEVELS[1].to("cpu")
    assert isinstance(moved, FieldLevel)
    assert moved.from_above is not None
    assert moved.num_corners == LEVELS[1].num_corners
