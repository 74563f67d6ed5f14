"""The fast teacher: a sparse voxel field of density and spherical-harmonic colour, trained in minutes.

After Plenoxels (Fridovich-Keil et al., CVPR 2022): begun coarse, then refined where something is seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.model_io.scene.box import Box
from kilonerf.model_io.scene.cells import Cells
from kilonerf.model_io.scene.sampling import Sampling

from ..data.corrections import PhotoCorrections
from ..data.footprints import covered_pixels
from ..data.photos import Photos, RayBatch, prefetched_batches
from ..data.ray_sampling import RaySampler
from ..loop.schedule import learning_rate, sample_seed
from ..ops.compositing import composite
from ..ops.grid_adam import GridAdam, add_total_variation
from ..ops.sparse_grid import SparseGrid, sparse_grid
from ..ranges import Count, NotNegative, Range

FourRates = tuple[float, float, float, float]
PHASES = 4
SCALES = (4, 2, 1, 1)  # voxels of the finest grid along a side of each phase's voxels
PRUNING_RAYS = 1 << 18  # at most
_CHUNK = 1 << 16


@dataclass(frozen=True)
class GridSettings:
    """How the grid teacher learns the photos."""

    # Voxels along the longest side of the box, in the end.
    resolution: Count = 256
    # Steps on a grid of a quarter of that, of half of it, of all of it, and again when what nothing shows is removed.
    steps: Annotated[tuple[int, int, int, int], Range(0)] = (250, 400, 500, 700)
    # Rays of a step.
    rays: Count = 8192
    # Learning rates of colour, at the beginning of each part of the steps; each falls to a tenth over its part.
    colour_rates: Annotated[FourRates, Range(0, exclusive=True)] = (0.1, 0.1, 0.08, 0.05)
    # Learning rates of raw density, likewise.
    density_rates: Annotated[FourRates, Range(0, exclusive=True)] = (0.3, 0.3, 0.2, 0.1)
    # Total variation of colours.
    colour_smoothness: NotNegative = 3e-8
    # Total variation of raw density.
    density_smoothness: NotNegative = 3e-9
    # Voxels whose part in every ray is smaller than this are removed between the parts.
    least_weights: Annotated[FourRates, Range(0)] = (0.02, 0.02, 0.005, 0.005)
    # Captures only: weight of the distortion loss, which keeps what a ray sees at one depth.
    distortion: NotNegative = 0.03
    # Captures with sparse points only: weight of the density between cameras and the points that they saw.
    free_space: NotNegative = 0.1
    # Rays end where their transmittance falls below this.
    min_transmittance: NotNegative = 1e-2

    def first_step(self, phase: int) -> int:
        """Where a phase begins."""
        return sum(self.steps[:phase])

    def phase(self, step: int) -> int:
        """The phase of a step."""
        return sum(step >= self.first_step(phase) for phase in range(1, PHASES))

    def rates(self, step: int) -> tuple[float, float]:
        """Learning rates of colour and of density."""
        phase = self.phase(step)
        at, steps = step - self.first_step(phase), self.steps[phase]
        colour, density = self.colour_rates[phase], self.density_rates[phase]
        return learning_rate(at, steps, colour, colour / 10), learning_rate(at, steps, density, density / 10)


class GridTeacher:
    """A trained grid.

    Args:
        grid: its field.
        box_min: the box's corner with the least coordinates, world units, [3].
        box_max: the opposite corner.
    """

    name = "grid"

    def __init__(self, grid: SparseGrid, box_min: NDArray[np.floating], box_max: NDArray[np.floating]) -> None:
        self.grid = grid
        self._box_min = torch.as_tensor(np.asarray(box_min, np.float32), device=grid.rows.device)
        self._scale = 2.0 / torch.as_tensor(np.asarray(box_max - box_min, np.float32), device=grid.rows.device)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, torch.Tensor],
        box_min: NDArray[np.floating],
        box_max: NDArray[np.floating],
        device: torch.device | str = "cpu",
    ) -> "GridTeacher":
        """From what :meth:`state` gave."""
        return cls(SparseGrid.from_state(state).to(device), box_min, box_max)

    def state(self) -> dict[str, torch.Tensor]:
        """The grid's tensors."""
        return self.grid.state()

    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper corner of the box around the voxels that there are, world units."""
        voxels = np.argwhere(self.grid.active)
        box_min = self._box_min.cpu().double().numpy()
        voxel = 2.0 / self._scale.cpu().double().numpy() / self.grid.active.shape
        return box_min + voxels.min(0) * voxel, box_min + (voxels.max(0) + 1) * voxel

    def density(self, points: torch.Tensor) -> torch.Tensor:
        """Densities, per world unit, [S]; points in world units, [S, 3]."""
        return self.radiance(points, torch.zeros_like(points))[1]

    @torch.no_grad()
    def radiance(self, points: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Colours [S, 3] and densities [S] at points [S, 3] along unit directions [S, 3]."""
        return sparse_grid((points - self._box_min) * self._scale - 1.0, directions, self.grid)


class GridTraining:
    """The stage; a step depends on its number, the grid and its optimiser only.

    Args:
        photos: to learn.
        box_min: the box's corner with the least coordinates, world units, [3].
        box_max: the opposite corner.
        near: z-depth of the first sample of a ray.
        far: z-depth of the last one.
        settings: how.
        background: RGB behind the photos.
        random_background: every other step lays photos that have transparency over random colours.
        corrections: of the photos; learnt too.
        seed: of batches and samples.
        device: where the grid is.

    Attributes:
        steps: how many there are.
        rays: of a step.
        samples: samples evaluated in the last step.
    """

    def __init__(
        self,
        photos: Photos,
        box_min: NDArray[np.floating],
        box_max: NDArray[np.floating],
        near: float,
        far: float,
        settings: GridSettings,
        *,
        background: tuple[float, float, float],
        random_background: bool,
        corrections: PhotoCorrections,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.settings, self.steps = settings, sum(settings.steps)
        self.rays, self.samples = settings.rays, 0
        self._photos, self._seed, self._device = photos, seed, device
        self._box_min, self._box_max = np.asarray(box_min, np.float32), np.asarray(box_max, np.float32)
        self._near, self._far = near, far
        self._background, self._random_background = background, random_background
        voxel = float((self._box_max - self._box_min).max()) / settings.resolution * SCALES[0]
        resolution = np.maximum(1, np.rint((self._box_max - self._box_min) / voxel)).astype(int)
        self.grid = SparseGrid.initial(np.ones(resolution, np.bool_), raw_density=-5.0).to(device)
        self._corrections = corrections
        self._scale = 2.0 / torch.from_numpy(self._box_max - self._box_min).to(device)
        self._adam = GridAdam(self.grid)
        self._look_at_voxels()

    def step(self, step: int) -> dict[str, float]:
        """One batch of rays; returns the mean squared error before it."""
        settings, phase = self.settings, self.settings.phase(step)
        if step == settings.first_step(phase) and phase > 0:
            self._prune(phase - 1, refine=SCALES[phase] < SCALES[phase - 1])
        if (step - settings.first_step(phase)) % 25 == 0:
            self._tell_densities()
        batch = self._batches.get(step)
        error, _ = self._render(batch, sample_seed(self._seed, step))
        weighted = error * self._corrections.weights[batch.views][:, None]
        (weighted.sum() / settings.rays + self._corrections.penalty()).backward()
        self._corrections.step(step)
        if step % 4 == 0:
            add_total_variation(self.grid, settings.colour_smoothness, settings.density_smoothness)
        self._adam.step(*settings.rates(step))
        return {"error": float(error.detach().mean())}

    def finish(self) -> None:
        """Remove what nothing shows; stop making batches."""
        self._prune(PHASES - 1, refine=False)
        self._batches.close()

    def teacher(self) -> GridTeacher:
        """What was learned."""
        return GridTeacher(self.grid, self._box_min, self._box_max)

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed stage goes on from."""
        state = self.grid.state() | self._adam.state() | self._corrections.state()
        return state | {"densities": torch.from_numpy(self._densities)}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        self.grid = SparseGrid.from_state(state).to(self._device)
        self._adam = GridAdam.from_state(self.grid, state)
        self._corrections.load_state(state)
        self._batches.close()
        self._look_at_voxels()
        self._densities = state["densities"].numpy()
        self._sampler.set_densities(self._densities)

    def _render(self, batch: RayBatch, seed: int) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Squared errors [R, 3]; points and weights of the samples."""
        batch = self._corrections.moved(batch)
        samples = self._sampler.sample(
            batch.origins, batch.directions, seed, min_transmittance=self.settings.min_transmittance
        ).to(self._device)
        points = self._corrections.attached(batch, samples, self._scale)
        rgb, density = sparse_grid(points, samples.directions, self.grid)
        seen = composite(samples.offsets, density, rgb, samples.distance, samples.depth)
        self.samples = len(samples.points)
        error = (self._corrections.seen(batch, seen.over(batch.background)) - batch.rgb) ** 2
        return error, (samples.points, seen.weights)

    def _look_at_voxels(self) -> None:
        """What follows from which voxels there are."""
        active = self.grid.active
        voxel = float(((self._box_max - self._box_min) / active.shape).min())
        box = Box(self._box_min, self._box_max)
        sampling = Sampling(self._near, self._far, max(2, round((self._far - self._near) / voxel) + 1))
        cells = Cells(box, active, np.zeros((1, 1, 1), np.int32))
        self._sampler = RaySampler(cells, sampling).to_device(self._device)
        self._among = covered_pixels(self._photos.cameras, box, active)
        self._densities = np.zeros(len(self._sampler.voxels), np.float32)
        self._batches = prefetched_batches(  # what was made ahead was of other pixels
            self._photos,
            self.settings.rays,
            self._background,
            random_background=self._random_background,
            seed=self._seed,
            device=self._device,
            among=self._among,
        )

    def _tell_densities(self) -> None:
        density = self.grid.voxel_density()
        self._densities = density[tuple(self._sampler.voxels.T)]
        self._sampler.set_densities(self._densities)

    @torch.no_grad()
    def _prune(self, phase: int, *, refine: bool) -> None:
        """Keep voxels that show in some ray, and those beside them."""
        self._batches.close()
        resolution = self.grid.active.shape
        most = torch.zeros(resolution).reshape(-1)
        self._tell_densities()
        for chunk in range(self._photos.num_batches(_CHUNK, PRUNING_RAYS)):
            batch = self._photos.batch(self._seed + 1, phase * 1000 + chunk, _CHUNK, among=self._among).to(self._device)
            _, (points, weights) = self._render(batch, seed=chunk)
            most.scatter_reduce_(0, voxel_numbers(points.cpu(), resolution), weights.cpu(), "amax")
        # Where all is still faint, as in photos of little contrast, the strongest stay: else nothing would.
        least = min(self.settings.least_weights[phase], 0.5 * float(most.max()))
        shown = (most > least).reshape(resolution)
        wide = torch.nn.functional.max_pool3d(shown[None, None].float(), 3, 1, 1)[0, 0] > 0
        kept = wide.numpy() & self.grid.active
        self.grid, rows = self.grid.pruned(kept)
        self._adam = self._adam.of(self.grid, rows)
        if refine:
            self.grid = self.grid.refined()
            self._adam = GridAdam(self.grid)
        self._look_at_voxels()


def voxel_numbers(
    points: torch.Tensor,  # [S, 3]
    shape: tuple[int, ...],
    grid: torch.Tensor | None = None,  # [S]
) -> torch.Tensor:
    """The number, in C order, of the voxel that each point is in, int64 [S].

    Args:
        points: -1 to 1 over the grid; what rounding has put outside is in the nearest voxel.
        shape: voxels on each axis.
        grid: of several grids one after the other, which one; left out: the first.
    """
    size = torch.tensor(shape, device=points.device)
    x, y, z = ((points + 1.0) * 0.5 * size).long().clamp(min=0).minimum(size - 1).unbind(1)
    first = 0 if grid is None else grid.long() * shape[0]
    return ((first + x) * shape[1] + y) * shape[2] + z
