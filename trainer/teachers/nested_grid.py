"""The teacher of captures: a sparse voxel field in each of a scene's nested boxes, coarse to fine.

A field as :mod:`.grid`'s, for photos that are taken from inside the scene. Every batch has random colours behind it, or
the sky where pixels look like it, so that nothing else stays transparent; what hovers before the cameras is kept away
by a distortion loss (after Barron et al., Mip-NeRF 360, CVPR 2022, Eq. 15), by the sparse points that cameras saw
through it (:mod:`..data.free_space`), and by leaving out what only few of the views see.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.model_io import Camera
from kilonerf.model_io.scene.box import Box
from kilonerf.model_io.scene.cells import Cells
from kilonerf.model_io.scene.levels import hole, level_box
from kilonerf.model_io.scene.sampling import Sampling

from ..data.bounds import in_camera
from ..data.corrections import PhotoCorrections
from ..data.free_space import FreeSpace
from ..data.photos import Photos, RayBatch, prefetched_batches
from ..data.ray_sampling import RaySampler
from ..data.sky import Sky
from ..loop.schedule import sample_seed
from ..ops.compositing import composite
from ..ops.grid_adam import GridAdam, add_total_variation
from ..ops.sparse_grid import SparseGrid, sparse_grid
from .grid import PHASES, PRUNING_RAYS, SCALES, GridSettings, voxel_numbers

_CHUNK = 1 << 15
_FEWEST_VIEWS = 3  # that see a voxel, for it to hold anything
_MULTIPLE = 16  # of the voxels on each axis in the end, so that holes fit at each scale
_EMPTY_PLACES = 4096  # of a step
_DENSITIES_EVERY = 25  # steps between two looks at the voxels' densities


class NestedGridTeacher:
    """A trained field in each level.

    Args:
        grids: of the levels, the innermost first; their densities are per half of their box's longest side.
        box: of level 0.
    """

    name = "grid"

    def __init__(self, grids: Sequence[SparseGrid], box: Box) -> None:
        self.grids, self.box = tuple(grids), box

    @classmethod
    def from_state(
        cls, state: Mapping[str, torch.Tensor], box: Box, device: torch.device | str = "cpu"
    ) -> "NestedGridTeacher":
        """From what :meth:`state` gave."""
        return cls([grid.to(device) for grid in _grids_of(state)], box)

    def state(self) -> dict[str, torch.Tensor]:
        """The grids' tensors."""
        return _state_of(self.grids)

    def extent(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The box of level 0."""
        return self.box.min, self.box.max

    def density(self, points: torch.Tensor) -> torch.Tensor:
        """Densities, per world unit, [S]; points in world units, [S, 3]."""
        return self.radiance(points, torch.zeros_like(points))[1]

    @torch.no_grad()
    def radiance(self, points: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Colours [S, 3] and densities [S] at points [S, 3] along unit directions [S, 3]."""
        rgb, density = torch.full_like(points, 0.5), torch.zeros_like(points[:, 0])
        for level in range(len(self.grids) - 1, -1, -1):  # where two of them overlap, the inner one is right
            local = _within(points, level_box(self.box, level))
            here = (local.abs() <= 1).all(1).nonzero()[:, 0]
            own_rgb, own_density = sparse_grid(local[here], directions[here], self.grids[level])
            rgb[here], density[here] = own_rgb, own_density / half_side(self.box, level)
        return rgb, density


class NestedGridTraining:
    """The stage; a step depends on its number, the grids and their optimisers only.

    Args:
        photos: to learn.
        box: of level 0.
        levels: how many there are.
        near: z-depth of the first sample of a ray.
        far: z-depth of the last one.
        settings: how; each level gets half of ``resolution`` along its longest side.
        corrections: of the photos; learnt too.
        sky: behind the last level, where there is open space.
        free_space: where nothing is, if that is known.
        seed: of batches and samples.
        device: where the grids are.

    Attributes:
        steps: how many there are.
        rays: of a step.
        samples: samples evaluated in the last step.
    """

    def __init__(
        self,
        photos: Photos,
        box: Box,
        levels: int,
        near: float,
        far: float,
        settings: GridSettings,
        *,
        corrections: PhotoCorrections,
        sky: Sky | None = None,
        free_space: FreeSpace | None = None,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.settings, self.steps = settings, sum(settings.steps)
        self.rays, self.samples = settings.rays, 0
        self._photos, self._seed, self._device = photos, seed, device
        self._box, self._near, self._far = box, near, far
        voxel = float(box.size.max()) / (settings.resolution / 2)
        finest = np.maximum(1, np.rint(box.size / voxel / _MULTIPLE)).astype(int) * _MULTIPLE
        self.grids = [
            SparseGrid.initial(
                _worth_learning(photos.cameras, level_box(box, level), finest // SCALES[0], near, outer=level > 0),
                raw_density=-5.0,
            ).to(device)
            for level in range(levels)
        ]
        self._adams = [GridAdam(grid) for grid in self.grids]
        self._corrections, self._sky, self._free_space = corrections, sky, free_space
        self._look_at_voxels()

    def step(self, step: int) -> dict[str, float]:
        """One batch of rays; returns the mean squared error before it."""
        settings, phase = self.settings, self.settings.phase(step)
        if step == settings.first_step(phase) and phase > 0:
            self._prune(phase - 1, refine=SCALES[phase] < SCALES[phase - 1])
        if (step - settings.first_step(phase)) % _DENSITIES_EVERY == 0:
            self._tell_densities()
        batch = self._batches.get(step)
        error, spread, _ = self._render(batch, sample_seed(self._seed, step))
        weights = self._corrections.weights[batch.views]
        loss = (error * weights[:, None]).sum() + settings.distortion * (spread * weights).sum()
        (loss / settings.rays + self._corrections.penalty() + self._hovering(step)).backward()
        self._corrections.step(step)
        rates = settings.rates(step)
        for grid, adam in zip(self.grids, self._adams, strict=True):
            if step % 4 == 0:
                add_total_variation(grid, settings.colour_smoothness, settings.density_smoothness)
            adam.step(*rates)
        return {"error": float(error.detach().mean())}

    def finish(self) -> None:
        """Remove what nothing shows; stop making batches."""
        self._prune(PHASES - 1, refine=False)
        self._batches.close()

    def teacher(self) -> NestedGridTeacher:
        """What was learned."""
        return NestedGridTeacher(self.grids, self._box)

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed stage goes on from."""
        state = _state_of(self.grids) | self._corrections.state() | {"densities": torch.from_numpy(self._densities)}
        for level, adam in enumerate(self._adams):
            state |= {f"{name}.{level}": tensor for name, tensor in adam.state().items()}
        return state

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        self.grids = [grid.to(self._device) for grid in _grids_of(state)]
        self._adams = [
            GridAdam.from_state(grid, {name: state[f"{name}.{level}"] for name in ("first", "second", "steps")})
            for level, grid in enumerate(self.grids)
        ]
        self._corrections.load_state(state)
        self._batches.close()
        self._look_at_voxels()
        self._densities = state["densities"].numpy()
        self._sampler.set_densities(self._densities)

    def _hovering(self, step: int) -> torch.Tensor:
        """Mean density, per half of the level's box, where nothing is, weighted."""
        total = torch.zeros((), device=self._device)
        if self._free_space is None or not self.settings.free_space:
            return total
        points = self._free_space.points(self._seed, step, _EMPTY_PLACES)
        for level, grid in enumerate(self.grids):
            local = _within(points, level_box(self._box, level))
            inside = (local.abs() < 1).all(1)
            _, density = sparse_grid(local[inside], torch.zeros_like(local[inside]), grid)
            total = total + density.sum()
            points = points[~inside]
        return self.settings.free_space / _EMPTY_PLACES * total

    def _render(
        self, batch: RayBatch, seed: int
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Squared errors [R, 3]; distortions [R]; levels, points and weights of the samples."""
        batch = self._corrections.moved(batch)
        samples = self._sampler.sample(
            batch.origins, batch.directions, seed, min_transmittance=self.settings.min_transmittance
        ).to(self._device)
        halves = torch.tensor([half_side(self._box, level) for level in range(len(self.grids))], device=self._device)
        points = samples.points
        if self._corrections.refines_poses:
            size = torch.from_numpy(self._box.size / self._box.size.max()).to(halves)
            points = self._corrections.attached(batch, samples, 1 / (halves[samples.network_index][:, None] * size))
        order = samples.network_index.argsort(stable=True)
        parts = order.split(torch.bincount(samples.network_index, minlength=len(self.grids)).tolist())
        colors, densities = [], []
        for level, (part, grid) in enumerate(zip(parts, self.grids, strict=True)):
            rgb, density = sparse_grid(points[part], samples.directions[part], grid)
            colors.append(rgb)
            densities.append(density / half_side(self._box, level))
        back = order.argsort()
        rgb, density = torch.cat(colors)[back], torch.cat(densities)[back]
        seen = composite(samples.offsets, density, rgb, samples.distance, samples.depth)
        self.samples = len(samples.points)
        # How far from each other the samples are that a ray sees: a wall is in one place, fog is not.
        place = samples.depth / (samples.depth + half_side(self._box, 0))
        ray = torch.repeat_interleave(torch.arange(len(batch.rgb), device=place.device), samples.offsets.diff())
        middle = torch.zeros_like(seen.opacity).index_add(0, ray, (seen.weights * place).detach())
        middle = middle / seen.opacity.detach().clamp(min=1e-6)
        spread = torch.zeros_like(seen.opacity).index_add(0, ray, seen.weights * (place - middle[ray]).abs())
        background = batch.background
        if self._sky is not None:
            background = self._sky.behind(batch, lambda rgb: self._corrections.seen(batch, rgb))
        error = (self._corrections.seen(batch, seen.over(background)) - batch.rgb) ** 2
        return error, spread, (samples.network_index, samples.points, seen.weights)

    def _look_at_voxels(self) -> None:
        """What follows from which voxels there are."""
        levels = [
            Cells(level_box(self._box, level), grid.active, np.full((1, 1, 1), level, np.int32), np.float32(0))
            for level, grid in enumerate(self.grids)
        ]
        step = float(levels[0].voxel_size.min())
        sampling = Sampling(self._near, self._far, max(2, round((self._far - self._near) / step) + 1))
        self._sampler = RaySampler(levels, sampling).to_device(self._device)
        self._densities = np.zeros(len(self._sampler.voxels), np.float32)
        self._batches = prefetched_batches(
            self._photos,
            self.settings.rays,
            "random",
            random_background=False,
            seed=self._seed,
            device=self._device,
        )

    def _tell_densities(self) -> None:
        # Not more than there is: rays that end too early see random colours, and nothing mends that.
        self._densities = np.concatenate(
            [grid.centre_density() / np.float32(half_side(self._box, level)) for level, grid in enumerate(self.grids)]
        )
        self._sampler.set_densities(self._densities)

    @torch.no_grad()
    def _prune(self, phase: int, *, refine: bool) -> None:
        """Keep voxels that show in some ray, and those beside them."""
        self._batches.close()
        self._tell_densities()
        shape = self.grids[0].active.shape
        most = torch.zeros(len(self.grids), *shape)
        for chunk in range(self._photos.num_batches(_CHUNK, PRUNING_RAYS)):
            batch = self._photos.batch(self._seed + 1, phase * 1000 + chunk, _CHUNK).to(self._device)
            _, _, (levels, points, weights) = self._render(batch, seed=chunk)
            flat = voxel_numbers(points.cpu(), shape, levels.cpu())
            most.view(-1).scatter_reduce_(0, flat, weights.cpu(), "amax")
        shown = (most > self.settings.least_weights[phase]).float()
        wide = torch.nn.functional.max_pool3d(shown[:, None], 3, 1, 1)[:, 0].numpy() > 0
        for level, (grid, adam) in enumerate(zip(self.grids, self._adams, strict=True)):
            kept, rows = grid.pruned(wide[level] & grid.active)
            self.grids[level] = kept.refined() if refine else kept
            self._adams[level] = GridAdam(self.grids[level]) if refine else adam.of(kept, rows)
        self._look_at_voxels()


def half_side(box: Box, level: int) -> float:
    """Half of the longest side of a level's box; densities of the level are learnt per this length."""
    return float(box.size.max()) / 2 * 2**level


def _within(points: torch.Tensor, box: Box) -> torch.Tensor:
    """Points [S, 3] in the coordinates of a box, which goes from -1 to 1."""
    middle, half = (torch.from_numpy(array).to(points) for array in (box.middle, box.size / 2))
    return (points - middle) / half


def _worth_learning(
    cameras: Sequence[Camera], box: Box, resolution: NDArray[np.integer], near: float, *, outer: bool
) -> NDArray[np.bool_]:
    """Voxels that enough views see, and that are not in the hole of an outer level."""
    x, y, z = (int(count) for count in resolution)
    voxel = box.size / resolution
    points = box.min.astype(np.float64)[:, None] + (np.indices((x, y, z)).reshape(3, -1) + 0.5) * voxel[:, None]
    reach = float(np.linalg.norm(voxel)) / 2  # seen if any of the voxel may be
    seen = np.zeros(points.shape[1], np.int32)
    for camera in cameras:
        right, up, back = in_camera(camera, points)
        depth = np.maximum(reach - back, 1e-9)
        column, row = camera.cx + camera.fx * right / depth, camera.cy - camera.fy * up / depth
        across, down = camera.fx * reach / depth, camera.fy * reach / depth
        inside = (column > -across) & (column < camera.width + across) & (row > -down) & (row < camera.height + down)
        seen += inside & (reach - back > near)
    worth = (seen >= min(_FEWEST_VIEWS, len(cameras))).reshape(x, y, z)
    if outer:
        worth[hole((x, y, z))] = False
    return worth


def _state_of(grids: Sequence[SparseGrid]) -> dict[str, torch.Tensor]:
    return {f"{name}.{level}": tensor for level, grid in enumerate(grids) for name, tensor in grid.state().items()}


def _grids_of(state: Mapping[str, torch.Tensor]) -> list[SparseGrid]:
    levels = sum(name.startswith("active.") for name in state)
    return [
        SparseGrid.from_state({name: state[f"{name}.{level}"] for name in ("rows", "active")})
        for level in range(levels)
    ]
