"""What gpu_check.py measures on a CUDA device. Every function returns plain numbers, ready for JSON.

Devices are those of :mod:`kilonerf.kernels.cuda.device`, so that tests go through the same lines without a GPU.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import PICTURE, RenderOptions, create_renderer
from kilonerf.kernels.cuda.device import CudaDevice
from kilonerf.kernels.cuda.renderer import BATCH, HOST, THREADS, CudaRenderer
from kilonerf.kernels.cuda.scene import CudaScene
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.model_io import Camera, Scene

from .sorted_baseline import Device, SortedBaseline

Precision = Literal["float16", "float32"]
PRECISIONS: tuple[Precision, ...] = ("float16", "float32")
MULTIPLICATIONS = 63 * 32 + 32 * 32 + 59 * 32 + 32 * 4  # of one sample, the feature layer folded in
TENSOR_CORES = 75


def precisions(device: CudaDevice) -> list[Precision]:
    """Those that the device can do."""
    return [name for name in PRECISIONS if name == "float32" or device.architecture >= TENSOR_CORES]


def decibels(picture: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """PSNR in decibel of pictures cut to [0, 1]; 200 where they are equal, as JSON has no infinity."""
    return round(min(200.0, psnr(np.clip(picture, 0, 1), np.clip(truth, 0, 1))), 2)


def network_rate(device: CudaDevice, scene: Scene, *, points: int = 1 << 23, repeats: int = 10) -> dict[str, Any]:
    """Samples per second of the networks alone: query.cu on points that lie in the device's memory, cell by cell."""
    rng = np.random.default_rng(0)
    points -= points % THREADS
    batches = np.zeros(points // THREADS, BATCH)
    batches["first"], batches["count"] = np.arange(len(batches)) * THREADS, THREADS
    batches["network"] = np.arange(len(batches)) * scene.num_networks // len(batches)
    local = rng.uniform(-1, 1, (points, 3)).astype(np.float32)
    unit = rng.normal(size=(points, 3)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    result: dict[str, Any] = {"points": points, "networks": scene.num_networks}
    with device.active():
        there = {
            "batches": device.upload(batches, "batches"),
            "local": device.upload(local, "points"),
            "unit": device.upload(unit, "directions"),
            "out": device.allocate((points, 4), np.float32, "results"),
        }
        for precision in precisions(device):
            networks = device.upload(CudaScene.of(scene, precision).networks, "networks")
            kernel = device.kernel("query.cu", "query", {"KNF_TENSOR_CORES": None} if precision == "float16" else {})
            arguments = (there["batches"], networks, there["local"], there["unit"], there["out"])
            times = timed(device, lambda k=kernel, a=arguments: k.launch(len(batches), THREADS, a), repeats)
            rate = points / (1e-3 * max(statistics.median(times), 1e-6))
            result[precision] = {
                "ms_median": round(statistics.median(times), 4),
                "giga_samples_per_second": round(rate / 1e9, 3),
                "teraflops": round(rate * 2 * MULTIPLICATIONS / 1e12, 2),
            }
    return result


def matrix_rate(device: CudaDevice, arrays: Any, *, size: int = 8192, repeats: int = 10) -> dict[str, Any]:
    """What the machine's own library makes of a square fp16 matrix product; ``arrays`` is cupy."""
    with device.active():
        a = arrays.ones((size, size), np.float16)
        b = arrays.ones((size, size), np.float16)
        c = arrays.empty((size, size), np.float16)
        times = timed(device, lambda: arrays.matmul(a, b, out=c), repeats)
    ms = statistics.median(times)
    return {"size": size, "ms_median": round(ms, 4), "teraflops": round(2 * size**3 / (1e9 * max(ms, 1e-6)), 2)}


def timed(device: CudaDevice, work: Callable[[], object], repeats: int, warm_up: int = 3) -> list[float]:
    """Milliseconds on the device of each run of ``work``; all are started before any is waited for."""
    for _ in range(warm_up):
        work()
    marks = [device.mark()]
    for _ in range(repeats):
        work()
        marks.append(device.mark())
    return [device.milliseconds(begin, end) for begin, end in itertools.pairwise(marks)]


def fused_frames(
    device: CudaDevice, scene: Scene, cameras: Sequence[Camera], options: RenderOptions, *, repeats: int = 20
) -> dict[str, Any]:
    """Frame times of the fused kernel alone, without copies to the host."""
    renderer = CudaRenderer(scene, device)
    picture = {name: HOST[name] for name in PICTURE}
    times, through = [], []
    with device.active():
        for camera in cameras:
            for _ in range(3):
                renderer.launch(camera, options, picture)
            marks = [renderer.launch(camera, options, picture).marks for _ in range(repeats)]
            times += [device.milliseconds(*pair) for pair in marks]
            through.append(device.milliseconds(marks[0][0], marks[-1][1]) / repeats)
    return {
        "ms_median": round(statistics.median(times), 4),
        "ms_min": round(min(times), 4),
        "ms_max": round(max(times), 4),
        "ms_back_to_back": round(statistics.median(through), 4),  # what the host adds between launches included
    }


def baseline_frames(
    baseline: SortedBaseline,
    finish: Callable[[], None],
    cameras: Sequence[Camera],
    options: RenderOptions,
    *,
    repeats: int = 10,
) -> dict[str, Any]:
    """Frame times of the paper's pipeline, by a clock: the host takes part in it."""
    times, stages, last = [], [], None
    for camera in cameras:
        baseline.render(camera, options)
        for _ in range(repeats):
            finish()
            began = time.perf_counter()
            last = baseline.render(camera, options)
            finish()
            times.append(1e3 * (time.perf_counter() - began))
        stages.append(baseline.render(camera, options, stages=True).stages_ms)
    return {
        "ms_median": round(statistics.median(times), 4),
        "ms_min": round(min(times), 4),
        "ms_max": round(max(times), 4),
        "stages_ms": {name: round(statistics.median(s[name] for s in stages), 4) for name in stages[0]},
        "passes": last.passes if last else 0,
        "evaluations": last.evaluations if last else 0,
    }


def side_by_side(
    device: CudaDevice, baseline_device: Device, scene: Scene, cameras: Sequence[Camera], *, repeats: int = 10
) -> dict[str, Any]:
    """The fused kernel and the paper's pipeline on the same frames, ESS and ERT on, and how alike the pictures are."""
    options = RenderOptions.as_trained(scene)
    result: dict[str, Any] = {"size": [cameras[0].width, cameras[0].height], "poses": len(cameras)}
    with device.active():
        baseline = SortedBaseline(scene, baseline_device)
        result["sorted"] = baseline_frames(baseline, baseline_device.finish, cameras, options, repeats=repeats)
        picture = baseline.render(cameras[0], options).rgb
        picture = picture.get() if hasattr(picture, "get") else picture
    for precision in precisions(device):
        chosen = RenderOptions.as_trained(scene, precision=precision)
        fused = fused_frames(device, scene, cameras, chosen, repeats=repeats)
        fused["times_faster"] = round(result["sorted"]["ms_median"] / max(fused["ms_median"], 1e-6), 2)
        fused["psnr_to_sorted"] = decibels(CudaRenderer(scene, device).render(cameras[0], chosen).rgb, picture)
        result[f"fused {precision}"] = fused
    return result


def agreement(device: CudaDevice, scene: Scene, camera: Camera, other: str) -> dict[str, Any]:
    """PSNR of each precision's picture to another backend's, and both sample counts."""
    truth = create_renderer(scene, other).render(camera, RenderOptions.as_trained(scene))
    result: dict[str, Any] = {"size": [camera.width, camera.height], "samples": truth.statistics.samples}
    renderer = CudaRenderer(scene, device)
    for precision in precisions(device):
        frame = renderer.render(camera, RenderOptions.as_trained(scene, precision=precision))
        result[precision] = {
            "psnr": decibels(frame.rgb, truth.rgb),
            "largest_difference": round(float(np.abs(frame.rgb - truth.rgb).max()), 6),
            "samples": frame.statistics.samples,
            "evaluations": frame.statistics.evaluations,
        }
    return result
