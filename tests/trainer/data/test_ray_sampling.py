"""Samples of training rays: the renderer's own without jitter, and stratified ones that depend on nothing else."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.kernels import RenderOptions
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.kernels.sampling import ray_directions, ray_origin
from kilonerf.model_io import TrainingError
from kilonerf.model_io.scene.sampling import Sampling
from kilonerf.trainer.data.ray_sampling import RaySampler, RaySamples
from kilonerf.trainer.ops.compositing import composite
from kilonerf.trainer.ops.native import extension, native_settings
from kilonerf.trainer.ops.networks import TinyNetworks, tiny_networks
from support.ray_batches import SCENES, rays_of
from support.scenes import nested_scene, views

NESTED = {**SCENES, "nested": nested_scene()}
FIELDS = tuple(RaySamples.__dataclass_fields__)
needs_extension = pytest.mark.skipif(extension is None, reason="needs the native extension")


def assert_equal(samples: RaySamples, expected: RaySamples) -> None:
    for field in FIELDS:
        a, b = getattr(samples, field), getattr(expected, field)
        assert a.dtype == b.dtype, field
        assert torch.equal(a, b), field


@needs_extension
@pytest.mark.parametrize("seed", [None, 0, 2**63 + 12345])
@pytest.mark.parametrize("name", NESTED)
def test_the_native_sampler_takes_the_samples_of_the_twin(name: str, seed: int | None) -> None:
    """The twin tests every sample of every ray; the native code skips empty bricks. Equal bit for bit."""
    sampler = RaySampler.of(NESTED[name])
    rays = rays_of(300)
    samples = sampler.sample(*rays, seed)
    with native_settings(path="torch"):
        assert_equal(samples, sampler.sample(*rays, seed))
    assert (len(samples.points) > 50) == (name in ("dense", "sparse", "full", "nested"))


@needs_extension
def test_rays_through_nested_levels_end_where_they_see_no_farther() -> None:
    sampler = RaySampler.of(NESTED["nested"])
    rays = rays_of(300)
    whole = len(sampler.sample(*rays, 7).points)
    sampler.set_densities(np.linspace(0, 3, len(sampler.voxels), dtype=np.float32))
    samples = sampler.sample(*rays, 7, min_transmittance=0.05)
    with native_settings(path="torch"):
        assert_equal(samples, sampler.sample(*rays, 7, min_transmittance=0.05))
    assert 50 < len(samples.points) < 0.8 * whole


@pytest.mark.parametrize("path", ["torch", "auto"])
def test_samples_and_pictures_are_the_renderers(path: str) -> None:
    scene = SCENES["dense"]
    networks = TinyNetworks.from_layers(scene.layers)
    for name in ("outside", "inside", "along an axis"):
        camera = views(scene)[name].resized(20, 14)
        frame = ReferenceRenderer(scene).render(camera, RenderOptions.as_trained(scene, ert=False))
        directions = ray_directions(camera).reshape(-1, 3)
        origins = np.broadcast_to(ray_origin(camera), directions.shape)
        with native_settings(path=path), torch.no_grad():
            samples = RaySampler.of(scene).sample(origins, directions)
            rgb, density = tiny_networks(samples.points, samples.directions, samples.network_index, networks)
            out = composite(samples.offsets, density, rgb, samples.distance, samples.depth)
        assert len(samples.points) == frame.statistics.samples
        picture = out.over(torch.tensor(scene.background))
        np.testing.assert_allclose(picture.reshape(frame.rgb.shape), frame.rgb, atol=1e-5)


@pytest.mark.parametrize("path", ["torch", "auto"])
def test_jitter_fills_each_step_evenly(path: str) -> None:
    scene = SCENES["full"]
    sampler = RaySampler.of(scene)
    rays = rays_of(300)
    with native_settings(path=path):
        index = ((sampler.sample(*rays, seed=5).depth - scene.near) / scene.step).double()
        again = sampler.sample(*rays, seed=6)
    inner = index[(index > 1) & (index < scene.num_samples - 2)]
    places = (inner + 0.5).frac()
    assert places.histc(10, 0, 1).min() > 0.07 * len(places)
    assert index.min() >= 0
    assert index.max() <= scene.num_samples - 1
    assert len(again.depth) != len(index) or not torch.equal(again.depth.double(), index)
    assert (sampler.sample(*rays).depth - scene.near).div(scene.step).frac().sub(0.5).abs().min() > 0.49


@pytest.mark.parametrize("path", ["torch", "auto"])
def test_a_ray_depends_on_its_seed_and_number_only(path: str) -> None:
    sampler = RaySampler.of(SCENES["dense"])
    origins, directions = rays_of(300)
    with native_settings(path=path):
        whole = sampler.sample(origins, directions, seed=9)
        part = sampler.sample(origins[:111], directions[:111], seed=9)
    end = int(whole.offsets[111])
    assert torch.equal(whole.offsets[:112], part.offsets)
    assert torch.equal(whole.points[:end], part.points)


@needs_extension
def test_threads_change_nothing() -> None:
    sampler = RaySampler.of(SCENES["dense"])
    found = []
    for threads in (1, 2, 5):
        with native_settings(threads=threads):
            found.append(sampler.sample(*rays_of(300), seed=3))
    assert_equal(found[1], found[0])
    assert_equal(found[2], found[0])


@pytest.mark.parametrize("path", ["torch", "auto"])
def test_no_rays_have_no_samples(path: str) -> None:
    nothing = np.zeros((0, 3), np.float32)
    with native_settings(path=path):
        samples = RaySampler.of(SCENES["dense"]).sample(nothing, nothing, seed=1)
    assert samples.offsets.tolist() == [0]
    assert samples.points.shape == samples.directions.shape == (0, 3)


def test_what_does_not_fit_is_refused() -> None:
    scene = SCENES["dense"]
    sampler = RaySampler.of(scene)
    with pytest.raises(TrainingError, match=r"rays: expected \[R, 3\] twice, got \(2, 3\) and \(3, 3\)"):
        sampler.sample(np.zeros((2, 3), np.float32), np.zeros((3, 3), np.float32))
    with pytest.raises(TrainingError, match=r"occupancy: expected a multiple of \(2, 3, 4\) voxels, got \(7, 12, 16\)"):
        RaySampler(replace(scene.cells, occupancy=scene.occupancy[1:]), scene.sampling)
    with pytest.raises(TrainingError, match="expected near < far and 2 or more, got 2 to 6, 1"):
        RaySampler(scene.cells, Sampling(2, 6, num_samples=1))


@pytest.mark.parametrize("name", ["dense", "full"])
def test_rays_end_where_they_see_no_farther(name: str) -> None:
    sampler = RaySampler.of(SCENES[name])
    rays = rays_of(300)
    densities = np.random.default_rng(2).exponential(20.0, len(sampler.voxels)).astype(np.float32)
    sampler.set_densities(densities)
    all_samples, some = sampler.sample(*rays, 5), sampler.sample(*rays, 5, min_transmittance=0.1)
    voxel_density = np.zeros(sampler.cells.occupancy.shape)
    voxel_density[tuple(sampler.voxels.T)] = densities
    kept = []
    for ray, (o, d) in enumerate(zip(*rays, strict=True)):
        own = slice(int(all_samples.offsets[ray]), int(all_samples.offsets[ray + 1]))
        positions = o + all_samples.depth.numpy()[own, None] * d
        _, voxels = sampler.cells.locate(positions.astype(np.float32))
        through = np.exp(-np.cumsum(voxel_density[tuple(voxels.T)] * all_samples.distance.numpy()[own]))
        kept += (np.concatenate([[1.0], through])[:-1] >= 0.1).tolist()
    assert 0.1 < np.mean(kept) < 0.9
    for field in ("points", "directions", "network_index", "distance", "depth"):
        assert torch.equal(getattr(some, field), getattr(all_samples, field)[torch.tensor(kept)]), field
    with native_settings(path="torch"):
        assert_equal(some, sampler.sample(*rays, 5, min_transmittance=0.1))
    with pytest.raises(TrainingError, match=r"densities: expected \[\d+\], got \[3\]"):
        sampler.set_densities(densities[:3])


@pytest.mark.parametrize("path", ["auto", "torch"])
def test_parts_of_a_batch_take_the_samples_of_the_whole(path: str) -> None:
    sampler = RaySampler.of(SCENES["dense"])
    origins, directions = rays_of(300)
    with native_settings(path=path):
        whole = sampler.sample(origins, directions, 9)
        part = sampler.sample(origins[100:], directions[100:], 9, first_ray=100)
    assert torch.equal(part.points, whole.points[int(whole.offsets[100]) :])
    assert torch.equal(part.depth, whole.depth[int(whole.offsets[100]) :])
