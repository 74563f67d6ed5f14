"""The sections of the CPU benchmark: each measures one thing and returns it as JSON values."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from kilonerf.kernels import RenderOptions
from kilonerf.kernels.cpu.paths import CpuPath, available_cpu_paths
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.model_io.scene.architecture import DIRECTION_CHANNELS, HIDDEN, LAYER_SHAPES

from .measure import SectionSkipped, Setup, measure_frames
from .nerf_baseline import EVALUATIONS_PER_PIXEL, TRIAL, NerfBaseline, torch_is_installed
from .processes import memory, profile
from .scenes import OCCUPANCY, random_networks

SIZES = (200, 400, 800, 1200, 1600)
SAMPLES = (96, 192, 384, 768, 1536)  # per ray, from near to far
GRIDS = (4, 8, 16)  # cells on an axis
BATCH = 1024  # samples that a network is given when the networks run alone
RATE_SECONDS = 0.1
NERF_PIXELS = 512  # that NeRF renders in each turn
PEAKS = {  # the kind of multiply-add that a code path's networks are made of
    "amx": "bfloat16-amx",
    "avx512-vnni-int8": "int8-vnni512",
    "avx-vnni-int8": "int8-vnni256",
    "avx2-int8": "int8-madd256",
    "avx512-vnni": "int16-vnni512",
    "avx-vnni": "int16-vnni256",
    "avx2-int16": "int16-madd256",
    "avx512": "float32-fma512",
    "avx2": "float32-fma256",
}
BASELINE_PEAKS = ("float32-sse2", "float32-neon", "float32-plain")

AS_TRAINED = sum(inputs * outputs for inputs, outputs in LAYER_SHAPES.values())
FOLDED = AS_TRAINED - HIDDEN * HIDDEN
"""Multiply-adds of a sample with the feature layer folded into the next one."""
FITTED = FOLDED - DIRECTION_CHANNELS * HIDDEN
"""The same where the direction's part is not computed for each sample (all paths but float32)."""


def multiply_adds(path: CpuPath) -> int:
    """Multiply-adds of the layers that a sample cannot be without on this path."""
    return FOLDED if path.precision == "float32" else FITTED


def peak_kind(path: str, kinds: list[str]) -> str:
    """The kind of multiply-add to compare a path with."""
    return PEAKS.get(path) or next(kind for kind in BASELINE_PEAKS if kind in kinds)


def network_rate(renderer: CpuRenderer) -> Callable[[], float]:
    """A job: samples a second of the scene's networks alone, on batches in memory."""
    return lambda: renderer.network_rate(BATCH, RATE_SECONDS)


def networks(setup: Setup) -> dict[str, Any]:
    """The networks alone, for each code path, beside the machine's peak; on one thread and on all."""
    from kilonerf.kernels import _cpu

    kinds = _cpu.matrix_kinds()
    counts = sorted({1, setup.threads})
    jobs: dict[Any, Callable[[], float]] = {}
    for threads in counts:
        for path in available_cpu_paths():
            renderer = CpuRenderer(setup.scene, threads=threads, path=path.name)
            jobs["rate", path.name, threads] = network_rate(renderer)
        for kind in kinds:
            jobs["peak", kind, threads] = lambda kind=kind, threads=threads: _cpu.matrix_peak(kind, threads)
    results = setup.take_turns(jobs)
    rows = []
    for path in available_cpu_paths():
        kind = peak_kind(path.name, kinds)
        row: dict[str, Any] = {**asdict(path), "kind": kind, "multiply_adds": multiply_adds(path), "threads": []}
        for threads in counts:
            rate = statistics.median(results["rate", path.name, threads])
            peak = max(results["peak", kind, threads])
            share = rate * row["multiply_adds"] / peak
            row["threads"].append({"threads": threads, "samples_per_s": rate, "peak_per_s": peak, "share": share})
        rows.append(row)
    peaks = {kind: {str(count): max(results["peak", kind, count]) for count in counts} for kind in kinds}
    return {"batch": BATCH, "as_trained": AS_TRAINED, "folded": FOLDED, "paths": rows, "peaks": peaks}


def frames(setup: Setup) -> dict[str, Any]:
    """A frame by stages for each code path, beside the networks alone for as many samples in the same turns."""
    options = RenderOptions.as_trained(setup.scene)
    cameras = setup.cameras()
    renderers = {
        path: CpuRenderer(setup.scene, threads=setup.threads, path=path.name) for path in available_cpu_paths()
    }
    configurations = {path.name: (renderer, options, cameras) for path, renderer in renderers.items()}
    rates = {path.name: network_rate(renderer) for path, renderer in renderers.items()}
    times, measured = measure_frames(setup, configurations, rates)
    truth = CpuRenderer(setup.scene, threads=setup.threads, path="baseline").render(cameras[0], options).rgb
    rows = []
    for path, renderer in renderers.items():
        row = {**asdict(path), **times[path.name], "samples_per_s": statistics.median(measured[path.name])}
        row["networks_alone_ms"] = 1000.0 * row["evaluations"] / row["samples_per_s"]
        row["ratio"] = row["ms"] / row["networks_alone_ms"]
        exact = path.precision == "float32"
        row["psnr_to_baseline"] = None if exact else psnr(renderer.render(cameras[0], options).rgb, truth)
        rows.append(row)
    return {"size": setup.size, "views": len(cameras), "threads": setup.threads, "paths": rows}


def speedup(setup: Setup) -> dict[str, Any]:
    """ESS and ERT on and off, in turns with NeRF on the same cores."""
    if not torch_is_installed():
        raise SectionSkipped("torch is not installed")
    cameras = setup.cameras()
    renderer = CpuRenderer(setup.scene, threads=setup.threads)
    device = renderer.device  # it names the code path of the last frame
    modes = [(True, True), (True, False), (False, True), (False, False)]
    frames_of = [
        *({"ess": ess, "ert": ert, "precision": "auto"} for ess, ert in modes),
        {"ess": True, "ert": True, "precision": "float32"},
    ]
    configurations = {
        number: (renderer, RenderOptions.as_trained(setup.scene, **switches), cameras)
        for number, switches in enumerate(frames_of)
    }
    evaluations = NERF_PIXELS * EVALUATIONS_PER_PIXEL
    nerf = NerfBaseline(setup.threads)
    try:
        tried = nerf.try_all()
        fastest = sorted(tried, key=tried.__getitem__)[:2]
        jobs = {str(setting): partial(nerf.seconds, setting, evaluations) for setting in fastest}
        times, measured = measure_frames(setup, configurations, jobs, rounds=min(setup.rounds, 5))
    finally:
        nerf.close()
    # The best turn of NeRF against the medians of ours: what else runs on the machine hits torch's threads harder.
    setting = min(fastest, key=lambda setting: min(measured[str(setting)]))
    seconds = min(measured[str(setting)])
    rates = {other: TRIAL / trial for other, trial in tried.items()}
    nerf_ms = 1000.0 * seconds * setup.size**2 / NERF_PIXELS
    return {
        "size": setup.size,
        "views": len(cameras),
        "threads": setup.threads,
        "device": device,
        "nerf": {
            **asdict(setting),
            "evaluations_per_pixel": EVALUATIONS_PER_PIXEL,
            "pixels_timed": NERF_PIXELS,
            "evaluations_per_s": evaluations / seconds,
            "evaluations_per_s_median": evaluations / statistics.median(measured[str(setting)]),
            "ms": nerf_ms,
            "tried": [{**asdict(other), "evaluations_per_s": rate} for other, rate in rates.items()],
        },
        "modes": [
            {**switches, **times[number], "speedup": nerf_ms / times[number]["ms"]}
            for number, switches in enumerate(frames_of)
        ],
    }


def threads(setup: Setup) -> dict[str, Any]:
    """One thread, two, four ... up to all."""
    counts = sorted({setup.threads, *(2**k for k in range(setup.threads.bit_length()))})
    options, cameras = RenderOptions.as_trained(setup.scene), setup.cameras()
    configurations = {count: (CpuRenderer(setup.scene, threads=count), options, cameras) for count in counts}
    times, _ = measure_frames(setup, configurations)
    rows = [{"threads": n, **times[n], "speedup": times[counts[0]]["ms"] / times[n]["ms"]} for n in counts]
    return {"size": setup.size, "views": len(cameras), "counts": rows}


def scaling(setup: Setup) -> dict[str, Any]:
    """Frames of other sizes, of other numbers of samples, and of other grids."""
    scene = setup.scene
    trained = RenderOptions.as_trained(scene)
    renderer = CpuRenderer(scene, threads=setup.threads)
    few = setup.cameras(views=2)
    sizes = {size: (renderer, trained, setup.cameras(size, 2)) for size in SIZES}
    steps = {count: replace(trained, step=(scene.far - scene.near) / (count - 1)) for count in SAMPLES}
    counts = {count: (renderer, options, few) for count, options in steps.items()}
    scenes = {cells: random_networks(scene, cells) for cells in GRIDS}
    grids = {
        cells: (CpuRenderer(grid, threads=setup.threads), RenderOptions.as_trained(grid), few)
        for cells, grid in scenes.items()
    }
    configurations: dict[Any, Any] = {
        (name, key): value
        for name, group in (("sizes", sizes), ("samples", counts), ("grids", grids))
        for key, value in group.items()
    }
    times, _ = measure_frames(setup, configurations)

    def row(name: str, key: int) -> dict[str, Any]:
        found = times[name, key]
        return {**found, "ns_per_evaluation": 1e6 * found["ms"] / found["evaluations"]}

    return {
        "size": setup.size,
        "views": len(few),
        "threads": setup.threads,
        "occupancy": OCCUPANCY,
        "sizes": [{"size": size, **row("sizes", size)} for size in SIZES],
        "samples": [{"per_ray": count, **row("samples", count)} for count in SAMPLES],
        "grids": [{"cells": n, "networks": scenes[n].num_networks, **row("grids", n)} for n in GRIDS],
    }


SECTIONS: Mapping[str, Callable[[Setup], dict[str, Any]]] = {
    "networks": networks,
    "frames": frames,
    "threads": threads,
    "scaling": scaling,
    "speedup": speedup,
    "memory": memory,
    "profile": profile,
}
