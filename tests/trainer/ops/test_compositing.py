"""Compositing of ragged rays: by hand, against the twin in float64, and the twin's own gradients."""

import math

import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.model_io import TrainingError
from kilonerf.trainer.ops.compositing import composite, composite_torch
from kilonerf.trainer.ops.native import native_settings
from support.ray_batches import gradients_of, random_rays

COUNTS = {
    "no rays": [],
    "no samples": [0, 0],
    "one sample": [0, 1],
    "ragged": [0, 3, 1, 40, 0, 0, 7, 130, 2, 0],
}


@pytest.mark.parametrize("path", ["torch", "auto"])
def test_two_samples_by_hand(path: str) -> None:
    half = math.log(2.0) / 0.5  # the density that stops half of the light over a distance of 0.5
    density = torch.tensor([half, 2 * half, half, half])
    rgb = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    with native_settings(path=path):
        color, opacity, depth, weights = composite(
            torch.tensor([0, 2, 2, 4]), density, rgb, torch.tensor([0.5, 0.5, 0.5, 0]), torch.tensor([2.0, 4, 1, 7])
        )
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.375, 0.5, 0]))
    torch.testing.assert_close(color, torch.tensor([[0.5, 0.375, 0], [0, 0, 0], [0, 0, 0.5]]))
    torch.testing.assert_close(opacity, torch.tensor([0.875, 0, 0.5]))
    torch.testing.assert_close(depth, torch.tensor([2.5, 0, 0.5]))


@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())
@pytest.mark.parametrize("ert_threshold", [0.0, 0.3])
@pytest.mark.parametrize("path", ["torch", "auto"])
def test_outputs_and_gradients_are_those_of_float64(path: str, ert_threshold: float, counts: list[int]) -> None:
    """Single precision: a few units of the last place of a ray's length in samples."""
    with native_settings(path=path):
        out, gradients = gradients_of(composite, random_rays(counts), ert_threshold=ert_threshold)
    exact = random_rays(counts, torch.float64)
    expected, slopes = gradients_of(composite_torch, exact, ert_threshold=ert_threshold)
    for part, truth in zip((*out, *gradients), (*expected, *slopes), strict=True):
        assert part.shape == truth.shape
        torch.testing.assert_close(part.double(), truth, rtol=1e-5, atol=2e-6)


def test_the_twins_gradients_are_slopes() -> None:
    offsets, density, rgb, *fixed = random_rays(COUNTS["ragged"], torch.float64)
    density = (density.clamp(max=50.0) + 1.0).requires_grad_()
    rgb.requires_grad_()
    assert torch.autograd.gradcheck(lambda d, c: composite_torch(offsets, d, c, *fixed), (density, rgb), fast_mode=True)


@pytest.mark.parametrize("path", ["torch", "auto"])
def test_a_ray_ends_after_the_sample_that_makes_it_dark(path: str) -> None:
    """The transmittances behind the samples are 1/2, 1/4, 1/8: with a threshold of 0.3 the third does not count."""
    density, distance = torch.full((3,), math.log(2.0)).requires_grad_(), torch.ones(3)
    rgb = torch.ones(3, 3).requires_grad_()
    with native_settings(path=path):
        out = composite(torch.tensor([0, 3]), density, rgb, distance, distance, ert_threshold=0.3)
        (out.color.sum() + out.depth.sum()).backward()
    torch.testing.assert_close(out.weights.detach(), torch.tensor([0.5, 0.25, 0.0]))
    torch.testing.assert_close(out.opacity.detach(), torch.tensor([0.75]))
    assert density.grad is not None
    assert rgb.grad is not None
    assert density.grad[2] == 0
    assert (density.grad[:2] > 0).all()
    assert rgb.grad[:, 0].tolist() == pytest.approx([0.5, 0.25, 0.0])


def test_threads_change_nothing() -> None:
    rays = random_rays([7, 0, 31, 2] * 20)
    found = []
    for threads in (1, 2, 5):
        with native_settings(threads=threads):
            out, gradients = gradients_of(composite, rays)
            found.append((*out, *gradients))
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(others, found[0], strict=True))


@pytest.mark.parametrize("path", ["torch", "auto"])
def test_what_does_not_fit_is_refused(path: str) -> None:
    offsets, density, *others = random_rays([2, 3])
    with native_settings(path=path):
        with pytest.raises(TrainingError, match=r"density: expected|rgb: expected torch.float32 \[4, 3\]"):
            composite(offsets, density[1:], *others)
        for wrong in ([0, 2, 4], [0, 6, 5], [1, 2, 5]):
            with pytest.raises(TrainingError, match="composite: "):
                composite(torch.tensor(wrong), density, *others)
        with pytest.raises(TrainingError, match="offsets: expected int64"):
            composite(offsets.int(), density, *others)
