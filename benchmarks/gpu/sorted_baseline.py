"""The paper's pipeline, to measure the fused renderer against; a benchmark only, not a backend.

KiloNeRF (section 3.3 and the supplement) makes a frame in passes. In each pass every active ray collects its next 8
occupied samples; the samples are sorted by network, evaluated with one block per network, put back in the order of
the rays, and integrated. Passes go on until no ray is active; a ray ends only between passes, so up to 7 samples are
evaluated after the one that ended it. Sample positions are those of every other backend.
"""

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import RenderOptions
from kilonerf.kernels.cuda.cupy_device import toolkit_headers
from kilonerf.kernels.cuda.device import INCLUDE_FOLDERS, OPTIONS, sources_digest
from kilonerf.kernels.cuda.frame_setup import FrameSetup
from kilonerf.kernels.cuda.scene import CudaScene
from kilonerf.model_io import Camera, KiloNeRFScene, UsageError

SOURCE = Path(__file__).resolve().parent / "sorted_baseline.cu"
THREADS = 192  # of a block, as in the source
PER_PASS = 8
KERNELS = ("collect", "evaluate", "scatter", "integrate")
STAGES: tuple[str, ...] = ("collect", "sort", "networks", "scatter", "integrate")


class Device(Protocol):
    """Where the pipeline runs: NumPy's functions on its arrays, and launches of the kernels in ``SOURCE``."""

    arrays: Any  # cupy, or numpy where tests execute the kernels on the CPU

    def launch(self, kernel: str, blocks: int, arguments: Sequence[Any]) -> None:
        """Start a kernel with ``THREADS`` threads a block."""
        ...

    def finish(self) -> None:
        """Wait for everything that was started."""
        ...


class CupyBaselineDevice:
    """The current CUDA device, through CuPy."""

    def __init__(self) -> None:
        self.arrays = cupy = importlib.import_module("cupy")
        includes = [f"-I{folder}" for folder in (*INCLUDE_FOLDERS, *toolkit_headers())]
        # CuPy's cache does not look at what a source includes.
        options = (*OPTIONS, f"-DKNF_SOURCES={sources_digest()}", *includes)
        module = cupy.RawModule(code=SOURCE.read_text(), options=options)
        self._kernels = {name: module.get_function(name) for name in KERNELS}

    def launch(self, kernel: str, blocks: int, arguments: Sequence[Any]) -> None:
        """See :class:`Device`."""
        self._kernels[kernel]((blocks,), (THREADS,), tuple(arguments))

    def finish(self) -> None:
        """See :class:`Device`."""
        self.arrays.cuda.get_current_stream().synchronize()


@dataclass(frozen=True, eq=False)
class BaselineFrame:
    """One picture, on the device.

    Attributes:
        rgb: float32 [H, W, 3], background included.
        alpha: float32 [H, W].
        evaluations: networks evaluated.
        passes: that it took.
        stages_ms: by stage, if asked for.
    """

    rgb: Any
    alpha: Any
    evaluations: int
    passes: int
    stages_ms: dict[str, float]


class SortedBaseline:
    """Renders one scene as the paper does.

    Args:
        scene: what to render.
        device: where.
    """

    def __init__(self, scene: KiloNeRFScene, device: Device) -> None:
        self.scene = scene
        self._device = device
        self._layout = CudaScene.of(scene, "float32")
        self._networks = device.arrays.asarray(
            self._layout.field["networks"].view(np.float32).reshape(scene.num_networks, -1)
        )
        self._voxels = {ess: device.arrays.asarray(_network_of_voxel(scene, ess)) for ess in (True, False)}

    def render(self, camera: Camera, options: RenderOptions, *, stages: bool = False) -> BaselineFrame:
        """Make one frame; ``stages`` measures them, waiting for the device after each.

        Raises:
            UsageError: ray times sample does not fit the 32 bits of a query, as in the original.
        """
        run = _Pass(self, camera, options)
        timer = _StageTimer(self._device.finish if stages else None)
        evaluations = passes = 0
        while run.any_active():
            timer.restart()
            run.collect()
            timer.stage("collect")
            found = run.sort()
            timer.stage("sort")
            passes += 1
            if not found:
                continue
            evaluations += found
            run.evaluate()
            timer.stage("networks")
            run.scatter()
            timer.stage("scatter")
            run.integrate()
            timer.stage("integrate")
        rgb, alpha = run.picture()
        return BaselineFrame(rgb, alpha, evaluations, passes, timer.milliseconds)


class _Pass:
    """The buffers of one frame, and what a pass does to them."""

    def __init__(self, baseline: SortedBaseline, camera: Camera, options: RenderOptions) -> None:
        scene, layout = baseline.scene, baseline._layout
        self._device, self._networks = baseline._device, baseline._networks
        self._voxels = baseline._voxels[options.ess]
        self._camera, self._options = camera, options
        self._frame = FrameSetup(scene, layout, options).aim(camera, 0)
        self._rays = rays = camera.width * camera.height
        indices = int(self._frame["levels"][0]["steps"]["last"]) + 1
        if rays * indices >= 1 << 31:
            raise UsageError(f"sorted baseline: expected fewer than 2^31 sample positions, got {rays} x {indices}")
        xp = self._device.arrays
        self._next_index = xp.zeros(rays, np.int32)
        self._active = xp.ones(rays, np.uint8)
        self._query = xp.zeros(rays * PER_PASS, np.int32)
        self._network = xp.empty(rays * PER_PASS, np.int16)
        self._by_ray = xp.zeros((rays * PER_PASS, 4), np.float32)
        self._rgb = xp.zeros((rays, 3), np.float32)
        self._opacity = xp.zeros(rays, np.float32)
        self._transmittance = xp.ones(rays, np.float32)
        self._numbers = xp.arange(scene.num_networks + 1).astype(np.int16)

    def any_active(self) -> bool:
        """Whether another pass is needed; the host waits for the answer, as in the original."""
        return bool(self._active.any())

    def collect(self) -> None:
        state = (self._next_index, self._active, self._query, self._network)
        self._launch("collect", self._rays, self._frame, self._voxels, *state)

    def sort(self) -> int:
        """Drop the padding and sort by network; returns the number of samples."""
        xp = self._device.arrays
        kept = xp.flatnonzero(self._network >= 0)  # the host waits, to know how many
        if not len(kept):
            return 0
        network = self._network[kept]
        order = xp.argsort(network)
        self._slots = kept[order].astype(np.int32)
        self._sorted_query = self._query[self._slots]
        self._bounds = xp.searchsorted(network[order], self._numbers).astype(np.int32)
        return len(kept)

    def evaluate(self) -> None:
        self._results = self._device.arrays.empty((len(self._slots), 4), np.float32)
        arguments = (self._frame, self._networks, self._bounds, self._sorted_query, self._results)
        self._device.launch("evaluate", len(self._networks), arguments)

    def scatter(self) -> None:
        count = len(self._slots)
        self._launch("scatter", count, self._results, self._slots, np.int32(count), self._by_ray)

    def integrate(self) -> None:
        state = (self._rgb, self._opacity, self._transmittance, self._active)
        self._launch("integrate", self._rays, self._frame, self._network, self._by_ray, *state)

    def picture(self) -> tuple[Any, Any]:
        """Colour with the background [H, W, 3] and opacity [H, W]."""
        size = (self._camera.height, self._camera.width)
        background = self._device.arrays.asarray(self._options.background, np.float32)
        rgb = self._rgb + (1 - self._opacity)[:, None] * background
        return rgb.reshape(*size, 3), self._opacity.reshape(size)

    def _launch(self, kernel: str, threads: int, *arguments: Any) -> None:
        self._device.launch(kernel, -(-threads // THREADS), arguments)


class _StageTimer:
    """Milliseconds by stage; with no way to wait for the device it measures nothing, and costs nothing."""

    def __init__(self, finish: Callable[[], None] | None) -> None:
        self._finish = finish
        self._began = 0.0
        self.milliseconds: dict[str, float] = dict.fromkeys(STAGES, 0.0) if finish else {}

    def restart(self) -> None:
        if self._finish:
            self._finish()
            self._began = time.perf_counter()

    def stage(self, name: str) -> None:
        if self._finish:
            self._finish()
            now = time.perf_counter()
            self.milliseconds[name] += 1000.0 * (now - self._began)
            self._began = now


def _network_of_voxel(scene: KiloNeRFScene, ess: bool) -> NDArray[np.int16]:
    """The network of each voxel, -1 where samples do not count."""
    index = scene.network_index
    for axis, factor in enumerate(scene.occupancy_factor):
        index = np.repeat(index, factor, axis=axis)
    return np.ascontiguousarray(np.where(scene.occupancy, index, -1) if ess else index, np.int16)
