"""Distillation: each network learns the teacher in its own cell (KiloNeRF section 3.2, Eq. 4)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..loop.distributed import World
from ..loop.schedule import Prefetcher, learning_rate, step_generator
from ..ops.adam import Adam
from ..ops.networks import SampleGroups, tiny_networks
from ..ranges import Count, CountOrZero, Positive, Range
from ..teachers.teacher import Teacher
from .student import Student, rectified_density
from .voxels import OccupiedVoxels


@dataclass(frozen=True)
class DistillationSettings:
    """How the networks learn the teacher."""

    # Steps of all networks.
    steps: CountOrZero = 2500
    # Points for each network and step.
    points: Count = 192
    # Where the points lie: anywhere in the cell (the paper), or in its occupied voxels.
    where: Literal["cell", "occupied"] = "occupied"
    # Directions: over the whole sphere (the paper), or from the cameras to the point.
    directions: Literal["sphere", "cameras"] = "cameras"
    # Learning rate of Adam at the beginning.
    learning_rate: Positive = 8e-3
    # Learning rate at the end.
    last_learning_rate: Positive = 8e-4
    # Colour counts as much as the teacher is opaque, plus this; inf: everywhere alike (the paper).
    colour_floor: Annotated[float, Range(0, infinite=True)] = 0.05


@dataclass(frozen=True)
class _Points:
    world: torch.Tensor
    local: torch.Tensor
    directions: torch.Tensor


class Distillation:
    """The stage; a step depends on its number and the parameters only.

    Args:
        student: whose networks are trained, in place.
        teacher: what they learn.
        cameras: float [V, 3], places to look from, for directions from cameras.
        settings: how.
        seed: of the random points.
        world: processes that share the networks among them.

    Attributes:
        steps: how many there are.
        rays: of a step: none.
        samples: of a step.
    """

    def __init__(
        self,
        student: Student,
        teacher: Teacher,
        cameras: NDArray[np.floating],
        settings: DistillationSettings,
        *,
        seed: int,
        world: World,
    ) -> None:
        self.student, self.settings, self.steps = student, settings, settings.steps
        self.rays, self.samples = 0, student.networks.num_networks * settings.points
        self._teacher, self._seed, self._world = teacher, seed, world
        self._cameras = cameras.astype(np.float32)
        self._device = student.networks.rows.device
        self._adam = Adam(student.networks, learning_rate=0.0, betas=(0.9, 0.99), epsilon=1e-12)
        self._own = world.share(student.networks.num_networks)
        # Of each point: the distance to the next sample of its network's level, in world units and in those in which
        # its density is learnt.
        self._distance = (student.sampling.step * student.strides)[self._own].repeat_interleave(settings.points)
        self._own_distance = self._distance / student.density_lengths[self._own].repeat_interleave(settings.points)
        voxels = OccupiedVoxels(student if settings.where == "occupied" else _full(student))
        self._voxels, self._starts = voxels.voxels, voxels.starts[:-1][self._own]
        self._counts = np.diff(voxels.starts)[self._own]
        counts = torch.zeros(student.networks.num_networks, dtype=torch.int64)
        counts[self._own] = settings.points
        starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).to(self._device)
        self._groups = SampleGroups(None, starts)
        self._chosen = torch.arange(student.networks.num_networks, device=self._device)[self._own]
        self._points_ahead = Prefetcher(self._points)

    def step(self, step: int) -> dict[str, float]:
        """One step of all networks; returns the errors before it."""
        points, settings = self._points_ahead.get(step), self.settings
        target_rgb, target_density = self._teacher.radiance(points.world, points.directions)
        rgb, raw = tiny_networks(points.local, points.directions, self._groups, self.student.networks, rectified=False)
        # Eq. 4 compares alphas, not densities: how much more than opaque something is does not show.
        alpha = -torch.expm1(-rectified_density(raw, leak=1.0) * self._own_distance)
        target_alpha = -torch.expm1(-target_density * self._distance)
        weight = 1.0 if np.isinf(settings.colour_floor) else (target_alpha + settings.colour_floor)[:, None]
        alpha_error = (alpha - target_alpha) ** 2
        color_error = (rgb - target_rgb) ** 2
        self._adam.zero_grad()
        ((alpha_error.sum() + (weight * color_error).sum()) / settings.points).backward()
        self._adam.learning_rate = learning_rate(
            step, settings.steps, settings.learning_rate, settings.last_learning_rate, warm_up=50
        )
        self._adam.step(self._chosen)
        return {
            "alpha error": float(alpha_error.detach().mean()),
            "colour error": float(color_error.detach().mean()),
        }

    def finish(self) -> None:
        """Every process gets all networks."""
        self._points_ahead.close()
        self._world.gather(self.student.networks.rows, self._own)

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed stage goes on from; this process's part of it."""
        self._world.gather(self.student.networks.rows, self._own)
        state = self._adam.state_dict()
        for tensor in state.values():
            self._world.gather(tensor, self._own)
        return {"rows": self.student.networks.rows.detach(), **state}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        with torch.no_grad():
            self.student.networks.rows.copy_(state["rows"])
        self._adam.load_state_dict(state)

    def _points(self, step: int) -> _Points:
        """Random points of the own networks, those of one network side by side."""
        settings = self.settings
        # Numbers for all networks are drawn, so that shares of several processes are parts of the same.
        total = self.student.networks.num_networks
        random = step_generator(self._seed, step)
        which = random.random((total, settings.points), np.float32)[self._own]
        places = random.random((total, settings.points, 3), np.float32)[self._own].reshape(-1, 3)
        chosen = np.minimum((which * self._counts[:, None]).astype(np.int64), self._counts[:, None] - 1)
        voxels = self._voxels[(self._starts[:, None] + chosen).reshape(-1)]
        world, local = self.student.points_in(voxels, places)
        if settings.directions == "sphere":
            toward = random.standard_normal((total, settings.points, 3), np.float32)[self._own].reshape(-1, 3)
        else:
            camera = random.integers(0, len(self._cameras), (total, settings.points))[self._own].reshape(-1)
            toward = world.numpy() - self._cameras[camera]
        toward /= np.linalg.norm(toward, axis=1, keepdims=True)
        to = self._device
        return _Points(world.to(to), local.to(to), torch.from_numpy(toward.astype(np.float32)).to(to))


def _full(student: Student) -> Student:
    """The same student with every voxel of its networks' cells occupied."""
    fx, fy, fz = student.cells.factor

    def full(index: NDArray[np.int32]) -> NDArray[np.bool_]:
        return (index >= 0).repeat(fx, 0).repeat(fy, 1).repeat(fz, 2)

    return replace(
        student,
        cells=replace(student.cells, occupancy=full(student.cells.network_index)),
        outer=tuple(replace(level, occupancy=full(level.network_index)) for level in student.outer),
    )
