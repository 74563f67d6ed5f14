"""The scene while it is trained: box, occupied voxels, and the tiny networks as parameters."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from kilonerf.model_io import KiloNeRFScene
from kilonerf.model_io.scene.cells import Cells
from kilonerf.model_io.scene.levels import OuterLevel, nested
from kilonerf.model_io.scene.sampling import Sampling

from ..data.ray_sampling import RaySampler, RaySamples
from ..data.sky import Sky
from ..ops.compositing import Composited, composite
from ..ops.networks import ROW_LAYOUT, SampleGroups, TinyNetworks, tiny_networks

DENSITY_UNIT = 32.0
"""Density per world unit at raw density 1 while training. Densities are in the hundreds and everything else is around
one: so they all learn at one rate. A power of two: nothing is rounded when it goes into the weights."""


@dataclass(eq=False)
class Student:
    """What is trained.

    Attributes:
        cells: the box, its occupied voxels, and which cells have a network.
        networks: of the cells; their raw densities are in units of ``DENSITY_UNIT``.
        sampling: where samples lie on a ray.
        background: RGB behind the scene when it is shown.
        outer: further levels around the box, as a scene's.
        sky: as a scene's, behind the last of several levels.
        density_length: densities of level l are learnt per 2^l of these; 1: per world unit, whatever the level.
    """

    cells: Cells
    networks: TinyNetworks
    sampling: Sampling
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    outer: tuple[OuterLevel, ...] = ()
    density_length: float = 1.0
    sky: Sky | None = None

    @classmethod
    def of(cls, scene: KiloNeRFScene) -> "Student":
        """A scene to go on training."""
        networks = TinyNetworks.from_layers(scene.layers)
        length = float(scene.box.size.max()) / 2 if scene.outer else 1.0
        sky = None if scene.sky is None else Sky(scene.sky)
        student = cls(scene.cells, networks, scene.sampling, scene.background, scene.outer, length, sky)
        _scale_density(networks, student.density_lengths.cpu() / DENSITY_UNIT)
        return student

    @cached_property
    def levels(self) -> tuple[Cells, ...]:
        """The grid of each level."""
        return nested(self.cells, self.outer)

    @property
    def num_occupied(self) -> int:
        """Voxels of all levels that are occupied."""
        return sum(int(cells.occupancy.sum()) for cells in self.levels)

    @cached_property
    def strides(self) -> torch.Tensor:
        """Of each network: 2^level, the steps from one of its samples to the next, float32 [N]."""
        strides = np.ones(self.networks.num_networks, np.float32)
        for level, cells in enumerate(self.levels):
            strides[cells.network_index[cells.network_index >= 0]] = 2**level
        return torch.from_numpy(strides).to(self.networks.rows.device)

    @cached_property
    def density_lengths(self) -> torch.Tensor:
        """Of each network: the length that its densities are learnt per, world units, float32 [N]."""
        return self.density_length * self.strides

    def sampler(self) -> RaySampler:
        """Samples of rays through the student, where its networks are."""
        return RaySampler(self.levels, self.sampling).to_device(self.networks.rows.device)

    def seen(self, samples: RaySamples, groups: SampleGroups, leak: float) -> Composited:
        """What rays see of it.

        Args:
            samples: of the rays, where the networks are.
            groups: the samples of each network.
            leak: as for :func:`rectified_density`.
        """
        rgb, raw = tiny_networks(samples.points, samples.directions, groups, self.networks, rectified=False)
        return composite(samples.offsets, rectified_density(raw, leak), rgb, self.distances(samples), samples.depth)

    def distances(self, samples: RaySamples) -> torch.Tensor:
        """From each sample to the next, in the lengths that densities are learnt per, [S]."""
        return samples.distance / self.density_lengths[samples.network_index] if self.outer else samples.distance

    def points_in(
        self,
        voxels: NDArray[np.integer],  # [P, 4]
        places: NDArray[np.float32],  # [P, 3]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Points in voxels.

        Args:
            voxels: of the occupancy grids: their level, then their place in its grid.
            places: where in its voxel each point is, 0 to 1 on each axis.

        Returns:
            float32 [P, 3] twice: in world units, and in coordinates of the cell, -1 to 1.
        """
        level, voxels, factor = voxels[:, 0], voxels[:, 1:], self.cells.factor
        box_min = np.stack([cells.box.min for cells in self.levels])
        voxel = np.stack([cells.box.size / cells.voxels for cells in self.levels])
        at = voxels.astype(np.float32) + places
        world = (box_min[level] + at * voxel[level]).astype(np.float32)
        local = (at - voxels // factor * factor) * (2.0 / factor) - 1.0
        return torch.from_numpy(world), torch.from_numpy(local.astype(np.float32))

    def to_scene(self, dtype: type[np.floating] = np.float32, **more: Any) -> KiloNeRFScene:
        """A copy as a scene.

        Args:
            dtype: of the layers: float16 or float32.
            more: further fields of the scene: provenance, poses, a camera.

        Raises:
            SceneError: a parameter is not finite, or too large for ``dtype``.
        """
        networks = TinyNetworks(self.networks.rows.detach().cpu().clone(), self.networks.frequencies)
        _scale_density(networks, DENSITY_UNIT / self.density_lengths.cpu())
        return KiloNeRFScene(
            box_min=self.cells.box.min,
            box_max=self.cells.box.max,
            occupancy=self.cells.occupancy,
            network_index=self.cells.network_index,
            layers=networks.to_scene_layers(dtype),
            near=self.sampling.near,
            far=self.sampling.far,
            num_samples=self.sampling.num_samples,
            background=self.background,
            outer=self.outer,
            sky=None if self.sky is None else self.sky.coefficients,
            **more,
        )


def rectified_density(raw: torch.Tensor, leak: float) -> torch.Tensor:
    """Densities, per ``Student.density_lengths``, from raw ones: ReLU, but what is zero can still learn to be more.

    A dead density has gradient zero by the ReLU, and a whole network could stay dead. Here it gets ``leak`` times the
    gradient that it would have, where that asks for more density, and none where it asks for less.

    Args:
        raw: of the networks, [S].
        leak: 0 for a plain ReLU.
    """
    return _RectifiedDensity.apply(raw, leak)  # pyright: ignore[reportReturnType]


class _RectifiedDensity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, raw: torch.Tensor, leak: float) -> torch.Tensor:
        ctx.save_for_backward(raw)
        ctx.leak = leak
        return torch.relu(raw) * DENSITY_UNIT

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # because of the decorator
        ctx: Any, *grad_outputs: torch.Tensor
    ) -> tuple[torch.Tensor, None]:
        (raw,) = ctx.saved_tensors
        gradient = grad_outputs[0] * DENSITY_UNIT
        return torch.where(raw > 0, gradient, ctx.leak * gradient.clamp(max=0)), None


def _scale_density(networks: TinyNetworks, factors: torch.Tensor) -> None:
    """Multiply what each network says of density; factors [N]."""
    with torch.no_grad():
        for name in ("alpha_linear.weight", "alpha_linear.bias"):
            begin, shape = ROW_LAYOUT[name]
            networks.rows[:, begin : begin + math.prod(shape)] *= factors[:, None]
