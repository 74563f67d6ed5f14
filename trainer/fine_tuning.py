"""Fine-tuning: all networks together learn the photos (KiloNeRF section 3.3)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from .adam import Adam
from .compositing import composite
from .distributed import World
from .footprints import covered_pixels
from .networks import SampleGroups, tiny_networks
from .photos import Background, Photos, RayBatch
from .schedule import Ahead, learning_rate, step_generator
from .student import DENSITY_UNIT, Student, rectified_density

_LEAK = 0.1  # of the gradient that a dead density would have
_LOOKS = 12  # points of a voxel that must all be empty
_LARGEST_DENSITY = 400.0  # of an estimate: so that it can fall again soon


@dataclass(frozen=True)
class FineTuningSettings:
    """How the networks learn the photos."""

    # Steps, each of one batch of rays.
    steps: int = 48_000
    # Rays of a step.
    rays: int = 12_288
    # Learning rate of Adam at the beginning.
    learning_rate: float = 1e-3
    # Learning rate at the end.
    last_learning_rate: float = 1e-4
    # L2 regularisation of the last two layers.
    view_dependent_l2: float = 1e-8
    # Rays end where an estimate of their transmittance falls below this; 0: never.
    min_transmittance: float = 1e-3
    # Steps between two looks at how dense each voxel is, for that estimate.
    refresh_every: int = 25
    # When voxels that have turned out empty are given up, as shares of the steps.
    prune_at: tuple[float, ...] = (0.1, 0.4)
    # A voxel is empty where neither it nor one beside it reaches this density, per world unit.
    empty_density: float = 0.5
    # Rays only of pixels that the scene can cover, not of all pixels.
    covered_only: bool = True


class FineTuning:
    """The stage; a step depends on its number, the parameters and the density estimate only.

    Args:
        student: whose networks are trained, in place.
        photos: to learn.
        settings: how.
        random_background: photos have transparency: every other step lays them over random colours, for opacity.
        seed: of batches and samples.
        world: processes that share the rays among them.

    Attributes:
        steps: how many there are.
        rays: of a step.
        samples: samples evaluated in the last step.
    """

    name = "fine-tuning"

    def __init__(
        self,
        student: Student,
        photos: Photos,
        settings: FineTuningSettings,
        *,
        random_background: bool,
        seed: int,
        world: World,
    ) -> None:
        self.student, self.settings, self.steps = student, settings, settings.steps
        self.rays, self.samples = settings.rays, 0
        self._photos, self._seed, self._world = photos, seed, world
        self._random_background = random_background and photos.has_alpha
        self._device = student.networks.rows.device
        self._adam = Adam(
            student.networks,
            learning_rate=0.0,
            betas=(0.9, 0.99),
            epsilon=1e-12,
            view_dependent_l2=settings.view_dependent_l2,
        )
        self._prune_steps = {round(share * settings.steps) for share in settings.prune_at} - {0}
        self._look_at_voxels()

    def step(self, step: int) -> dict[str, float]:
        """One batch of rays; returns the mean squared error before it, of the processes' own rays."""
        settings, networks = self.settings, self.student.networks
        if step in self._prune_steps:
            self._prune(step)
        if settings.min_transmittance > 0 and step % settings.refresh_every == 0:
            self._refresh(step)
        batch = self._ahead.get(step)
        own = self._world.share(settings.rays)
        samples = self._sampler.sample(
            batch.origins[own],
            batch.directions[own],
            self._seed * 0x9E3779B1 + step,
            first_ray=own.start,
            min_transmittance=settings.min_transmittance,
        )
        to = self._device
        groups = SampleGroups.of(samples.network_index.to(to), networks.num_networks)
        rgb, raw = tiny_networks(samples.points.to(to), samples.directions.to(to), groups, networks, rectified=False)
        seen = composite(
            samples.offsets.to(to),
            rectified_density(raw, _LEAK),
            rgb,
            samples.distance.to(to),
            samples.depth.to(to),
        )
        background, target = (torch.tensor(array[own], device=to) for array in (batch.background, batch.rgb))
        error = (seen.colour + (1.0 - seen.opacity)[:, None] * background - target) ** 2
        self._adam.zero_grad()
        (error.sum() / (3 * settings.rays)).backward()
        counts = groups.starts.diff()
        if networks.rows.grad is not None:
            self._world.add_up(networks.rows.grad)
            self._world.add_up(counts)
        self._adam.learning_rate = learning_rate(
            step, settings.steps, settings.learning_rate, settings.last_learning_rate, warm_up=100
        )
        # A network that no ray met has no gradient, and its moments say nothing new.
        self._adam.step(counts.nonzero()[:, 0])
        self.samples = len(samples.points)
        return {"error": float(error.detach().mean())}

    def finish(self) -> None:
        """Stop making batches."""
        self._ahead.close()

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed stage goes on from."""
        rows = self.student.networks.rows.detach()
        occupancy = torch.from_numpy(self.student.occupancy)
        return {"rows": rows, "occupancy": occupancy, "densities": self._densities, **self._adam.state_dict()}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        with torch.no_grad():
            self.student.networks.rows.copy_(state["rows"])
        self._adam.load_state_dict(state)
        self.student.occupancy = state["occupancy"].numpy()
        self._look_at_voxels()
        self._densities = state["densities"].clone()
        self._tell_sampler()

    def _batch(self, step: int) -> RayBatch:
        background: Background = self.student.background
        if self._random_background and step % 2:
            background = "random"
        return self._photos.batch(self._seed, step, self.settings.rays, background, among=self._among)

    def _look_at_voxels(self) -> None:
        """What follows from which voxels are occupied."""
        student, photos = self.student, self._photos
        self._sampler = student.sampler()
        self._among = None
        if self.settings.covered_only:
            self._among = covered_pixels(photos.cameras, student.lower, student.upper, student.occupancy)
        voxels = self._sampler.voxels
        network = student.networks_at(voxels)
        self._order = np.argsort(network, kind="stable")
        self._voxels = voxels[self._order].astype(np.int32)
        counts = np.bincount(network, minlength=student.networks.num_networks)
        starts = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])).to(self._device)
        self._voxel_groups = SampleGroups(None, starts)
        self._densities = torch.zeros(len(voxels))
        self._ahead = Ahead(self._batch)  # what was made ahead was of other pixels

    def _look(self, step: int, stream: int) -> torch.Tensor:
        """The density at a random point of each voxel, float32 [V], in the order of ``_voxels``."""
        places = step_generator(self._seed, step, stream).random(self._voxels.shape, np.float32)
        local = self.student.points_in(self._voxels, places)[1].to(self._device)
        with torch.no_grad():
            density = tiny_networks(local, torch.zeros_like(local), self._voxel_groups, self.student.networks)[1]
        return density.cpu() * DENSITY_UNIT

    def _refresh(self, step: int) -> None:
        """Look how dense the voxels are."""
        found = self._look(step, stream=1).clamp(max=_LARGEST_DENSITY)
        known = bool(self._densities.any())
        self._densities = 0.8 * self._densities + 0.2 * found if known else found
        self._tell_sampler()

    def _prune(self, step: int) -> None:
        """Give up empty voxels."""
        most = torch.stack([self._look(step, stream) for stream in range(2, 2 + _LOOKS)]).amax(0)
        dense = np.zeros(self.student.occupancy.shape, np.float32)
        dense[tuple(self._voxels[most.numpy() >= self.settings.empty_density].T)] = 1
        near = torch.nn.functional.max_pool3d(torch.from_numpy(dense)[None, None], 3, 1, 1)[0, 0].numpy() > 0
        if (near & self.student.occupancy).any():  # else nothing has been learned, and there is nothing to go by
            self._ahead.close()
            self.student.occupancy = near & self.student.occupancy
            self._look_at_voxels()
            self._refresh(step)

    def _tell_sampler(self) -> None:
        # Half of it: a ray that ends too early would never learn what it sees.
        densities = np.empty(len(self._densities), np.float32)
        densities[self._order] = 0.5 * self._densities.numpy()
        self._sampler.set_densities(densities)
