"""Which samples a ray takes in training: those in occupied voxels (empty-space skipping), stratified or as rendered.

Without a seed they are the very samples that the renderers take (``kernels/sampling.py``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.kernels.native.grid import as_bytes, native_grid, native_steps
from kilonerf.kernels.sampling import SampleSteps, positions
from kilonerf.model_io import Scene, TrainingError
from kilonerf.model_io.scene.cells import Cells
from kilonerf.model_io.scene.sampling import Sampling

from ..ops.cuda import cuda_for
from ..ops.native import current_settings, extension, native_for
from .cuda_sampler import CudaRaySampler

_POSITIONS_AT_ONCE = 1 << 20  # bounds the memory of the plain twin
_UINT64 = 2**64


@dataclass(frozen=True)
class RaySamples:
    """Samples of R rays, ray by ray and front to back: what the networks and ``composite`` take.

    Attributes:
        offsets: int64 [R + 1]; the samples of ray r are ``offsets[r] : offsets[r + 1]``.
        points: float32 [S, 3], coordinates within the network's cell, -1 to 1.
        directions: float32 [S, 3], unit vectors.
        network_index: int32 [S].
        distance: float32 [S], world units from one sample to the next, step * |direction|.
        depth: float32 [S], z-depth.
    """

    offsets: torch.Tensor
    points: torch.Tensor
    directions: torch.Tensor
    network_index: torch.Tensor
    distance: torch.Tensor
    depth: torch.Tensor

    def to(self, device: torch.device | str) -> "RaySamples":
        """The same on a device."""
        return RaySamples(**{name: tensor.to(device) for name, tensor in vars(self).items()})


class RaySampler:
    """Takes samples t_k = near + k * step of rays, k = 0 .. num_samples - 1, where a voxel is occupied.

    Args:
        cells: the grid: which voxels are occupied, and which cells have a network; or those of nested levels.
        sampling: near, far and the number of samples.

    Raises:
        TrainingError: the grids do not fit, or fewer than two samples.
    """

    def __init__(self, cells: Cells | Sequence[Cells], sampling: Sampling) -> None:
        self.levels = (cells,) if isinstance(cells, Cells) else tuple(cells)
        self.cells = self.levels[0]
        occupancy, network_index = self.cells.occupancy, self.cells.network_index
        if any(o % r or not o for o, r in zip(occupancy.shape, network_index.shape, strict=True)):
            expected = f"a multiple of {network_index.shape}"
            raise TrainingError(f"occupancy: expected {expected} voxels, got {occupancy.shape}")
        if sampling.num_samples < 2 or not sampling.near < sampling.far:
            got = f"{sampling.near} to {sampling.far}, {sampling.num_samples}"
            raise TrainingError(f"samples: expected near < far and 2 or more, got {got}")
        self.steps = SampleSteps.as_trained(sampling)
        self._native = self._prepared()
        self._cuda: CudaRaySampler | None = None
        self._densities: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, scene: Scene) -> "RaySampler":
        """Samples as ``scene`` was trained with."""
        return cls(scene.levels, scene.sampling)

    def sample(
        self,
        origins: torch.Tensor | NDArray[np.float32],  # [R, 3]
        directions: torch.Tensor | NDArray[np.float32],  # [R, 3]
        seed: int | None = None,
        *,
        first_ray: int = 0,
        min_transmittance: float = 0.0,
    ) -> RaySamples:
        """Samples of rays.

        Args:
            origins: in world units.
            directions: not normalised: the ray parameter is z-depth.
            seed: None: samples as rendered. Else each lies anywhere in its own step, half a step before t_k to half a
                step behind it, by a number that depends on (seed, ray, k) only; none before near or behind far.
            first_ray: the number of the first ray: parts of a batch take the samples that the whole would.
            min_transmittance: a ray ends with the sample at which its transmittance by :meth:`set_densities` falls
                below this. 0: rays do not end.

        Raises:
            TrainingError: shapes do not fit.
        """
        if origins.ndim != 2 or origins.shape[1:] != (3,) or origins.shape != directions.shape:
            raise TrainingError(
                f"rays: expected [R, 3] twice, got {tuple(origins.shape)} and {tuple(directions.shape)}"
            )
        seed = None if seed is None else seed % _UINT64
        thickness = -math.log(min_transmittance) if min_transmittance > 0 else math.inf
        if self._cuda is not None:
            return RaySamples(
                *self._cuda.sample(torch.as_tensor(origins), torch.as_tensor(directions), seed, first_ray, thickness)
            )
        # They are on the GPU even if there are no kernels for it: without CuPy.
        origins, directions = (
            np.ascontiguousarray(vectors.cpu() if isinstance(vectors, torch.Tensor) else vectors, np.float32)
            for vectors in (origins, directions)
        )
        if native_for() is None or self._native is None:
            return self._sample_plainly(origins, directions, seed, first_ray, thickness)
        threads = current_settings().thread_count()
        arrays = extension.sample_rays(self._native, origins, directions, seed, first_ray, thickness, threads)
        return RaySamples(*map(torch.from_numpy, arrays))

    @cached_property
    def voxels(self) -> NDArray[np.int64]:
        """The V voxels that count, occupied ones of cells with a network, [V, 3] in C order, level after level."""
        return np.concatenate(self._voxels_of_levels)

    @cached_property
    def _voxels_of_levels(self) -> list[NDArray[np.int64]]:
        found = [(cells, np.argwhere(cells.occupancy)) for cells in self.levels]
        return [voxels[cells.networks_of(voxels) >= 0] for cells, voxels in found]

    def set_densities(self, densities: NDArray[np.float32]) -> None:
        """Say about how dense the voxels are, so that rays can end where they see no farther.

        Args:
            densities: float32 [V], per world unit, of ``voxels``; zero before the first call.

        Raises:
            TrainingError: they are of other voxels.
        """
        if densities.shape != (len(self.voxels),):
            raise TrainingError(f"densities: expected [{len(self.voxels)}], got {list(densities.shape)}")
        densities = np.ascontiguousarray(densities, np.float32)
        self._densities = densities
        if self._native is not None:
            for level, part in zip(self._native, self._by_level(densities), strict=True):
                level.set_densities(part)
        if self._cuda is not None:
            self._cuda.set_densities(self._by_level(densities))

    def _by_level(self, densities: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Densities of ``voxels`` in one part for each level."""
        ends = np.cumsum([len(voxels) for voxels in self._voxels_of_levels])
        return np.split(densities, ends[:-1])

    def to_device(self, device: torch.device | str) -> "RaySampler":
        """Take samples on this device from now on, if there are kernels for it; returns itself.

        Raises:
            BackendError: CuPy is installed and cannot use the device.
        """
        where = torch.empty(0, device=device)
        if (cuda := cuda_for(where)) is not None:
            self._cuda = CudaRaySampler(cuda.device, where.device, self.levels, self.steps, self._voxels_of_levels)
            if self._densities is not None:
                self._cuda.set_densities(self._by_level(self._densities))
        return self

    def _prepared(self) -> Any:
        """The native sampler, or None without the extension."""
        if extension is None:
            return None
        return [
            extension.make_ray_sampler(
                grid=as_bytes(native_grid(cells)),
                steps=as_bytes(native_steps(self.steps.of_level(level))),
                occupancy=np.ascontiguousarray(cells.occupancy, np.bool_),
                network_index=np.ascontiguousarray(cells.network_index, np.int32),
            )
            for level, cells in enumerate(self.levels)
        ]

    def _sample_plainly(
        self,
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        seed: int | None,
        first_ray: int,
        most_thickness: float,
    ) -> RaySamples:
        """The plain twin: tests every sample of every ray."""
        chunk = max(1, _POSITIONS_AT_ONCE // (self.steps.last + 1))
        densities = [np.zeros(cells.occupancy.shape, np.float32) for cells in self.levels]
        if self._densities is not None:
            parts_of_levels = self._by_level(self._densities)
            for grid, voxels, part in zip(densities, self._voxels_of_levels, parts_of_levels, strict=True):
                grid[tuple(voxels.T)] = part
        parts = [
            self._rays_plainly(
                np.arange(begin, min(begin + chunk, len(origins))),
                origins,
                directions,
                seed,
                first_ray,
                densities,
                most_thickness,
            )
            for begin in range(0, max(1, len(origins)), chunk)
        ]
        counts, *arrays = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
        return RaySamples(*map(torch.from_numpy, (offsets, *arrays)))

    def _rays_plainly(
        self,
        rays: NDArray[np.int64],
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        seed: int | None,
        first_ray: int,
        densities: list[NDArray[np.float32]],
        most_thickness: float,
    ) -> tuple[NDArray, ...]:
        """Samples per ray, and the arrays of RaySamples but for the offsets."""
        o, d = origins[rays], directions[rays]
        found = [
            self._level_plainly(level, rays, o, d, seed, first_ray, densities[level])
            for level in range(len(self.levels))
        ]
        ray, t, points, network, distance, thickness = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((t, ray))  # stable: of two levels' samples at one depth, the inner level's is first
        ray, t, points, network, distance, thickness = (
            column[order] for column in (ray, t, points, network, distance, thickness)
        )
        counts = np.bincount(ray, minlength=len(rays))
        slot = np.arange(len(ray)) - np.repeat(np.cumsum(counts) - counts, counts)
        padded = np.zeros((len(rays), int(counts.max(initial=0)) + 1))
        padded[ray, slot + 1] = thickness
        seen = padded.cumsum(axis=1)[ray, slot] <= most_thickness
        ray = ray[seen]
        length = _lengths(d)
        return (
            np.bincount(ray, minlength=len(rays)),
            points[seen],
            (d / length[:, None])[ray],
            network[seen],
            distance[seen],
            t[seen],
        )

    def _level_plainly(
        self,
        level: int,
        rays: NDArray[np.int64],
        o: NDArray[np.float32],
        d: NDArray[np.float32],
        seed: int | None,
        first_ray: int,
        densities: NDArray[np.float32],
    ) -> tuple[NDArray, ...]:
        """Ray, depth, place in its cell, network, distance and thickness of each sample of one level."""
        cells, steps = self.levels[level], self.steps.of_level(level)
        k = np.arange(steps.last + 1)
        index = np.broadcast_to(k.astype(np.float32), (len(rays), len(k)))
        if seed is not None:
            index = index + (_random_numbers(seed, first_ray + rays, k, level) - np.float32(0.5))
        t = steps.t(np.clip(index, np.float32(0), np.float32(steps.last)))
        points = positions(o[:, None], d[:, None], t)
        network, places = cells.networks_at(points)
        voxel = cells.locate(points)[1]
        ray, column = np.nonzero(network >= 0)
        distance = (_lengths(d) * steps.step)[ray]
        return (
            ray,
            t[ray, column],
            cells.local(points[ray, column], places[ray, column]).astype(np.float32),
            network[ray, column],
            distance,
            densities[tuple(voxel[ray, column].T)].astype(np.float64) * distance,
        )


def _lengths(d: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.sqrt((d[:, 0] * d[:, 0] + d[:, 1] * d[:, 1]) + d[:, 2] * d[:, 2])


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood 2014); sums and products modulo 2^64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _random_numbers(seed: int, rays: NDArray[np.int64], k: NDArray[np.int64], level: int) -> NDArray[np.float32]:
    """Numbers in [0, 1) for each ray and k, float32 [R, K]."""
    keys = _mixed(np.uint64(seed) ^ _mixed(rays.astype(np.uint64)))
    if level:
        keys = _mixed(keys + np.uint64(level))
    top = _mixed(keys[:, None] + k.astype(np.uint64)) >> np.uint64(40)
    return top.astype(np.float32) * np.float32(2.0**-24)
