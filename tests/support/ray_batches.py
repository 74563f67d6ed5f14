"""Scenes and rays to take samples of, samples to composite, and what a function of them has for gradients."""

import numpy as np
import torch

from support.scenes import random_scene

SCENES = {
    "dense": random_scene(seed=3),
    "sparse": random_scene((4, 3, 5), (7, 3, 10), seed=4, occupied=0.01),
    "very sparse": random_scene((3, 3, 3), (16, 16, 16), seed=5, occupied=2e-4),
    "full": random_scene((2, 2, 2), (3, 5, 2), seed=6, occupied=1.0, dropped=0.3),
    "empty": random_scene(seed=7, occupied=0.0),
}


def rays_of(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rays from all sides and from inside, some along an axis, some beside the box."""
    rng = np.random.default_rng(1)
    origins = rng.normal(size=(count, 3))
    origins *= 4 / np.linalg.norm(origins, axis=1, keepdims=True)
    origins[::5] *= 0.05
    directions = -origins / 4 + rng.normal(size=(count, 3)) * 0.2
    directions[::7] = np.eye(3)[rng.integers(0, 3, len(directions[::7]))] * rng.choice([-1, 1])
    return origins.astype(np.float32), directions.astype(np.float32)


def random_rays(counts: list[int], dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    """offsets, density, rgb, distance, depth; some samples are empty, some opaque."""
    generator = torch.Generator().manual_seed(len(counts))
    offsets = torch.tensor([0, *counts]).cumsum(0)
    samples = int(offsets[-1])
    density = torch.rand(samples, generator=generator) * 60
    density[torch.rand(samples, generator=generator) < 0.3] = 0
    density[torch.rand(samples, generator=generator) < 0.02] = 1e4
    rgb = torch.rand((samples, 3), generator=generator)
    distance = torch.rand(samples, generator=generator) * 0.02 + 0.01
    depth = torch.rand(samples, generator=generator) * 4 + 2
    return (offsets, *(tensor.to(dtype) for tensor in (density, rgb, distance, depth)))


def gradients_of(function, rays: tuple[torch.Tensor, ...], **options) -> tuple[tuple, list[torch.Tensor]]:
    """What comes out, and the gradient of a random linear function of it."""
    offsets, density, rgb, *fixed = rays
    density, rgb = density.clone().requires_grad_(), rgb.clone().requires_grad_()
    out = function(offsets, density, rgb, *fixed, **options)
    generator = torch.Generator().manual_seed(5)
    total = torch.stack([(part * torch.randn(part.shape, generator=generator).to(part)).sum() for part in out])
    return tuple(part.detach() for part in out), list(torch.autograd.grad(total.sum(), (density, rgb)))
