"""The scene while it is trained: box, occupied voxels, and the tiny networks as parameters."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from kilonerf.model_io import Scene

from ..data.ray_sampling import RaySampler
from ..ops.networks import ROW_LAYOUT, TinyNetworks

DENSITY_UNIT = 32.0
"""Density per world unit at raw density 1 while training. Densities are in the hundreds and everything else is around
one: so they all learn at one rate. A power of two: nothing is rounded when it goes into the weights."""


@dataclass(eq=False)
class Student:
    """What is trained.

    Attributes:
        lower: float32 [3], the box's lower corner, world units.
        upper: float32 [3], its upper corner.
        occupancy: bool [ox, oy, oz].
        network_index: int32 [rx, ry, rz], -1 for a cell without a network.
        networks: of the cells; their raw densities are in units of ``DENSITY_UNIT``.
        near: z-depth of the first sample of a ray.
        far: z-depth of the last sample.
        num_samples: samples of a ray, K.
        background: RGB behind the scene when it is shown.
    """

    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    occupancy: NDArray[np.bool_]
    network_index: NDArray[np.int32]
    networks: TinyNetworks
    near: float
    far: float
    num_samples: int
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @classmethod
    def of(cls, scene: Scene) -> "Student":
        """A scene to go on training."""
        networks = TinyNetworks.from_layers(scene.layers)
        _scale_density(networks, 1 / DENSITY_UNIT)
        return cls(
            scene.aabb_min,
            scene.aabb_max,
            scene.occupancy,
            scene.network_index,
            networks,
            scene.near,
            scene.far,
            scene.num_samples,
            scene.background,
        )

    @property
    def step_length(self) -> float:
        """Z-depth from one sample to the next."""
        return (self.far - self.near) / (self.num_samples - 1)

    @property
    def voxel_size(self) -> NDArray[np.float64]:
        """World units, [3]."""
        return (self.upper.astype(np.float64) - self.lower) / self.occupancy.shape

    def sampler(self) -> RaySampler:
        """Samples of rays through the student, where its networks are."""
        sampler = RaySampler(
            self.lower,
            self.upper,
            self.occupancy,
            self.network_index,
            near=self.near,
            far=self.far,
            num_samples=self.num_samples,
        )
        return sampler.to_device(self.networks.rows.device)

    def points_in(
        self,
        voxels: NDArray[np.integer],  # [P, 3]
        places: NDArray[np.float32],  # [P, 3]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Points in voxels.

        Args:
            voxels: of the occupancy grid.
            places: where in its voxel each point is, 0 to 1 on each axis.

        Returns:
            float32 [P, 3] twice: in world units, and in coordinates of the cell, -1 to 1.
        """
        factor = np.asarray(self.occupancy.shape) // self.network_index.shape
        at = voxels.astype(np.float32) + places
        world = (self.lower + at * self.voxel_size).astype(np.float32)
        local = (at - voxels // factor * factor) * (2.0 / factor) - 1.0
        return torch.from_numpy(world), torch.from_numpy(local.astype(np.float32))

    def networks_at(self, voxels: NDArray[np.integer]) -> NDArray[np.int32]:
        """The network of each voxel, int32 [P]; voxels [P, 3]."""
        factor = np.asarray(self.occupancy.shape) // self.network_index.shape
        return self.network_index[tuple((voxels // factor).T)]

    def to_scene(self, dtype: type[np.floating] = np.float32, **more: Any) -> Scene:
        """A copy as a scene.

        Args:
            dtype: of the layers: float16 or float32.
            more: further fields of the scene: provenance, poses, a camera.

        Raises:
            SceneError: a parameter is not finite, or too large for ``dtype``.
        """
        networks = TinyNetworks(self.networks.rows.detach().cpu().clone())
        _scale_density(networks, DENSITY_UNIT)
        return Scene(
            aabb_min=self.lower,
            aabb_max=self.upper,
            occupancy=self.occupancy,
            network_index=self.network_index,
            layers=networks.to_scene_layers(dtype),
            near=self.near,
            far=self.far,
            num_samples=self.num_samples,
            background=self.background,
            **more,
        )


def rectified_density(raw: torch.Tensor, leak: float) -> torch.Tensor:
    """Densities per world unit from raw ones: ReLU, but what is zero can still learn to be more.

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


def _scale_density(networks: TinyNetworks, factor: float) -> None:
    """Multiply what the networks say of density."""
    with torch.no_grad():
        for name in ("alpha_linear.weight", "alpha_linear.bias"):
            begin, shape = ROW_LAYOUT[name]
            networks.rows[:, begin : begin + math.prod(shape)] *= factor
