"""The CUDA backend: one launch per frame of the fused kernel in kernels/cuda/render.cu."""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import BackendError, Camera, KiloNeRFScene, OctreeScene, Scene
from kilonerf.model_io.scene.levels import MAX_LEVELS

from ..frame import Frame, FrameStatistics
from ..options import Crop, RenderOptions
from ..renderer import PER_RAY, PICTURE, CancelToken, Output, RenderCancelled, check_outputs
from ..sampling import cropped_levels, ray_origin
from .device import CudaDevice, DeviceArray, DeviceKernel, array_bytes
from .frame_setup import FrameSetup
from .groups import TILE
from .memory import DeviceMemory, pointers
from .octree.field import ray_part_bytes
from .pace import Pace
from .pictures import HOST, ON_DEVICE, CudaPicture, LaunchedFrame
from .queries import query_points
from .scene import OUTPUT, WRITTEN, CudaScene, Precision

THREADS = TILE * TILE
TENSOR_CORES = 75  # the first architecture whose tensor cores do m16n8k8
MOST_BLOCKS = 2**31 - 1  # of a launch
PER_ROUND = 2  # KNF_PER_RAY in render.cu, unless defined
# Tally in visits.cuh
COUNTS = ("groups", "cells", "tiles", "votes", "visits", "rounds", "batches", "passes", "lookups", "far")
PRECISION_NAMES: dict[Precision, str] = {"float16": "float16 tensor cores", "float32": "float32"}


@dataclass(frozen=True, eq=False)
class _Resident:
    """A scene in the device's memory, in one precision, and the kernels that read it.

    Attributes:
        field: what evaluates samples, as the kernels' ``Evaluator::Arrays``.
        blocks: of ``render`` that are on the device at once.
        query_blocks: the most that ``query`` may be launched with.
    """

    layout: CudaScene
    cells: DeviceArray
    full_cells: DeviceArray
    groups: DeviceArray
    full_groups: DeviceArray
    occupancy: DeviceArray
    field: tuple[DeviceArray, ...]
    render: DeviceKernel
    query: DeviceKernel
    blocks: int
    query_blocks: int

    def arrays(self, order: DeviceArray, ess: bool) -> NDArray[np.void]:
        """The ``SceneArrays`` structure, a 0-dimensional array."""
        cells, groups = (self.cells, self.groups) if ess else (self.full_cells, self.full_groups)
        return pointers((cells, order, groups, self.occupancy, *self.field))


class CudaRenderer:
    """Renders with the fused CUDA kernel.

    A scene is laid out and copied to the device when a frame first needs it in that precision; a frame needs one
    launch and no word from the host. Results are copied back at the end.

    Args:
        scene: what to render.
        device: what to run on; :class:`~kilonerf.kernels.cuda.cupy_device.CupyDevice` on a real one.
        half_sums: sum the hidden layers in fp16, which GeForce's tensor cores do at twice the rate; less exact.
        per_ray: samples that a ray may take in a round, 2 or 4; to be measured.
        counting: count what ``COUNTS`` names, too: for benchmarks, as it takes time.

    Attributes:
        counts: what ``counting`` counted in the last frame of :meth:`render`.

    Raises:
        BackendError: the kernels cannot be compiled, or memory is short.
    """

    backend = "cuda"
    outputs = PICTURE | PER_RAY
    fallback = ""

    def __init__(
        self,
        scene: Scene,
        device: CudaDevice,
        *,
        counting: bool = False,
        half_sums: bool = False,
        per_ray: int = PER_ROUND,
    ) -> None:
        self.scene: Scene = scene
        self.device = device.name
        self._device, self._memory = device, DeviceMemory(device)
        self._residents: dict[Precision, _Resident] = {}
        self._idle_buffers: list[dict[str, DeviceArray]] = []
        self._buffers_of: tuple[int, int] | None = None
        self._order: tuple[object, DeviceArray, int] | None = None
        self._pace = Pace()
        self._setup: tuple[_Resident, FrameSetup] | None = None
        self._crop: tuple[_Resident, Crop | None, _Resident] | None = None  # the scene, and what a crop leaves of it
        self._counting, self._half_sums, self._per_ray = counting, half_sums, per_ray
        self.counts: dict[str, int] = {}
        self._precision: Precision = "float32"
        self._take_precision(RenderOptions())
        with device.active():
            counters = np.zeros((2, 3 + len(COUNTS) + MAX_LEVELS), np.uint64)  # at work, and of the last frame
            self._counters = self._memory.upload(counters, "counters")
            self._next_tile = self._memory.upload(np.zeros(2, np.int32), "tile counters")
            self._counted = self._counters.pointer, self._next_tile.pointer
            self._resident(self._precision)

    def render(
        self,
        camera: Camera,
        options: RenderOptions,
        outputs: frozenset[Output] = PICTURE,
        *,
        on_device: bool = False,
        cancel: CancelToken | None = None,
    ) -> Frame:
        """See :meth:`kilonerf.kernels.Renderer.render`; a long frame can be cancelled between its launches."""
        check_outputs(self, outputs, on_device=on_device)
        _check_token(cancel)
        with self._device.active():
            if on_device:
                launched = self._launch(camera, options, ON_DEVICE, cancel)
                (counters,) = self._device.download([self._counters])
                statistics = self._statistics(launched, options, counters, {})
                return Frame.on_device(CudaPicture(launched, self._device), statistics)
            wanted = {name: HOST[name] for name in HOST if name in outputs | PICTURE}
            launched = self._launch(camera, options, wanted, cancel)
            *arrays, counters = self._device.download([*launched.arrays.values(), self._counters])
            done = self._device.mark()
            statistics = self._statistics(launched, options, counters, {"copy": (launched.marks[1], done)})
        return Frame(**dict(zip(launched.arrays, arrays, strict=True)), statistics=statistics)

    def launch(self, camera: Camera, options: RenderOptions, outputs: Mapping[str, Any]) -> LaunchedFrame:
        """Start a frame, in one launch however long it may take, and return.

        Args:
            camera: from where.
            options: how.
            outputs: what the kernel is to write: shape of a pixel's value and dtype, by the output's name.

        Raises:
            BackendError: the device lacks memory, or what the precision needs.
        """
        return self._launch(camera, options, outputs, in_one=True)

    def _launch(
        self,
        camera: Camera,
        options: RenderOptions,
        outputs: Mapping[str, Any],
        cancel: CancelToken | None = None,
        *,
        in_one: bool = False,
    ) -> LaunchedFrame:
        """Start a frame; one that is expected to be long, or of which nothing is known, in ranges of tiles.

        Raises:
            RenderCancelled: between two ranges, of which none is then under way.
        """
        self._take_precision(options)
        with self._device.active():
            scene = self._resident(self._precision)
            buffers = self._frame_buffers(camera, outputs)
            if options.crop is not None:
                scene = self._in_crop(scene, options)
            order, num_cells = self._cells_in_order(scene.layout, camera, options)
            output = np.array(
                (*(buffers[name].pointer if name in outputs else 0 for name in WRITTEN), *self._counted), OUTPUT
            )
            began = self._device.mark()
            tiles = _tiles(camera)
            if tiles:
                if self._setup is None or self._setup[0] is not scene or self._setup[1].options != options:
                    self._setup = (scene, FrameSetup(self.scene, scene.layout, options))
                arguments = (self._setup[1].aim(camera, num_cells), scene.arrays(order, options.ess), output)
                most = tiles if in_one else self._pace.first_range(_kind(options), tiles, scene.blocks)
                try:
                    self._launch_ranges(scene.render, arguments, tiles, most, scene.blocks, cancel)
                except RenderCancelled:
                    self._device.clear(self._counters)
                    self._idle_buffers.append(buffers)
                    raise
            arrays = {name: buffers[name] for name in outputs}
            launched = LaunchedFrame(camera, arrays, (began, self._device.mark()))
        # Any thread may be the last that holds the frame: to append to a list is safe there.
        weakref.finalize(launched, self._idle_buffers.append, buffers).atexit = False
        return launched

    def _launch_ranges(
        self,
        render: DeviceKernel,
        arguments: tuple[Any, ...],
        tiles: int,
        most: int,
        resident_blocks: int,
        cancel: CancelToken | None,
    ) -> None:
        """Launch all tiles, ``most`` of them first; each launch is waited for before the next, the last is not."""
        frame, first = arguments[0], 0
        while first < tiles:
            end = min(first + most, tiles)
            frame["first_tile"], frame["end_tile"] = first, end
            began = self._device.mark()
            render.launch(min(end - first, resident_blocks), THREADS, arguments)
            if end < tiles:
                took = self._device.milliseconds(began, self._device.mark())
                most = self._pace.next_range(end - first, took, resident_blocks)
                _check_token(cancel)
            first = end

    def query(
        self,
        points: NDArray[np.float32],  # [P, 3]
        directions: NDArray[np.float32],  # [P, 3]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See :meth:`kilonerf.kernels.Renderer.query`."""
        points = np.asarray(points, np.float32).reshape(-1, 3)
        directions = np.asarray(directions, np.float32).reshape(-1, 3)
        with self._device.active():
            scene = self._resident(self._precision)
            return query_points(
                self.scene, points, directions, scene.query, scene.field, scene.query_blocks, self._device
            )

    def _take_precision(self, options: RenderOptions) -> None:
        able = self._device.architecture >= TENSOR_CORES
        if options.precision == "float16" and not able:
            raise BackendError(
                f"backend 'cuda': float16 needs tensor cores of compute capability 7.5 or newer, "
                f"{self._device.name} has {self._device.architecture / 10:.1f}: use float32"
            )
        if options.precision == "int8":
            raise BackendError("backend 'cuda': expected precision auto, float16 or float32, got int8")
        best: Precision = "float16" if able else "float32"
        self._precision = best if options.precision == "auto" else options.precision
        self.device = f"{self._device.name}, {PRECISION_NAMES[self._precision]}"

    def _resident(self, precision: Precision) -> _Resident:
        """The scene on the device, put there if need be."""
        if precision not in self._residents:
            layout = CudaScene.of(self.scene, precision)
            half, octree = precision == "float16", isinstance(self.scene, OctreeScene)
            kind = _defined(KNF_TENSOR_CORES=half, KNF_HALF_SUMS=half and self._half_sums, KNF_OCTREE=octree)
            around = _defined(KNF_NESTED=len(self.scene.levels) > 1, KNF_COUNTERS=self._counting)
            depth = {} if self._per_ray == PER_ROUND else {"KNF_PER_RAY": self._per_ray}
            render = self._device.kernel("render.cu", "render", {**kind, **around, **depth})
            query = self._device.kernel("query.cu", "query", kind)
            blocks, query_blocks = (
                self._device.multiprocessors * max(1, kernel.blocks_per_multiprocessor(THREADS))
                for kernel in (render, query)
            )
            if not octree:
                query_blocks = MOST_BLOCKS
            own = {name: getattr(layout, name) for name in ("cells", "full_cells", "occupancy")}
            own |= {"groups": layout.groups.boxes, "full_groups": layout.full_groups.boxes}
            parts = max(blocks, query_blocks) * ray_part_bytes(half=half) if octree else 0
            size = parts + sum(array.nbytes for array in (*own.values(), *layout.field.values()))
            self._memory.require(size, f"{_content(self.scene)} in {precision}")
            field = [self._memory.upload(array, name) for name, array in layout.field.items()]
            if octree:
                field.append(self._memory.allocate((parts,), np.uint8, "ray parts"))
            there = {name: self._memory.upload(array, name) for name, array in own.items()}
            self._residents[precision] = _Resident(
                layout,
                **there,
                field=tuple(field),
                render=render,
                query=query,
                blocks=blocks,
                query_blocks=query_blocks,
            )
        return self._residents[precision]

    def _in_crop(self, scene: _Resident, options: RenderOptions) -> _Resident:
        """The scene with the cells and groups that the options' crop leaves; copied only when it changes."""
        if self._crop is None or self._crop[:2] != (scene, options.crop):
            layout = scene.layout.cropped(cropped_levels(self.scene, options))
            cropped = replace(
                scene,
                layout=layout,
                cells=self._memory.upload(layout.cells, "cells"),
                full_cells=self._memory.upload(layout.full_cells, "full_cells"),
                groups=self._memory.upload(layout.groups.boxes, "groups"),
                full_groups=self._memory.upload(layout.full_groups.boxes, "full_groups"),
            )
            self._crop = scene, options.crop, cropped
        return self._crop[2]

    def _cells_in_order(self, layout: CudaScene, camera: Camera, options: RenderOptions) -> tuple[DeviceArray, int]:
        """Rows of the cells front to back, and their number; copied only when they change."""
        origin = ray_origin(camera, self.scene)
        key = (options.ess, options.crop, layout.camera_cells(origin))
        if self._order is None or self._order[0] != key:
            rows = layout.order(self.scene, origin, options.ess)
            self._order = (key, self._memory.upload(rows, "order of cells"), len(rows))
        return self._order[1], self._order[2]

    def _frame_buffers(self, camera: Camera, outputs: Mapping[str, Any]) -> dict[str, DeviceArray]:
        """Arrays for a frame of this size that no living frame is in."""
        size = (camera.height, camera.width)
        if self._buffers_of != size:
            self._idle_buffers, self._buffers_of = [], size
        buffers = self._idle_buffers.pop() if self._idle_buffers else {}
        missing = {name: (size + shape, dtype) for name, (shape, dtype) in outputs.items() if name not in buffers}
        if missing:
            need = sum(array_bytes(shape, dtype) for shape, dtype in missing.values())
            self._memory.require(need, f"a picture of {camera.width}x{camera.height}")
            buffers.update(
                {name: self._memory.allocate(shape, dtype, name) for name, (shape, dtype) in missing.items()}
            )
        return buffers

    def _statistics(
        self,
        launched: LaunchedFrame,
        options: RenderOptions,
        counters: NDArray[np.uint64],
        more_stages: Mapping[str, tuple[Any, Any]],
    ) -> FrameStatistics:
        """The figures of a finished frame; stages are pairs of marks."""
        done = counters[1] if _tiles(launched.camera) else np.zeros_like(counters[1])  # of no tiles nothing is launched
        samples, evaluations, hit, *counts = done.tolist()
        levels = len(self.scene.levels)
        by_level = counts[len(COUNTS) :][:levels] if levels > 1 else [evaluations]
        self.counts = dict(zip(COUNTS, counts, strict=False)) if self._counting else {}
        marks = {"kernel": launched.marks, **more_stages}
        stages = {name: self._device.milliseconds(begin, end) for name, (begin, end) in marks.items()}
        self._pace.frame_done(_kind(options), _tiles(launched.camera), stages["kernel"])
        return FrameStatistics(
            samples=samples,
            evaluations=evaluations,
            evaluations_by_level=tuple(by_level),
            rays=launched.camera.width * launched.camera.height,
            rays_hit=hit,
            total_ms=sum(stages.values()),
            stages_ms=stages,
        )


def _tiles(camera: Camera) -> int:
    return -(-camera.width // TILE) * -(-camera.height // TILE)


def _content(scene: Scene) -> str:
    """What a scene is, for a message."""
    if isinstance(scene, KiloNeRFScene):
        return f"a scene of {scene.num_networks} networks"
    return f"an octree field of {int(scene.cells.occupancy.sum())} voxels"


def _defined(**wanted: bool) -> dict[str, None]:
    return {name: None for name, there in wanted.items() if there}


def _kind(options: RenderOptions) -> RenderOptions:
    """Options that frames of about the same cost share."""
    return options.before((0.0, 0.0, 0.0))


def _check_token(cancel: CancelToken | None) -> None:
    if cancel is not None and cancel.cancelled:
        raise RenderCancelled
