"""Times of training's operations on a GPU: networks alone, then the parts of a step of fine-tuning."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from kilonerf.kernels.cuda.device import sources_digest
from kilonerf.model_io import LAYER_SHAPES, BackendError, load_kilonerf_scene
from kilonerf.trainer.data.ray_sampling import RaySampler
from kilonerf.trainer.ops.adam import Adam
from kilonerf.trainer.ops.compositing import composite
from kilonerf.trainer.ops.cuda import cuda_for
from kilonerf.trainer.ops.networks import SampleGroups, TinyNetworks, tiny_networks

FORWARD = sum(inputs * outputs for inputs, outputs in LAYER_SHAPES.values())  # multiply-adds of a sample
NETWORKS, RAYS, REPEATS = 600, 8192, 20
WARM_UP = 0.5  # seconds before each measurement


def device() -> dict[str, str]:
    """What is measured.

    Raises:
        BackendError: torch and CuPy cannot use a GPU here.
    """
    if not torch.cuda.is_available() or cuda_for(torch.zeros(1, device="cuda")) is None:
        raise BackendError("torch finds no CUDA device, or CuPy is not installed")
    return {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "kernels": sources_digest()}


def milliseconds(run: Callable[[], object]) -> float:
    """The median time on the device, after half a second that does not count: the first run compiles, clocks rise.

    What the host does between the kernels of one run is in it: so is training's step.
    """
    end = time.perf_counter() + WARM_UP
    run()
    while time.perf_counter() < end:
        run()
        torch.cuda.synchronize()
    times = []
    for _ in range(REPEATS):
        begin, done = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        done.record()
        done.synchronize()
        times.append(begin.elapsed_time(done))
    return round(median(times), 4)


def networks_alone(count: int) -> dict[str, float]:
    """``count`` samples for each network: rates in samples, and in multiply-adds as the paper has the layers."""
    networks = TinyNetworks.initial(NETWORKS, seed=0).cuda()
    samples = NETWORKS * count
    points = torch.rand((samples, 3), device="cuda") * 2 - 1
    directions = torch.nn.functional.normalize(torch.randn((samples, 3), device="cuda"), dim=1)
    groups = SampleGroups.dense(NETWORKS, count, "cuda")

    def forward() -> tuple[torch.Tensor, torch.Tensor]:
        return tiny_networks(points, directions, groups, networks)

    def both() -> None:
        networks.rows.grad = None
        rgb, density = forward()
        torch.autograd.backward((rgb, density), (torch.ones_like(rgb), torch.ones_like(density)))

    with torch.no_grad():
        forward_ms = milliseconds(forward)
    both_ms = milliseconds(both)
    return {
        "samples_each": count,
        "forward_ms": forward_ms,
        "with_backward_ms": both_ms,
        "forward_msamples_s": round(samples / forward_ms / 1e3, 1),
        "with_backward_msamples_s": round(samples / both_ms / 1e3, 1),
        "forward_tflops": round(2 * FORWARD * samples / forward_ms / 1e9, 2),
        "with_backward_tflops": round(6 * FORWARD * samples / both_ms / 1e9, 2),
    }


def fine_tuning_step(scene_path: Path) -> dict[str, float]:
    """The parts of a step on a scene's networks."""
    scene = load_kilonerf_scene(scene_path)
    networks = TinyNetworks.from_layers(scene.layers).cuda()
    adam = Adam(networks, learning_rate=1e-6, view_dependent_l2=1e-6)
    sampler = RaySampler.of(scene).to_device("cuda")
    rng = np.random.default_rng(0)
    origins = rng.normal(size=(RAYS, 3))
    origins *= 4 / np.linalg.norm(origins, axis=1, keepdims=True)
    towards = (-origins / 4 + rng.uniform(-0.17, 0.17, size=(RAYS, 3))).astype(np.float32)
    rays = origins.astype(np.float32), towards
    samples = sampler.sample(*rays, 1)
    groups = SampleGroups.of(samples.network_index, networks.num_networks)
    with torch.no_grad():
        rgb, density = tiny_networks(samples.points, samples.directions, groups, networks)

    def whole() -> None:
        networks.rows.grad = None
        samples = sampler.sample(*rays, 1)
        groups = SampleGroups.of(samples.network_index, networks.num_networks)
        rgb, density = tiny_networks(samples.points, samples.directions, groups, networks)
        seen = composite(samples.offsets, density, rgb, samples.distance, samples.depth)
        ((seen.color - 0.5) ** 2).mean().backward()
        adam.step()

    step_ms = milliseconds(whole)
    with torch.no_grad():
        return {
            "rays": RAYS,
            "samples": len(samples.points),
            "sampling": milliseconds(lambda: sampler.sample(*rays, 1)),
            "grouping": milliseconds(lambda: SampleGroups.of(samples.network_index, networks.num_networks)),
            "networks_forward": milliseconds(
                lambda: tiny_networks(samples.points, samples.directions, groups, networks)
            ),
            "compositing": milliseconds(
                lambda: composite(samples.offsets, density, rgb, samples.distance, samples.depth)
            ),
            "adam": milliseconds(adam.step),
            "whole": step_ms,
        }
