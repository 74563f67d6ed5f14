"""Times of training's operations beside the machine's peak: python -m benchmarks.training.operations [THREADS].

The best of some runs: what the operations cost on a quiet machine. Nominal multiply-adds are those of the
layers as the paper has them, 6080 a sample forward and twice that backward, whatever the kernels save of them.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from kilonerf.kernels import _cpu
from kilonerf.model_io import LAYER_SHAPES, load_kilonerf_scene
from kilonerf.trainer.data.ray_sampling import RaySampler
from kilonerf.trainer.ops.adam import Adam
from kilonerf.trainer.ops.compositing import composite
from kilonerf.trainer.ops.native import native_settings
from kilonerf.trainer.ops.networks import SampleGroups, TinyNetworks, tiny_networks

CHAIR = Path(__file__).resolve().parents[2] / "assets" / "chair.knf"
FORWARD = sum(inputs * outputs for inputs, outputs in LAYER_SHAPES.values())
NETWORKS = 600
RAYS = 8192


def best(run: Callable[[], object], runs: int = 7) -> float:
    """Seconds of the fastest run, after one that does not count."""
    run()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def networks_alone(count: int, run: int, peak: float, path: str = "auto") -> str:
    """``count`` random samples for each network, directions in runs of ``run``: a line of the table."""
    networks = TinyNetworks.initial(NETWORKS, seed=0)
    samples = NETWORKS * count
    generator = torch.Generator().manual_seed(0)
    points = torch.rand((samples, 3), generator=generator) * 2 - 1
    directions = torch.nn.functional.normalize(torch.randn((samples // run + 1, 3), generator=generator), dim=1)
    directions = directions.repeat_interleave(run, 0)[:samples].contiguous()
    groups = SampleGroups.dense(NETWORKS, count)

    def forward() -> tuple[torch.Tensor, torch.Tensor]:
        return tiny_networks(points, directions, groups, networks)

    def both() -> None:
        networks.rows.grad = None
        rgb, density = forward()
        torch.autograd.backward((rgb, density), (torch.ones_like(rgb), torch.ones_like(density)))

    with native_settings(path=path):
        with torch.no_grad():
            seconds = best(forward, 3 if path == "torch" else 7)
        seconds_both = best(both, 3 if path == "torch" else 7)
    share, share_both = (n * FORWARD * samples / s / peak for n, s in ((1, seconds), (3, seconds_both)))
    rate, rate_both = (f"{samples / s / 1e6:5.2f} M/s" for s in (seconds, seconds_both))
    what = f"{path:6} {count:5} samples a network, runs of {run}"
    return f"{what}:   {rate} ({share:4.0%})   {rate_both} ({share_both:4.0%})"


def random_rays(scene_radius: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rays from a sphere towards its middle, as a data set's cameras look."""
    rng = np.random.default_rng(seed)
    origins = rng.normal(size=(RAYS, 3))
    origins *= scene_radius / np.linalg.norm(origins, axis=1, keepdims=True)
    towards = -origins / scene_radius + rng.uniform(-0.17, 0.17, size=(RAYS, 3))
    return origins.astype(np.float32), towards.astype(np.float32)


def fine_tuning_step() -> str:
    """Every stage of one step on the chair's networks: best of 10 steps each."""
    scene = load_kilonerf_scene(CHAIR)
    networks = TinyNetworks.from_layers(scene.layers)
    adam = Adam(networks, learning_rate=1e-6, view_dependent_l2=1e-6)
    sampler = RaySampler.of(scene)
    origins, directions = random_rays(4.0, 0)
    target = torch.rand((RAYS, 3), generator=torch.Generator().manual_seed(0))
    times: dict[str, list[float]] = {}
    samples = 0
    for step in range(11):
        marks = [("", time.perf_counter())]

        def mark(name: str, marks: list[tuple[str, float]] = marks) -> None:
            marks.append((name, time.perf_counter()))

        taken = sampler.sample(origins, directions, step)
        mark("samples of rays")
        groups = SampleGroups.of(taken.network_index, networks.num_networks)
        mark("grouping")
        rgb, density = tiny_networks(taken.points, taken.directions, groups, networks)
        mark("networks forward")
        out = composite(taken.offsets, density, rgb, taken.distance, taken.depth)
        mark("compositing")
        loss = ((out.color + (1 - out.opacity)[:, None] - target) ** 2).mean()
        mark("loss")
        loss.backward()
        mark("backward, all")
        adam.step()
        adam.zero_grad()
        mark("Adam")
        samples = len(taken.points)
        for (name, end), (_, begin) in zip(marks[1:], marks[:-1], strict=True):
            times.setdefault(name, []).append(end - begin)
    lines = [f"{RAYS} rays, {samples} samples, {networks.num_networks} networks:"]
    lines += [f"  {name:18} {1e3 * min(seconds[1:]):6.2f} ms" for name, seconds in times.items()]
    return "\n".join(lines)


def main() -> None:
    """Print everything."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    torch.set_num_threads(threads)
    kind = next(kind for kind in _cpu.matrix_kinds() if kind.startswith("float32"))
    peak = max(_cpu.matrix_peak(kind, threads) for _ in range(10))
    print(f"{threads} threads; peak of {kind}: {peak / 1e9:.1f} G multiply-adds/s; forward, then forward and backward:")
    for count, run in ((2048, 1), (270, 5), (70, 5)):
        print(networks_alone(count, run, peak))
    print(networks_alone(270, 5, peak, path="torch"))
    print(fine_tuning_step())


if __name__ == "__main__":
    main()
