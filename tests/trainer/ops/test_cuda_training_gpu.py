"""Training's operations on a real GPU, against the twins in float64 and the CPU's samples; without a device they skip.

Those named ``small`` also run under compute-sanitizer.
"""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.model_io import BackendError, TrainingError
from kilonerf.trainer.data.ray_sampling import RaySampler, RaySamples
from kilonerf.trainer.ops.adam import Adam
from kilonerf.trainer.ops.compositing import composite, composite_torch
from kilonerf.trainer.ops.cuda import CudaOperations, cuda_for
from kilonerf.trainer.ops.native import native_settings
from kilonerf.trainer.ops.networks import SampleGroups, TinyNetworks, layers_of, tiny_networks, tiny_networks_torch
from support.network_batches import Batch, different_networks, in_float64, random_batch
from support.scenes import random_scene

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def operations() -> CudaOperations:
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    try:
        found = cuda_for(torch.zeros(1, device="cuda"))
    except BackendError as error:
        pytest.skip(str(error))
    if found is None:
        pytest.skip("CuPy is not installed")
    return found


def check_networks(batch: Batch, networks: TinyNetworks, rectified: bool) -> None:
    points, directions, index = batch
    there = TinyNetworks(networks.rows.detach().cuda())
    exact = in_float64(networks)
    rgb, density = tiny_networks(points.cuda(), directions.cuda(), index.cuda(), there, rectified=rectified)
    expected = tiny_networks_torch(points.double(), directions.double(), index, exact, rectified=rectified)
    generator = torch.Generator().manual_seed(7)
    slopes = [torch.randn(part.shape, generator=generator) for part in (rgb, density)]
    torch.autograd.backward((rgb, density), tuple(slope.cuda() for slope in slopes))
    torch.autograd.backward(expected, tuple(slope.double() for slope in slopes))
    torch.testing.assert_close(rgb.detach().double().cpu(), expected[0].detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(density.detach().double().cpu(), expected[1].detach(), rtol=1e-5, atol=2e-5)
    assert there.rows.grad is not None
    assert exact.rows.grad is not None
    found, truth = layers_of(there.rows.grad.cpu()), layers_of(exact.rows.grad)
    for name, layer in found.items():
        error = (layer - truth[name]).flatten(1).abs().amax(1)
        assert (error <= 1e-4 * truth[name].flatten(1).abs().amax(1)).all(), name


@pytest.mark.usefixtures("operations")
@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize("counts", [[0] * 5, [3, 0, 1, 2, 5], [47, 48, 0, 49, 97]])
def test_small_networks_are_those_of_float64(counts: list[int], rectified: bool) -> None:
    networks = different_networks(5)
    check_networks(random_batch(networks, counts), networks, rectified)


@pytest.mark.usefixtures("operations")
def test_many_samples_are_those_of_float64_and_repeat() -> None:
    networks = different_networks(5)
    points, directions, index = batch = random_batch(networks, [0, 4200, 481, 7, 960])
    check_networks(batch, networks, True)
    gradients = []
    for _ in range(3):
        there = TinyNetworks(networks.rows.detach().cuda())
        rgb, density = tiny_networks(points.cuda(), directions.cuda(), index.cuda(), there)
        (rgb.sum() + density.sum()).backward()
        gradients.append(there.rows.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])


@pytest.mark.usefixtures("operations")
@pytest.mark.parametrize("ert_threshold", [0.0, 0.3])
def test_small_compositing_is_that_of_float64(ert_threshold: float) -> None:
    generator = torch.Generator().manual_seed(1)
    counts = torch.tensor([0, 3, 1, 40, 0, 0, 7, 130, 2, 0] * 15)
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    samples = int(offsets[-1])
    density, distance, depth = (torch.rand(samples, generator=generator) * size for size in (60.0, 0.02, 4.0))
    rgb = torch.rand((samples, 3), generator=generator)
    results = []
    for function, device, dtype in ((composite, "cuda", torch.float32), (composite_torch, "cpu", torch.float64)):
        densities, colors, *fixed = (part.to(device, dtype) for part in (density, rgb, distance, depth))
        densities.requires_grad_()
        colors.requires_grad_()
        out = function(offsets.to(device), densities, colors, fixed[0], fixed[1], ert_threshold=ert_threshold)
        total = torch.stack([part.sum() for part in out]).sum()
        results.append([*out, *torch.autograd.grad(total, (densities, colors))])
    for part, truth in zip(*results, strict=True):
        torch.testing.assert_close(part.double().cpu(), truth, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("operations")
@pytest.mark.parametrize("chosen", [None, [3, 0]])
def test_small_adam_steps_as_the_twin_does(chosen: list[int] | None) -> None:
    found = []
    for device, dtype in (("cuda", torch.float32), ("cpu", torch.float64)):
        networks = TinyNetworks(different_networks(4).rows.detach().to(device, dtype))
        adam = Adam(networks, learning_rate=3e-3, view_dependent_l2=1e-2, epsilon=1e-12)
        generator = torch.Generator().manual_seed(4)
        for _ in range(5):
            networks.rows.grad = torch.randn(networks.rows.shape, generator=generator).to(device, dtype)
            adam.step(None if chosen is None else torch.tensor(chosen, device=device))
        found.append((networks.rows.detach().double().cpu(), adam.steps.cpu()))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=1e-6)
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.usefixtures("operations")
@pytest.mark.parametrize("seed", [None, 2**63 + 12345])
def test_small_samples_are_the_cpus(seed: int | None) -> None:
    scene = random_scene(seed=3)
    sampler = RaySampler.of(scene)
    rng = np.random.default_rng(1)
    origins = rng.normal(size=(500, 3)).astype(np.float32) * 2
    directions = (-origins / 2 + rng.normal(size=(500, 3)) * 0.2).astype(np.float32)
    densities = rng.exponential(20.0, len(sampler.voxels)).astype(np.float32)
    there = RaySampler.of(scene).to_device("cuda")
    there.set_densities(densities)
    sampler.set_densities(densities)
    expected = sampler.sample(origins, directions, seed, first_ray=9, min_transmittance=0.1)
    found = there.sample(origins, directions, seed, first_ray=9, min_transmittance=0.1)
    assert found.points.is_cuda
    assert len(expected.points) > 50
    for field in RaySamples.__dataclass_fields__:
        assert torch.equal(getattr(found, field).cpu(), getattr(expected, field)), field


@pytest.mark.usefixtures("operations")
def test_small_groups_elsewhere_are_refused() -> None:
    networks = different_networks(2)
    points, directions, index = random_batch(networks, [2, 3])
    there = TinyNetworks(networks.rows.detach().cuda())
    with pytest.raises(TrainingError, match="groups: expected on cuda:0, got cpu"):
        tiny_networks(points.cuda(), directions.cuda(), SampleGroups.of(index, 2), there)


@pytest.mark.usefixtures("operations")
def test_small_the_twins_can_be_asked_for() -> None:
    with native_settings(path="torch"):
        assert cuda_for(torch.zeros(1, device="cuda")) is None
    assert cuda_for(torch.zeros(1, device="cuda", dtype=torch.float64)) is None
