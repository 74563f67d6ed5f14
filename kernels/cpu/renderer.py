"""The native CPU backend: the fused renderer in C++ (kernels/cpu), any number of threads."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import BackendError, Camera, KiloNeRFScene, OctreeScene, Scene

from ..frame import Frame, FrameStatistics
from ..native.folding import folded_layers
from ..native.grid import as_bytes, cropped_cells, native_cells, native_grid, voxel_words
from ..options import PrecisionChoice, RenderOptions
from ..renderer import LOOKUPS, PER_RAY, PICTURE, CancelToken, Output, RenderCancelled, check_outputs
from ..sampling import SampleSteps, cropped_levels, ray_origin
from .octree_field import native_field
from .paths import available_cpu_paths

PRECISIONS: dict[PrecisionChoice, tuple[str, ...]] = {
    "int8": ("int8",),
    "float16": ("int16", "bfloat16"),
    "float32": ("float32",),
}
"""What an option means here."""


def usable_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every platform
        return os.cpu_count() or 1


class CpuRenderer:
    """Renders cell by cell, front to back, in C++; takes the same samples as the reference.

    Args:
        scene: what to render.
        threads: None: one per usable core. The picture does not depend on it, bit for bit.
        path: code path: "auto" (the best that the machine has) or one of
            :func:`~kilonerf.kernels.cpu.paths.available_cpu_paths`. Frames whose options ask for another precision, and
            queries, which are in float32, take the best path that has it.
        fallback: why it is the CPU that renders, as in :class:`kilonerf.kernels.Renderer`.

    Raises:
        BackendError: the extension is missing, or the machine cannot run ``path``.
    """

    backend = "cpu"
    outputs = PICTURE | PER_RAY | LOOKUPS

    def __init__(self, scene: Scene, *, threads: int | None = None, path: str = "auto", fallback: str = "") -> None:
        try:
            from .. import _cpu
        except ImportError as error:
            raise BackendError(f"backend 'cpu': the native extension does not load: {error}") from error
        self.scene, self.fallback = scene, fallback
        self._extension = _cpu
        # Leaves of all levels are numbered one after the other.
        self._first_cells = np.cumsum([0, *(len(cells.leaves) for cells in scene.levels[:-1])])
        self._cells = {ess: native_cells(*scene.levels, ess=ess) for ess in (True, False)}
        self._cropped: tuple[object, dict[str, NDArray[np.uint8]]] = (None, {})  # for a crop, with ESS or without
        self._threads = usable_cores() if threads is None else threads
        self._native = self._newest = self._prepared(path)
        self._of_precision = {self._native.precision: self._native}

    @property
    def device(self) -> str:
        """Code path (of the newest frame) and threads, for people."""
        return f"{self._newest.title}, {self._threads} thread{'s' if self._threads > 1 else ''}"

    def _prepared(self, path: str) -> Any:
        """The native renderer of a code path; a precision: the best that has it."""
        scene, levels = self.scene, self.scene.levels
        cells: dict[str, Any] = {
            "grids": as_bytes(np.stack([native_grid(cells) for cells in levels])),
            "first_cells": self._first_cells.tolist(),
            "cells": as_bytes(self._cells[True]),
            "full_cells": as_bytes(self._cells[False]),
            "occupancy": np.concatenate([voxel_words(cells) for cells in levels]),
        }
        how: dict[str, Any] = {"threads": self._threads, "path": path}
        try:
            if isinstance(scene, OctreeScene):
                return self._extension.make_octree_renderer(**cells, **native_field(scene), **how)
            if not isinstance(scene, KiloNeRFScene):
                expected = "a scene of a kind that it knows"
                raise BackendError(f"backend 'cpu': expected {expected}, got {type(scene).__name__}")
            layers = {name: np.ascontiguousarray(own, np.float32) for name, own in folded_layers(scene.layers).items()}
            return self._extension.make_renderer(**cells, layers=layers, sky=scene.sky, step=scene.step, **how)
        except ValueError as error:
            raise BackendError(f"backend 'cpu': {error}") from error

    def _cells_in_crop(self, options: RenderOptions) -> dict[str, NDArray[np.uint8]]:
        """Grids and cells in place of the scene's own; none without a crop."""
        key = (options.crop, options.ess)
        if options.crop is None:
            return {}
        if self._cropped[0] != key:
            levels = cropped_levels(self.scene, options)
            grids = np.stack([native_grid(cells) for cells in levels])
            cells = cropped_cells(self._cells[options.ess], levels)
            self._cropped = key, {"grids": as_bytes(grids), "cells": as_bytes(cells)}
        return self._cropped[1]

    def _in(self, choice: PrecisionChoice) -> Any:
        """The native renderer for an option: this one if its precision is meant, else the best that is."""
        if choice == "auto" or not isinstance(self.scene, KiloNeRFScene):  # octree fields have one precision
            return self._native
        wanted = PRECISIONS[choice]
        if self._native.precision in wanted:
            return self._native
        able = {path.precision for path in available_cpu_paths()}
        precision = next((precision for precision in wanted if precision in able), None)
        if precision is None and choice == "int8":
            raise BackendError("backend 'cpu': precision int8 needs AVX2, which this machine has not: use auto")
        if precision is None:
            return self._native
        if precision not in self._of_precision:
            self._of_precision[precision] = self._prepared(precision)
        return self._of_precision[precision]

    def render(
        self,
        camera: Camera,
        options: RenderOptions,
        outputs: frozenset[Output] = PICTURE,
        *,
        on_device: bool = False,
        cancel: CancelToken | None = None,
    ) -> Frame:
        """See :meth:`kilonerf.kernels.Renderer.render`; its pictures are on the host anyway."""
        check_outputs(self, outputs, on_device=on_device)
        steps = SampleSteps.of(self.scene, options)
        rgb = np.empty((camera.height, camera.width, 3), np.float32)
        alpha = np.empty((camera.height, camera.width), np.float32)
        depth = np.empty((camera.height, camera.width), np.float32)
        counts = None if outputs <= PICTURE else np.empty((3, camera.height, camera.width), np.int32)
        self._newest = self._in(options.precision)
        result = self._newest.render(
            width=camera.width,
            height=camera.height,
            origin=ray_origin(camera, self.scene).tolist(),
            rotation=camera.matrix[:3, :3].ravel().tolist(),
            lens=(camera.fx, camera.fy, camera.cx, camera.cy),
            near=float(steps.near),
            step=float(steps.step),
            last=float(steps.last),
            ess=options.ess,
            ert=options.ert,
            ert_threshold=options.ert_threshold,
            background=options.background,
            sky=options.sky,
            rgb=rgb,
            alpha=alpha,
            depth=depth,
            counts=counts,
            cancel=(cancel or CancelToken()).flag,
            **self._cells_in_crop(options),
        )
        if result["cancelled"]:
            raise RenderCancelled
        statistics = FrameStatistics(
            samples=result["samples"],
            evaluations=result["evaluations"],
            evaluations_by_level=tuple(result["samples_of_level"]),
            rays=camera.width * camera.height,
            rays_hit=result["rays_hit"],
            total_ms=result["total_ms"],
            stages_ms=result["stages_ms"],
            threads=self._threads,
        )
        if counts is None:
            return Frame(rgb, alpha, depth, statistics)
        samples, network, lookups = (
            array if name in outputs else None
            for name, array in zip(("samples", "network", "lookups"), counts, strict=True)
        )
        return Frame(rgb, alpha, depth, statistics, samples, network, lookups)

    def query(
        self,
        points: NDArray[np.float32],  # [P, 3]
        directions: NDArray[np.float32],  # [P, 3]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See :meth:`kilonerf.kernels.Renderer.query`."""
        points = np.ascontiguousarray(points, np.float32).reshape(-1, 3)
        directions = np.ascontiguousarray(directions, np.float32).reshape(-1, 3)
        rows = np.full(len(points), -1, np.int32)
        for cells, first in zip(self.scene.levels, self._first_cells, strict=True):
            network, place = cells.networks_at(points)
            rows = np.where(network >= 0, cells.leaf_numbers[tuple(place.T)] + first, rows)
        rgb = np.empty((len(points), 3), np.float32)
        density = np.empty(len(points), np.float32)
        self._in("float32").query(np.ascontiguousarray(rows, np.int32), points, directions, rgb, density)
        return rgb, density

    def network_rate(self, samples: int, seconds: float) -> float:
        """Samples a second that the networks alone evaluate, by all threads together, with nothing around them.

        Args:
            samples: of each network at a time, at most 4096.
            seconds: how long to measure.

        Raises:
            ValueError: the scene has no networks, or ``samples`` is out of range.
        """
        networks = self.scene.num_networks if isinstance(self.scene, KiloNeRFScene) else 0
        if not networks or not 0 < samples <= 4096:
            raise ValueError(f"network_rate: expected networks, and 1 to 4096 samples, got {samples}")
        return self._native.network_rate(samples, seconds, networks)
