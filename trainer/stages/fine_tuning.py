"""Fine-tuning: all networks together learn the photos (KiloNeRF section 3.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from ..data.corrections import applied
from ..data.footprints import covered_pixels
from ..data.photos import Photos, RayBatch, prefetched_batches
from ..data.ray_sampling import RaySamples
from ..loop.distributed import World
from ..loop.schedule import learning_rate, sample_seed
from ..ops.adam import Adam
from ..ops.compositing import Composited
from ..ops.networks import SampleGroups, TinyNetworks
from ..ranges import Count, CountOrZero, NotNegative, Positive, Share
from .student import Student
from .voxels import OccupiedVoxels

_LEAK = 0.1  # of the gradient that a dead density would have
_LARGEST_DENSITY = 400.0  # of an estimate: so that it can fall again soon
_FAR = 8.0  # steps from the mean: what is farther is another surface, seen through the first one's edge


@dataclass(frozen=True)
class FineTuningSettings:
    """How the networks learn the photos."""

    # Steps, each of one batch of rays.
    steps: CountOrZero = 45_000
    # Rays of a step.
    rays: Count = 12_288
    # Learning rate of Adam at the beginning.
    learning_rate: Positive = 4e-3
    # Learning rate at the end.
    last_learning_rate: Positive = 5e-5
    # L2 regularisation of the last two layers.
    view_dependent_l2: NotNegative = 1e-8
    # Rays end where an estimate of their transmittance falls below this; 0: never.
    min_transmittance: NotNegative = 1e-3
    # Share of the steps, the last ones, whose samples lie exactly where a picture has them, not anywhere in their step.
    as_rendered: Share = 0.2
    # In these steps: what it costs that a ray sees samples far from each other, for each step from their mean. Fewer
    # samples then make a ray opaque, so pictures need fewer. Not in scenes of several levels.
    spread: NotNegative = 2e-3
    # Steps between two looks at how dense each voxel is, for that estimate.
    refresh_every: Count = 50
    # Rays only of pixels that the scene can cover, not of all pixels.
    covered_only: bool = True


class Rounding(Protocol):
    """Puts other parameters in place of the networks' own while a step looks at the photos."""

    def apply(self, networks: TinyNetworks) -> None:
        """Put rounded parameters in place."""

    def undo(self, networks: TinyNetworks) -> None:
        """Put the networks' own back; their gradient is that of the rounded ones.

        Where others are learnt, it is these that get the gradient.
        """


@dataclass(frozen=True)
class Look:
    """What a step sees.

    Attributes:
        batch: the rays.
        groups: their samples of each network.
        rgb: the rays' colours, [R, 3].
        samples: how many were evaluated.
        penalty: beside the error, added up over the rays.
    """

    batch: RayBatch
    groups: SampleGroups
    rgb: torch.Tensor
    samples: int
    penalty: torch.Tensor


class FineTuning:
    """The stage; a step depends on its number, the parameters and the density estimate only.

    Args:
        student: whose networks are trained, in place.
        photos: to learn.
        settings: how.
        random_background: photos have transparency: every other step lays them over random colours, for opacity.
        seed: of batches and samples.
        world: processes that share the rays among them.
        weights: of the photos in the error, [V]; all the same if left out.
        colors: of the photos, [V, 3, 4]: see :func:`~..data.corrections.applied`.
        rounding: what the photos are looked at through, if not through the parameters themselves.
        learnt: what is trained instead of the student's networks, where ``rounding`` makes these of it.

    Attributes:
        learnt: the networks that are trained.
        steps: how many there are.
        rays: of a step.
        samples: samples evaluated in the last step.
    """

    def __init__(
        self,
        student: Student,
        photos: Photos,
        settings: FineTuningSettings,
        *,
        random_background: bool,
        seed: int,
        world: World,
        weights: torch.Tensor | None = None,
        colors: torch.Tensor | None = None,
        rounding: Rounding | None = None,
        learnt: TinyNetworks | None = None,
    ) -> None:
        self.learnt = student.networks if learnt is None else learnt
        self.student, self.settings, self.steps = student, settings, settings.steps
        self.rays, self.samples = settings.rays, 0
        self._seed, self._world = seed, world
        self._weights, self._colors, self._rounding = weights, colors, rounding
        self._device = student.networks.rows.device
        self._adam = Adam(
            self.learnt,
            learning_rate=0.0,
            betas=(0.9, 0.99),
            epsilon=1e-12,
            view_dependent_l2=settings.view_dependent_l2,
        )
        self._sampler = student.sampler()
        self._voxels = OccupiedVoxels(student)
        self._densities = torch.zeros(len(self._voxels.voxels))
        among = None
        if settings.covered_only and not student.outer:
            among = covered_pixels(photos.cameras, student.cells.box, student.cells.occupancy)
        self._batches = prefetched_batches(
            photos,
            settings.rays,
            "random" if student.outer else student.background,  # a place is opaque everywhere
            random_background=random_background,
            seed=seed,
            device=self._device,
            among=among,
        )

    def step(self, step: int) -> dict[str, float]:
        """One batch of rays; returns the mean squared error before it, of the processes' own rays."""
        settings, networks = self.settings, self.student.networks
        if self._rounding is not None:
            self._rounding.apply(networks)
        if settings.min_transmittance > 0 and step % settings.refresh_every == 0:
            self.refresh(step)
        look = self.look(step)
        error = (look.rgb - look.batch.rgb) ** 2
        self._adam.zero_grad()
        weighted = error if self._weights is None else error * self._weights[look.batch.views][:, None]
        ((weighted.sum() / 3 + look.penalty) / settings.rays).backward()
        if self._rounding is not None:
            self._rounding.undo(networks)
        counts = look.groups.starts.diff()
        if self.learnt.rows.grad is not None:
            self._world.add_up(self.learnt.rows.grad)
            self._world.add_up(counts)
        self._adam.learning_rate = learning_rate(
            step, settings.steps, settings.learning_rate, settings.last_learning_rate, warm_up=100
        )
        # A network that no ray met has no gradient, and its moments say nothing new.
        self._adam.step(counts.nonzero()[:, 0] if self.learnt is networks else None)
        self.samples = look.samples
        return {"error": float(error.detach().mean())}

    def look(self, step: int) -> Look:
        """What the networks see along a step's rays, of this process."""
        batch, samples = self.sampled(step)
        groups = SampleGroups.of(samples.network_index, self.student.networks.num_networks)
        seen = self.student.seen(samples, groups, _LEAK)
        penalty = self._penalty(step, samples, seen)
        return Look(batch, groups, self.colors_of(batch, seen), len(samples.points), penalty)

    def sampled(self, step: int) -> tuple[RayBatch, RaySamples]:
        """A step's rays, of this process, and their samples."""
        settings = self.settings
        own = self._world.share(settings.rays)
        batch = self._batches.get(step)[own]
        samples = self._sampler.sample(
            batch.origins,
            batch.directions,
            None if self._as_rendered(step) else sample_seed(self._seed, step),
            first_ray=own.start,
            min_transmittance=settings.min_transmittance,
        )
        return batch, samples.to(self._device)

    def _as_rendered(self, step: int) -> bool:
        return step >= self.steps * (1.0 - self.settings.as_rendered)

    def _penalty(self, step: int, samples: RaySamples, seen: Composited) -> torch.Tensor:
        weight = self.settings.spread
        if not weight or self.student.outer or not self._as_rendered(step):
            return seen.opacity.new_zeros(())
        middle = (seen.depth / seen.opacity.clamp(min=1e-6)).detach()
        apart = (samples.depth - middle.repeat_interleave(samples.offsets.diff())).abs() / self.student.sampling.step
        return weight * (seen.weights * apart.clamp(max=_FAR)).sum()

    def colors_of(self, batch: RayBatch, seen: Composited) -> torch.Tensor:
        """Rays' colours as the photos would have them, [R, 3]."""
        background = batch.background
        if self.student.sky is not None:
            background = self.student.sky.behind(batch, lambda rgb: self._as_in_photos(batch, rgb))
        return self._as_in_photos(batch, seen.over(background))

    def _as_in_photos(self, batch: RayBatch, rgb: torch.Tensor) -> torch.Tensor:
        return rgb if self._colors is None else applied(self._colors, batch.views, rgb)

    def finish(self) -> None:
        """Stop making batches."""
        self._batches.close()

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed stage goes on from."""
        rows = self.learnt.rows.detach()
        return {"rows": rows, "densities": self._densities, **self._adam.state_dict()}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        with torch.no_grad():
            self.learnt.rows.copy_(state["rows"])
        self._adam.load_state_dict(state)
        self._densities = state["densities"].clone()
        self._tell_sampler()

    def refresh(self, step: int) -> None:
        """Look how dense the voxels are."""
        found = self._voxels.densities(self._seed, step).clamp(max=_LARGEST_DENSITY)
        known = bool(self._densities.any())
        self._densities = 0.8 * self._densities + 0.2 * found if known else found
        self._tell_sampler()

    def _tell_sampler(self) -> None:
        densities = np.empty(len(self._densities), np.float32)
        densities[self._voxels.order] = self._densities.numpy()
        self._sampler.set_densities(densities)
