"""Training's CUDA kernels for rays, executed on the CPU by the SIMT host, against the twins."""

import math
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.model_io.scene.box import Box
from kilonerf.trainer.data import ray_sampling as sampling_module
from kilonerf.trainer.data.cuda_sampler import CudaRaySampler, _empty_space
from kilonerf.trainer.data.ray_sampling import RaySampler, RaySamples
from kilonerf.trainer.ops import adam as adam_module
from kilonerf.trainer.ops import compositing as compositing_module
from kilonerf.trainer.ops import networks as networks_module
from kilonerf.trainer.ops.adam import Adam
from kilonerf.trainer.ops.compositing import composite, composite_torch
from kilonerf.trainer.ops.cuda import CudaOperations
from kilonerf.trainer.ops.native import native_settings
from kilonerf.trainer.ops.networks import TinyNetworks, tiny_networks
from kilonerf.trainer.teachers import nested_grid
from simt.compilation import why_unavailable
from simt.simt_training import SimtTraining
from support.ray_batches import SCENES, gradients_of, random_rays, rays_of
from support.scenes import nested_scene

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))

COUNTS = {
    "no rays": [],
    "no samples": [0, 0],
    "one sample": [0, 1],
    "ragged": [0, 3, 1, 40, 0, 0, 7, 130, 2, 0] * 15,  # more than a block of rays
}


@pytest.fixture(autouse=True)
def _new_memory_is_nan() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


def on_simt(sampler: RaySampler, device: SimtTraining) -> CudaRaySampler:
    where = torch.device("cpu")
    return CudaRaySampler(device, where, sampler.levels, sampler.steps, sampler._voxels_of_levels)


def assert_equal(found: tuple[torch.Tensor, ...], expected: RaySamples) -> None:
    for part, field in zip(found, RaySamples.__dataclass_fields__, strict=True):
        truth = getattr(expected, field)
        assert part.dtype == truth.dtype, field
        assert torch.equal(part, truth), field


def tensors(rays) -> tuple[torch.Tensor, torch.Tensor]:
    origins, directions = map(torch.from_numpy, rays)
    return origins, directions


@pytest.mark.parametrize("seed", [None, 0, 2**63 + 12345])
@pytest.mark.parametrize("name", SCENES)
def test_simt_samples_are_those_of_the_twin(name: str, seed: int | None) -> None:
    """Bit for bit, although the twin tests every sample and the kernel skips empty space."""
    sampler = RaySampler.of(SCENES[name])
    rays = tensors(rays_of(150))
    with native_settings(path="torch"):
        expected = sampler.sample(*rays, seed, first_ray=77)
    found = on_simt(sampler, SimtTraining(checked=True)).sample(*rays, seed, 77, math.inf)
    assert_equal(found, expected)
    assert (len(expected.points) > 20) == (name in ("dense", "sparse", "full"))


def test_simt_rays_end_where_they_see_no_farther() -> None:
    sampler = RaySampler.of(SCENES["dense"])
    rays = tensors(rays_of(150))
    densities = np.random.default_rng(2).exponential(20.0, len(sampler.voxels)).astype(np.float32)
    device = on_simt(sampler, SimtTraining(checked=True))
    sampler.set_densities(densities)
    device.set_densities([densities])
    with native_settings(path="torch"):
        all_samples, some = sampler.sample(*rays, 5), sampler.sample(*rays, 5, min_transmittance=0.1)
    assert_equal(device.sample(*rays, 5, 0, math.inf), all_samples)
    assert_equal(device.sample(*rays, 5, 0, -math.log(0.1)), some)
    assert 0.1 < len(some.points) / len(all_samples.points) < 0.9


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("levels", [2, 3, 8])
def test_simt_nested_levels_are_merged_as_the_twin_does(levels: int, seed: int | None) -> None:
    """Bit for bit, with rays that end and without."""
    scene = nested_scene(levels, (4, 4, 4), (2, 2, 2)) if levels == 8 else nested_scene(levels)
    sampler = RaySampler.of(replace(scene, num_samples=300, far=12.0))
    rays = tensors(rays_of(150))
    densities = np.random.default_rng(2).exponential(3.0, len(sampler.voxels)).astype(np.float32)
    device = on_simt(sampler, SimtTraining(checked=True))
    sampler.set_densities(densities)
    device.set_densities(sampler._by_level(densities))
    with native_settings(path="torch"):
        all_samples = sampler.sample(*rays, seed, first_ray=9)
        some = sampler.sample(*rays, seed, first_ray=9, min_transmittance=0.1)
    assert_equal(device.sample(*rays, seed, 9, math.inf), all_samples)
    assert_equal(device.sample(*rays, seed, 9, -math.log(0.1)), some)
    assert 0.1 < len(some.points) / len(all_samples.points) < 0.95
    assert len(torch.unique(all_samples.distance / all_samples.distance.min())) > 1  # of several levels


def test_simt_no_rays_start_nothing() -> None:
    device = SimtTraining()
    nothing = torch.zeros(0, 3)
    found = on_simt(RaySampler.of(SCENES["dense"]), device).sample(nothing, nothing, 1, 0, math.inf)
    assert [list(part.shape) for part in found] == [[1], [0, 3], [0, 3], [0], [0], [0]]
    assert found[0].tolist() == [0]
    nested = on_simt(RaySampler.of(nested_scene()), device).sample(nothing, nothing, 1, 0, math.inf)
    assert [list(part.shape) for part in nested] == [list(part.shape) for part in found]
    assert not device.launches


class OnGpu(torch.Tensor):
    """A tensor that NumPy cannot read before it was copied to the host."""

    def __array__(self, *how: object, **more: object) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def cpu(self) -> torch.Tensor:  # type: ignore[override]
        return self.as_subclass(torch.Tensor)


@pytest.mark.parametrize("path", ["auto", "torch"])
def test_rays_on_a_gpu_without_kernels_for_it_are_sampled_by_the_cpu(path: str) -> None:
    sampler = RaySampler.of(nested_scene(2))
    origins, directions = tensors(rays_of(20))
    with native_settings(path=path):
        expected = sampler.sample(origins, directions, 1)
        found = sampler.sample(origins.as_subclass(OnGpu), directions.as_subclass(OnGpu), 1)
    assert torch.equal(found.points, expected.points)
    assert torch.equal(found.offsets, expected.offsets)


def test_the_teacher_of_captures_takes_samples_on_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(RaySampler, "to_device", lambda self, device: asked.append(device) or self)
    monkeypatch.setattr(nested_grid, "prefetched_batches", lambda *arguments, **more: None)
    training = object.__new__(nested_grid.NestedGridTraining)
    training._box = Box(np.full(3, -1, np.float32), np.full(3, 1, np.float32))
    training.grids = [SimpleNamespace(active=np.ones((8, 8, 8), bool)) for _ in range(2)]  # type: ignore[misc]
    training._near, training._far, training._seed, training._photos = 0.1, 5.0, 0, None  # type: ignore[assignment]
    training.settings, training._device = SimpleNamespace(rays=1), "cuda:0"  # type: ignore[assignment]
    training._look_at_voxels()
    assert asked == ["cuda:0"]


def test_empty_space_is_told_as_it_is() -> None:
    occupied = np.random.default_rng(0).random((9, 5, 12)) < 0.01
    there = np.argwhere(occupied)
    assert len(there)
    places = np.moveaxis(np.indices(occupied.shape), 0, -1)
    distance = np.abs(places[..., None, :] - there).max(-1).min(-1)
    assert np.array_equal(_empty_space(occupied), distance)
    assert (_empty_space(np.zeros((2, 3, 2), bool)) == 64).all()
    far = np.zeros((70, 1, 1), bool)
    far[0] = True
    assert np.array_equal(_empty_space(far)[:, 0, 0], np.minimum(np.arange(70), 64))


@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())
@pytest.mark.parametrize("ert_threshold", [0.0, 0.3])
def test_simt_compositing_is_that_of_float64(ert_threshold: float, counts: list[int]) -> None:
    """Single precision: a few units of the last place of a ray's length in samples."""
    operations = CudaOperations(SimtTraining(checked=True))

    def on_device(offsets, density, rgb, *fixed):
        return operations.composite(density, rgb, (offsets, *fixed), ert_threshold)

    def twin(*rays):
        return composite_torch(*rays, ert_threshold=ert_threshold)

    results = []
    for function, dtype in ((on_device, torch.float32), (twin, torch.float64)):
        out, gradients = gradients_of(function, random_rays(counts, dtype))
        results.append([*out, *gradients])
    for part, truth in zip(*results, strict=True):
        assert part.shape == truth.shape
        torch.testing.assert_close(part.double(), truth, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("offsets", [[0, 2, 4], [0, 6, 5], [1, 2, 5]])
def test_simt_compositing_refuses_offsets_that_do_not_fit(offsets: list[int]) -> None:
    device = SimtTraining()
    _, density, rgb, distance, depth = random_rays([2, 3])
    with pytest.raises(ValueError, match="expected to rise from 0 to 5"):
        CudaOperations(device).composite(density, rgb, (torch.tensor(offsets), distance, depth), 0.0)
    assert not device.launches


@pytest.mark.slow
def test_simt_a_step_of_training_is_that_of_the_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operation as the stages call it, with a GPU's tensors in all but their place."""
    scene = SCENES["full"]
    device = SimtTraining()
    rays = rays_of(40)
    rows = []
    for on_device in (True, False):
        networks = TinyNetworks.from_layers(scene.layers)
        adam = Adam(networks, learning_rate=1e-3, epsilon=1e-3, view_dependent_l2=1e-2)
        with monkeypatch.context() as patch, native_settings(path="torch"):
            if on_device:
                for module in (sampling_module, networks_module, compositing_module, adam_module):
                    patch.setattr(module, "cuda_for", lambda *_: CudaOperations(device))
            samples = RaySampler.of(scene).to_device("cpu").sample(*rays, seed=3)
            found = tiny_networks(samples.points, samples.directions, samples.network_index, networks)
            seen = composite(samples.offsets, found[1], found[0], samples.distance, samples.depth, ert_threshold=1e-3)
            ((seen.color - 0.5) ** 2).mean().backward()
            adam.step(torch.arange(networks.num_networks - 1))
        assert networks.rows.grad is not None
        rows.append(networks.rows.detach())
    torch.testing.assert_close(rows[0], rows[1], rtol=1e-5, atol=1e-6)
    assert not torch.equal(rows[0], TinyNetworks.from_layers(scene.layers).rows)
    launched = [name for name, _ in device.launches]
    sampling, networks_and_rays = launched[:2], launched[2:]
    assert sampling == ["count_samples", "write_samples"]
    assert networks_and_rays == ["forward", "composite", "composite_backward", "backward", "gather_gradients", "adam"]
