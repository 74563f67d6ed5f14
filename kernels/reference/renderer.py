"""The reference renderer: plain NumPy, the truth that every other backend is compared with."""

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import BackendError, Camera, KiloNeRFScene, OctreeScene, Scene
from kilonerf.model_io.scene.box import Box
from kilonerf.model_io.scene.cells import Cells, Floats
from kilonerf.model_io.scene.sky import sky_colors

from ..frame import Frame, FrameStatistics
from ..options import RenderOptions
from ..renderer import PER_RAY, PICTURE, CancelToken, Output, RenderCancelled, check_outputs
from ..sampling import SampleSteps, cropped_levels, positions, ray_directions, ray_origin
from .networks import NetworksEvaluator
from .octree import OctreeEvaluator

POSITIONS_AT_ONCE = 1 << 21  # bounds the memory of a chunk of rays


class ReferenceRenderer:
    """Renders with NumPy in one thread.

    Sample points and all decisions are float32 (:mod:`kilonerf.kernels.sampling`); ``dtype`` is the precision
    of the networks and of compositing.
    """

    backend = "reference"
    outputs = PICTURE | PER_RAY
    fallback = ""

    def __init__(self, scene: Scene, dtype: type[np.floating] = np.float32) -> None:
        self.scene = scene
        self.dtype = dtype
        self.device = f"NumPy {np.__version__}, {dtype.__name__}"
        self._evaluator = _evaluator(scene, dtype)

    def query(
        self,
        points: NDArray[np.float32],  # [P, 3]
        directions: NDArray[np.float32],  # [P, 3]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See :meth:`kilonerf.kernels.Renderer.query`."""
        points = np.asarray(points, np.float32).reshape(-1, 3)
        directions = np.asarray(directions, np.float32).reshape(-1, 3)
        rgb = np.zeros((len(points), 3), np.float32)
        density = np.zeros(len(points), np.float32)
        for cells in self.scene.levels:
            network, place = cells.networks_at(points)
            active = np.flatnonzero(network >= 0)
            local = self._evaluator.local(cells, points[active], place[active])
            rgb[active], density[active] = self._evaluator.evaluate(network[active], local, directions[active])
        return rgb, density

    def render(
        self,
        camera: Camera,
        options: RenderOptions,
        outputs: frozenset[Output] = PICTURE,
        *,
        on_device: bool = False,
        cancel: CancelToken | None = None,
    ) -> Frame:
        """See :meth:`kilonerf.kernels.Renderer.render`; it has no device of its own."""
        check_outputs(self, outputs, on_device=on_device)
        started = time.perf_counter()
        steps = SampleSteps.of(self.scene, options)
        width, height = camera.width, camera.height
        rgb = np.empty((height, width, 3), np.float32)
        alpha = np.empty((height, width), np.float32)
        depth = np.empty((height, width), np.float32)
        samples = np.empty((height, width), np.int32)
        network = np.empty((height, width), np.int32)
        evaluations = np.zeros(len(self.scene.levels), np.int64)
        for y in range(height if width else 0):
            if cancel is not None and cancel.cancelled:
                raise RenderCancelled
            directions = ray_directions(camera, slice(y, y + 1))[0]
            rays, network[y], found = self._trace(ray_origin(camera, self.scene), directions, steps, options)
            background = np.asarray(options.background, self.dtype)
            if options.sky and self.scene.sky is not None:  # which rays that ended early do not reach
                background = np.where(rays.ended[:, None], background, sky_colors(self.scene.sky, directions))
            rgb[y] = rays.color + (1 - rays.opacity)[:, None] * background
            alpha[y], depth[y], samples[y] = rays.opacity, rays.depth, rays.samples
            evaluations += found
        total_ms = (time.perf_counter() - started) * 1e3
        statistics = FrameStatistics(
            samples=int(samples.sum()),
            evaluations=int(evaluations.sum()),
            evaluations_by_level=tuple(evaluations.tolist()),
            rays=width * height,
            rays_hit=int((samples > 0).sum()),
            total_ms=total_ms,
            stages_ms={"all": total_ms},
        )
        return Frame(
            rgb,
            alpha,
            depth,
            statistics,
            samples if "samples" in outputs else None,
            network if "network" in outputs else None,
        )

    def _trace(
        self,
        origin: Floats,  # [3]
        directions: Floats,  # [R, 3]
        steps: SampleSteps,
        options: RenderOptions,
    ) -> tuple["_Rays", NDArray[np.int32], NDArray[np.int64]]:
        """What rays see; the network of each ray's first sample, -1 for none, [R]; evaluations by level."""
        rays, levels = len(directions), cropped_levels(self.scene, options)
        found = [
            _samples_of_level(origin, directions, steps.of_level(number), cells, ess=options.ess)
            for number, cells in enumerate(levels)
        ]
        ray, index = (np.concatenate(column) for column in zip(*found, strict=True))
        level = np.repeat(np.arange(len(found)), [len(rays_found) for rays_found, _ in found])
        order = np.lexsort((index << level, ray))
        ray, index, level = ray[order], index[order], level[order]

        t = np.empty(len(ray), np.float32)
        local = np.empty((len(ray), 3), np.float32)
        network = np.empty(len(ray), np.int32)
        for number, cells in enumerate(levels):
            own = level == number
            t[own] = steps.of_level(number).t(index[own])
            points = positions(origin, directions[ray[own]], t[own])
            network[own], place = cells.networks_at(points, ess=options.ess)
            local[own] = self._evaluator.local(cells, points, place)
        norms = np.sqrt((directions.astype(self.dtype) ** 2).sum(-1))
        unit = directions / norms[:, None]
        rgb, density = self._evaluator.evaluate(network, local, unit[ray])
        sample_alpha = 1 - np.exp(-density * (norms[ray] * (steps.step * np.float32(2) ** level).astype(np.float32)))
        first_network = np.full(rays, -1, np.int32)
        hit, first_sample = np.unique(ray, return_index=True)
        first_network[hit] = network[first_sample]
        seen = _composite(rays, ray, sample_alpha, rgb, t, options)
        return seen, first_network, np.bincount(level, minlength=len(found))


def _evaluator(scene: Scene, dtype: type[np.floating]) -> NetworksEvaluator | OctreeEvaluator:
    if isinstance(scene, KiloNeRFScene):
        return NetworksEvaluator(scene, dtype)
    if isinstance(scene, OctreeScene):
        return OctreeEvaluator(scene, dtype)
    raise BackendError(f"backend 'reference': expected a scene of a kind that it knows, got {type(scene).__name__}")


class _Rays(NamedTuple):
    """What rays see before the background.

    Attributes:
        color: [R, 3], premultiplied.
        opacity: [R].
        depth: [R], inf where the opacity is 0.
        samples: [R], how many were taken.
        ended: [R], whether the ray ended early.
    """

    color: NDArray[Any]
    opacity: NDArray[Any]
    depth: NDArray[Any]
    samples: NDArray[np.integer]
    ended: NDArray[np.bool_]


def _samples_of_level(
    origin: Floats,  # [3]
    directions: Floats,  # [R, 3]
    steps: SampleSteps,
    cells: Cells,
    *,
    ess: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ray and index, among the samples of its level, of each sample that counts."""
    rays = len(directions)
    first, last = _index_range(origin, directions, steps, cells.box if cells.crop is None else cells.crop)
    length = int(np.maximum(last - first + 1, 0).max(initial=0))
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    chunk = max(1, POSITIONS_AT_ONCE // max(1, rays))
    for begin in range(0, length, chunk):
        index = first[:, None] + np.arange(begin, min(begin + chunk, length))
        points = positions(origin, directions[:, None], steps.t(index))
        network, _ = cells.networks_at(points.reshape(-1, 3), ess=ess)
        counts = (network.reshape(index.shape) >= 0) & (index <= last[:, None])
        ray, column = np.nonzero(counts)
        parts.append((ray, index[ray, column]))
    ray, index = (np.concatenate(column) for column in zip(*parts, strict=True))
    return ray, index


def _index_range(
    origin: Floats, directions: Floats, steps: SampleSteps, box: Box
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last sample index [R] that can lie in the box: two samples too many at either end, never too few."""
    d = directions.astype(np.float64)
    d = np.where(np.abs(d) < 1e-12, 1e-12, d)
    to_low = (box.min.astype(np.float64) - origin) / d
    to_high = (box.max.astype(np.float64) - origin) / d
    enter = np.minimum(to_low, to_high).max(-1)
    leave = np.maximum(to_low, to_high).min(-1)
    limit = float(steps.last)
    first = np.clip((enter - steps.near) / steps.step - 2, 0, limit + 1)
    last = np.clip((leave - steps.near) / steps.step + 2, -1, limit)
    return np.floor(first).astype(np.int64), np.floor(last).astype(np.int64)


def _composite(
    rays: int,
    ray: NDArray[np.integer],  # [S], ascending
    alpha: NDArray[np.floating],  # [S]
    rgb: NDArray[np.floating],  # [S, 3]
    t: Floats,  # [S]
    options: RenderOptions,
) -> _Rays:
    """Front-to-back compositing (KiloNeRF Eq. 1), ending a ray after the sample that brings T below epsilon."""
    dtype = alpha.dtype
    found = np.bincount(ray, minlength=rays)
    slot = np.arange(len(ray)) - np.repeat(np.cumsum(found) - found, found)
    padded = np.zeros((rays, int(found.max(initial=0))), dtype)
    padded[ray, slot] = alpha
    transmittance = np.cumprod(1 - padded, axis=1, dtype=dtype)
    before = np.concatenate([np.ones((rays, 1), dtype), transmittance[:, :-1]], axis=1)[ray, slot]
    taken = before >= options.ert_threshold if options.ert else np.ones(len(ray), bool)
    weight = np.where(taken, before * alpha, 0)

    color = np.zeros((rays, 3), dtype)
    np.add.at(color, ray, weight[:, None] * rgb)
    opacity = np.bincount(ray, weight, minlength=rays).astype(dtype)
    with np.errstate(invalid="ignore", divide="ignore"):
        depth = np.where(opacity > 0, np.bincount(ray, weight * t, minlength=rays) / opacity, np.inf)
    ended = np.asarray((transmittance < options.ert_threshold).any(1) & options.ert, np.bool_)
    return _Rays(color, opacity, depth, np.bincount(ray[taken], minlength=rays), ended)
