"""Training of the NeRF teacher on photos, by the schedule of the original code's first stage.

No hierarchical sampling: one network, stratified samples along the whole ray (KiloNeRF section 4.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.model_io import TrainingError

from ..data.photos import Photos, RayBatch
from ..loop.checkpoints import restore
from ..loop.schedule import step_generator
from ..ops.compositing import composite
from ..ranges import Count, CountOrZero, Positive, Range
from ..stages.student import DENSITY_UNIT, rectified_density
from .nerf import WIDTH, NerfTeacher

_SAMPLES_AT_ONCE = 1 << 16  # bounds the memory of a step: about 0.9 GiB at 256 units
_LEAK = 0.1  # a NeRF that begins with no density anywhere would else never learn any
_SAMPLE_STREAM = 11  # of random numbers; photos and other stages have their own


@dataclass(frozen=True)
class NerfSettings:
    """How the NeRF learns the photos; as it stands, as in the paper."""

    # Steps, each of one batch of rays.
    steps: CountOrZero = 600_000
    # Rays of a step.
    rays: Count = 1024
    # Samples of a ray between near and far.
    samples: Annotated[int, Range(2)] = 384
    # Units of a hidden layer.
    width: Count = WIDTH
    # Learning rate of Adam at the beginning.
    learning_rate: Positive = 5e-4
    # Steps in which the learning rate falls to a tenth.
    decay_steps: Count = 500_000
    # So many first steps see only the middle of the photos, where something is.
    centre_steps: CountOrZero = 10_000
    # The share of a photo's width and height that is its middle.
    centre_share: Positive = 0.5
    # Samples only in the box, a third of the work or less; the paper takes those outside too.
    box_only: bool = False


class NerfTraining:
    """The stage; a step depends on its number, the parameters and Adam's moments only.

    Args:
        photos: to learn.
        box_min: the box's corner with the least coordinates, world units, [3]; of use with ``box_only``.
        box_max: the opposite corner.
        near: z-depth of the first sample of a ray.
        far: z-depth of the last one.
        settings: how.
        background: RGB behind the photos.
        seed: of the initial parameters, batches and samples.
        device: where the network is.

    Attributes:
        steps: how many there are.
        rays: of a step.
        samples: samples evaluated in the last step.

    Raises:
        TrainingError: fewer than two samples, or near not before far.
    """

    def __init__(
        self,
        photos: Photos,
        box_min: NDArray[np.floating],
        box_max: NDArray[np.floating],
        near: float,
        far: float,
        settings: NerfSettings,
        *,
        background: tuple[float, float, float] = (1.0, 1.0, 1.0),
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        if settings.samples < 2 or not near < far:
            got = f"{near} to {far}, {settings.samples}"
            raise TrainingError(f"NeRF's samples: expected near < far and 2 or more, got {got}")
        self.settings, self.steps = settings, settings.steps
        self.rays, self.samples = settings.rays, 0
        self._photos, self._background, self._seed, self._device = photos, background, seed, device
        self._box_min, self._box_max = (
            torch.tensor(np.asarray(c, np.float32), device=device) for c in (box_min, box_max)
        )
        depths = near + np.arange(settings.samples) * ((far - near) / (settings.samples - 1))
        edges = np.concatenate([depths[:1], (depths[1:] + depths[:-1]) / 2, depths[-1:]])  # of each sample's stretch
        self._begin, self._length = edges[:-1].astype(np.float32), np.diff(edges).astype(np.float32)
        self._nerf = NerfTeacher(settings.width, seed=seed).to(device)
        self._adam = torch.optim.Adam(self._nerf.parameters(), lr=settings.learning_rate)
        for parameter in self._nerf.parameters():  # as Adam would at its first step: a state is there at once
            moments = {"exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
            self._adam.state[parameter] = {"step": torch.tensor(0.0), **moments}
        self._centre: NDArray[np.integer] | None = None

    def step(self, step: int) -> dict[str, float]:
        """One batch of rays; returns the mean squared error before it."""
        settings = self.settings
        batch = self._batch(step)
        depth = torch.from_numpy(self._depths(step)).to(self._device)
        self._adam.zero_grad()
        self.samples, error = 0, 0.0
        # Gradients of parts of the batch add up to that of all of it.
        rays_at_once = max(1, _SAMPLES_AT_ONCE // settings.samples)
        for first in range(0, settings.rays, rays_at_once):
            part = slice(first, first + rays_at_once)
            loss = self._error(batch[part], depth[part]) / (3 * settings.rays)
            loss.backward()
            error += float(loss.detach())
        for group in self._adam.param_groups:
            group["lr"] = settings.learning_rate * 0.1 ** (step / settings.decay_steps)
        self._adam.step()
        return {"error": error}

    def finish(self) -> None:
        """Nothing is left to do."""

    def teacher(self) -> NerfTeacher:
        """What was trained."""
        return self._nerf

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed stage goes on from; not copied."""
        state = {}
        for name, parameter in self._nerf.named_parameters():
            moments = self._adam.state[parameter]
            state[f"{name}.value"] = parameter.detach()
            state[f"{name}.first"], state[f"{name}.second"] = moments["exp_avg"], moments["exp_avg_sq"]
            state[f"{name}.steps"] = moments["step"].reshape(1)
        return state

    @torch.no_grad()
    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave.

        Raises:
            TrainingError: it is of another network.
        """
        restore(self.state(), state, "NeRF's state")

    def _batch(self, step: int) -> RayBatch:
        among = self._centre_pixels() if step < self.settings.centre_steps else None
        if among is None:
            self._centre = None  # it may be large
        batch = self._photos.batch(self._seed, step, self.settings.rays, self._background, among=among)
        return batch.to(self._device)

    def _centre_pixels(self) -> NDArray[np.integer]:
        """Places, in the array of all pixels, of those in the middle of their photos."""
        if self._centre is None:
            photos, parts = self._photos, []
            for camera, begin in zip(photos.cameras, photos.offsets[:-1], strict=True):
                sizes = np.array([camera.height, camera.width])
                inner = np.maximum(1, np.rint(sizes * self.settings.centre_share)).astype(int)
                top, left = (sizes - inner) // 2
                rows, columns = np.arange(top, top + inner[0]), np.arange(left, left + inner[1])
                parts.append(begin + (rows[:, None] * camera.width + columns).reshape(-1))
            self._centre = np.concatenate(parts)
        return self._centre

    def _depths(self, step: int) -> NDArray[np.float32]:
        """A random z-depth in each sample's stretch of each ray, [R, K]."""
        random = step_generator(self._seed, step, _SAMPLE_STREAM)
        places = random.random((self.settings.rays, self.settings.samples), np.float32)
        return (self._begin + places * self._length).astype(np.float32, copy=False)

    def _error(self, batch: RayBatch, depth: torch.Tensor) -> torch.Tensor:
        """The sum of squared errors of rays with samples at ``depth`` [R, K]."""
        directions = batch.directions
        norm = directions.norm(dim=1, keepdim=True)
        # To the next sample; the last has none, and takes its own stretch.
        last = torch.full_like(depth[:, :1], float(self._length[-1]))
        distance = torch.cat([depth.diff(dim=1), last], dim=1) * norm
        points = batch.origins[:, None] + depth[..., None] * directions[:, None]
        taken = torch.ones_like(depth, dtype=torch.bool)
        if self.settings.box_only:
            taken = ((points > self._box_min) & (points < self._box_max)).all(dim=-1)
        offsets = torch.nn.functional.pad(taken.sum(1).cumsum(0), (1, 0))
        unit = (directions / norm)[:, None].expand_as(points)
        rgb, raw = self._nerf(points[taken], unit[taken])
        seen = composite(offsets, rectified_density(raw / DENSITY_UNIT, _LEAK), rgb, distance[taken], depth[taken])
        self.samples += len(raw)
        return ((seen.over(batch.background) - batch.rgb) ** 2).sum()
