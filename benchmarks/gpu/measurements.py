"""What the GPU check measures on a CUDA device. Every function returns plain numbers, ready for JSON.

Devices are those of :mod:`kilonerf.kernels.cuda.device`, so that tests go through the same lines without a GPU.
"""

import re
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import PICTURE, RenderOptions, create_renderer
from kilonerf.kernels.cuda.device import KERNELS, CudaDevice, Defines, DeviceKernel
from kilonerf.kernels.cuda.memory import pointers
from kilonerf.kernels.cuda.pictures import HOST
from kilonerf.kernels.cuda.queries import BATCH, RAY_BITS
from kilonerf.kernels.cuda.renderer import PER_ROUND, THREADS, CudaRenderer
from kilonerf.kernels.cuda.scene import CudaScene
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.model_io import Camera, KiloNeRFScene, Scene

from .environment import clock_under
from .sorted_baseline import Device, SortedBaseline

Precision = Literal["float16", "float32"]
PRECISIONS: tuple[Precision, ...] = ("float16", "float32")
MULTIPLICATIONS = 63 * 32 + 32 * 32 + 59 * 32 + 32 * 4  # of one sample, the feature layer folded in
TENSOR_CORES = 75
BACKLOG = 3  # launches that the device has yet to do when the first measured one is started
WARM_UP = 0.5  # seconds before each block of measurements: clocks rise


def precisions(device: CudaDevice) -> list[Precision]:
    """Those that the device can do."""
    return [name for name in PRECISIONS if name == "float32" or device.architecture >= TENSOR_CORES]


def decibels(picture: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """PSNR in decibel of pictures cut to [0, 1]; 200 where they are equal, as JSON has no infinity; 0 with a NaN."""
    if not np.isfinite(picture).all():
        return 0.0
    return round(min(200.0, psnr(np.clip(picture, 0, 1), np.clip(truth, 0, 1))), 2)


class Replayable:
    """A device that remembers the last launch, to start it again without the host's work that came before it.

    Args:
        device: does everything.
    """

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self.last: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def kernel(self, source: str, name: str, defines: Defines) -> "_Remembered":
        """See :class:`~kilonerf.kernels.cuda.device.CudaDevice`."""
        return _Remembered(self, self._device.kernel(source, name, defines))


class _Remembered:
    def __init__(self, owner: Replayable, kernel: DeviceKernel) -> None:
        self._owner, self._kernel = owner, kernel

    def blocks_per_multiprocessor(self, threads: int) -> int:
        return self._kernel.blocks_per_multiprocessor(threads)

    def launch(self, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        self._owner.last = partial(self._kernel.launch, blocks, threads, arguments)
        self._owner.last()


def warm_up(device: CudaDevice, work: Callable[[], object], seconds: float) -> int | None:
    """Do ``work`` for at least so long; the clock in MHz that the device's multiprocessors have come to."""
    end = time.perf_counter() + seconds

    def once() -> None:
        work()
        mark = device.mark()
        device.milliseconds(mark, mark)  # waits: a queue of half a second would have to be waited for later

    while time.perf_counter() < end:
        once()
    return clock_under(once, device.index) if seconds else None


def kernel_times(device: CudaDevice, work: Callable[[], object], repeats: int) -> tuple[list[float], float, bool]:
    """Times of ``work``, a launch whose arguments are ready, while the device always has more to do.

    Returns:
        Milliseconds on the device of each run; milliseconds that the host took for each; whether the host was ahead
        all the while: if not, the first number has waits for the host in it.
    """
    for _ in range(BACKLOG):
        work()
    marks: list[tuple[Any, Any]] = []
    began = time.perf_counter()
    for _ in range(repeats):
        begin = device.mark()
        work()
        marks.append((begin, device.mark()))
    each = 1e3 * (time.perf_counter() - began) / repeats
    times = [device.milliseconds(*pair) for pair in marks]
    median = statistics.median(times)
    return times, each, each < median or each * repeats < BACKLOG * median


def network_rate(
    device: CudaDevice, scene: KiloNeRFScene, *, points: int = 1 << 23, repeats: int = 10, seconds: float = 0.0
) -> dict[str, Any]:
    """Samples per second of the networks alone: query.cu on points that lie in the device's memory, cell by cell."""
    rng = np.random.default_rng(0)
    points -= points % THREADS
    batches = np.zeros(points // THREADS, BATCH)
    batches["first"], batches["count"] = np.arange(len(batches)) * THREADS, THREADS
    batches["network"] = np.arange(len(batches)) * scene.num_networks // len(batches)
    local = rng.uniform(-1, 1, (points, 4)).astype(np.float32)
    local.view(np.int32)[:, 3] = RAY_BITS
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
        ways: list[tuple[str, Precision, dict[str, None]]] = [
            (name, name, {"KNF_TENSOR_CORES": None} if name == "float16" else {}) for name in precisions(device)
        ]
        if "float16" in precisions(device):
            ways.append(("float16, fp16 sums", "float16", {"KNF_TENSOR_CORES": None, "KNF_HALF_SUMS": None}))
        for name, precision, defines in ways:
            networks = device.upload(CudaScene.of(scene, precision).field["networks"], "networks")
            kernel = device.kernel("query.cu", "query", defines)
            number, field = np.int32(len(batches)), pointers([networks])
            arguments = (there["batches"], number, field, there["local"], there["unit"], there["out"])
            work = partial(kernel.launch, len(batches), THREADS, arguments)
            clock = warm_up(device, work, seconds)
            times, _, _ = kernel_times(device, work, repeats)
            rate = points / (1e-3 * max(statistics.median(times), 1e-6))
            result[name] = {
                "ms_median": round(statistics.median(times), 4),
                "giga_samples_per_second": round(rate / 1e9, 3),
                "teraflops": round(rate * 2 * MULTIPLICATIONS / 1e12, 2),
                "sm_mhz": clock,
            }
    return result


def matrix_rate(
    device: CudaDevice, arrays: Any, *, size: int = 8192, repeats: int = 10, seconds: float = 0.0
) -> dict[str, Any]:
    """What the machine's own library makes of a square fp16 matrix product; ``arrays`` is cupy."""
    content = (
        np.random.default_rng(0).random((size, size), np.float32).astype(np.float16)
    )  # of ones it takes less power
    with device.active():
        a, b = arrays.asarray(content), arrays.asarray(content[::-1].copy())
        c = arrays.empty((size, size), np.float16)
        clock = warm_up(device, lambda: arrays.matmul(a, b, out=c), seconds)
        times, _, _ = kernel_times(device, lambda: arrays.matmul(a, b, out=c), repeats)
    ms = statistics.median(times)
    rate = round(2 * size**3 / (1e9 * max(ms, 1e-6)), 2)
    return {"size": size, "ms_median": round(ms, 4), "teraflops": rate, "sm_mhz": clock}


def fused_frames(
    device: CudaDevice,
    scene: Scene,
    cameras: Sequence[Camera],
    options: RenderOptions,
    *,
    repeats: int = 20,
    seconds: float = 0.0,
    half_sums: bool = False,
    per_ray: int = PER_ROUND,
) -> dict[str, Any]:
    """Frame times of the fused kernel.

    Returns:
        ``kernel``: on the device, its arguments ready before; ``on_device`` and ``to_host``: by a clock, from the call
        to the finished frame, left in the device's memory or copied to the host; ``host_us``: what the host does for a
        frame; all of them medians over the poses' frames.
    """
    recorder = Replayable(device)
    renderer = CudaRenderer(scene, cast(CudaDevice, recorder), half_sums=half_sums, per_ray=per_ray)
    picture = {name: HOST[name] for name in PICTURE}
    kernel, launches, bare, walls, ahead, clocks = [], [], [], {True: [], False: []}, True, []
    with device.active():
        for camera in cameras:
            launched = renderer.launch(camera, options, picture)  # its memory is written again and again
            assert recorder.last is not None  # noqa: S101
            clocks.append(warm_up(device, recorder.last, seconds))
            times, enqueue, in_time = kernel_times(device, recorder.last, repeats)
            kernel += times
            bare.append(1e3 * enqueue)
            ahead = ahead and in_time
            for _ in range(repeats):
                device.milliseconds(launched.marks[0], device.mark())  # waits
                began = time.perf_counter()
                renderer.launch(camera, options, picture)
                launches.append(1e6 * (time.perf_counter() - began))
    for camera in cameras:
        for on_device, found in walls.items():
            for _ in range(3):
                renderer.render(camera, options, on_device=on_device)
            for _ in range(repeats):
                began = time.perf_counter()
                renderer.render(camera, options, on_device=on_device)
                found.append(1e3 * (time.perf_counter() - began))
    launch, replay = statistics.median(launches), statistics.median(bare)
    return {
        "ms_median": round(statistics.median(kernel), 4),
        "ms_min": round(min(kernel), 4),
        "ms_max": round(max(kernel), 4),
        "on_device_ms": round(statistics.median(walls[True]), 4),
        "to_host_ms": round(statistics.median(walls[False]), 4),
        "host_us": {"launch": round(launch, 1), "of_which_cupy": round(replay, 1)},
        "host_was_ahead": ahead,
        "sm_mhz": clocks[-1],
    }


def frame_counts(device: CudaDevice, scene: Scene, camera: Camera, options: RenderOptions) -> dict[str, Any]:
    """What the fused kernel does for a frame, counted by a kernel of its own; for the model in docs/cuda.md."""
    renderer = CudaRenderer(scene, device, counting=True)
    statistics = renderer.render(camera, options).statistics
    return {
        "samples": statistics.samples,
        "evaluations": statistics.evaluations,
        "rays_hit": statistics.rays_hit,
        **renderer.counts,
    }


def resources(kernel: DeviceKernel) -> dict[str, int]:
    """What the driver says of a loaded kernel; empty where there is no driver (tests)."""
    function = getattr(kernel, "_function", None)  # cupy.RawKernel
    if function is None:
        return {}
    threads = int(function.max_threads_per_block)
    return {
        "registers": int(function.num_regs),
        "shared_bytes": int(function.shared_size_bytes),
        "local_bytes": int(function.local_size_bytes),
        "threads": threads,
        "blocks": kernel.blocks_per_multiprocessor(threads),
    }


def all_resources(device: CudaDevice) -> dict[str, dict[str, int]]:
    """Every kernel of the program as the device's driver has it, by name and, of the renderer's, precision and kind."""
    found = {}
    with device.active():
        for source in sorted(KERNELS.rglob("*.cu")):
            text, place = source.read_text(), str(source.relative_to(KERNELS))
            kinds: dict[str, dict[str, None]] = {"": {}}
            if '#include "kilonerf/evaluator.cuh"' in text:
                tensor: dict[str, None] = {"KNF_TENSOR_CORES": None}
                operands = {f" {name}": tensor if name == "float16" else {} for name in precisions(device)}
                kinds = operands | {f"{name} octree": {**own, "KNF_OCTREE": None} for name, own in operands.items()}
            for name in re.findall(r'extern "C" __global__ void __launch_bounds__\([^)]*\)\s*(\w+)\(', text):
                for kind, defines in kinds.items():
                    found[name + kind] = resources(device.kernel(place, name, defines))
    return found


def baseline_frames(
    baseline: SortedBaseline,
    finish: Callable[[], None],
    cameras: Sequence[Camera],
    options: RenderOptions,
    *,
    repeats: int = 10,
    seconds: float = 0.0,
) -> dict[str, Any]:
    """Frame times of the paper's pipeline, by a clock: the host takes part in it."""
    times, stages, last = [], [], None
    for camera in cameras:
        end = time.perf_counter() + seconds
        baseline.render(camera, options)
        while time.perf_counter() < end:
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
    device: CudaDevice,
    baseline_device: Device,
    scene: KiloNeRFScene,
    cameras: Sequence[Camera],
    *,
    repeats: int = 10,
    seconds: float = 0.0,
) -> dict[str, Any]:
    """The fused kernel and the paper's pipeline on the same frames, ESS and ERT on, and how alike the pictures are."""
    options = RenderOptions.as_trained(scene)
    result: dict[str, Any] = {"size": [cameras[0].width, cameras[0].height], "poses": len(cameras)}
    with device.active():
        baseline = SortedBaseline(scene, baseline_device)
        result["sorted"] = baseline_frames(
            baseline, baseline_device.finish, cameras, options, repeats=repeats, seconds=seconds
        )
        picture = baseline.render(cameras[0], options).rgb
        picture = picture.get() if hasattr(picture, "get") else picture
    for precision in precisions(device):
        chosen = RenderOptions.as_trained(scene, precision=precision)
        fused = fused_frames(device, scene, cameras, chosen, repeats=repeats, seconds=seconds)
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
            "largest_difference": round(float(np.abs(np.nan_to_num(frame.rgb) - truth.rgb).max()), 6),
            "samples": frame.statistics.samples,
            "evaluations": frame.statistics.evaluations,
        }
    return result
