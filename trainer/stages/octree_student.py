"""An octree field while it is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from kilonerf.model_io.scene.architecture import DIRECTION_FREQUENCIES
from kilonerf.model_io.scene.box import Box
from kilonerf.model_io.scene.cells import Cells
from kilonerf.model_io.scene.octree import Octree
from kilonerf.model_io.scene.octree_scene import DECODER_SHAPES, FEATURES, OctreeScene
from kilonerf.model_io.scene.sampling import Sampling

from ..data.ray_sampling import RaySampler, RaySamples
from ..ops.compositing import Composited, composite
from ..ops.networks import encode
from ..ops.octree import FieldLevel, field_levels, octree_field, summed
from .octree_features import Features
from .student import DENSITY_UNIT, rectified_density


@dataclass(eq=False)
class OctreeStudent:
    """What is trained.

    Attributes:
        box: of the scene.
        octree: its voxels.
        first_level: the coarsest that has features.
        sampling: where samples lie on a ray.
        background: RGB behind the scene when it is shown.
        features: of each level, the coarsest first.
        decoder: "features" [16, 128], "direction" [27, 128], "hidden.bias" [128], "output.weight" [4, 128],
            "output.bias" [4]; raw densities are in units of ``DENSITY_UNIT``.
    """

    box: Box
    octree: Octree
    first_level: int
    sampling: Sampling
    background: tuple[float, float, float]
    features: list[Features] = field(default_factory=list)
    decoder: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.levels: list[FieldLevel] = field_levels(self.octree, self.first_level)

    def cells(self, level: int) -> Cells:
        """The voxels of a level as one cell, so that samples come with coordinates of the whole box."""
        return Cells(self.box, self.octree.upto(level).occupancy, np.zeros((1, 1, 1), np.int32))

    def sampler(self, level: int) -> RaySampler:
        """Samples of rays in the voxels of a level."""
        return RaySampler(self.cells(level), self.sampling)

    def ray_part(self, directions: torch.Tensor) -> torch.Tensor:
        """What directions, [R, 3] of any length, add to the hidden layer, [R, 128]."""
        unit = torch.nn.functional.normalize(directions, dim=1)
        return torch.addmm(self.decoder["hidden.bias"], encode(unit, DIRECTION_FREQUENCIES), self.decoder["direction"])

    def seen(
        self,
        samples: RaySamples,
        directions: torch.Tensor,  # [R, 3]
        own: Sequence[torch.Tensor],
        leak: float,
    ) -> Composited:
        """What rays see of the levels down to one.

        Args:
            samples: of the rays, in voxels of the last of these levels.
            directions: of the rays.
            own: features of the coarsest levels, [C, 16] each.
            leak: as for :func:`rectified_density`.
        """
        counts = samples.offsets.diff()
        rays = torch.repeat_interleave(torch.arange(len(counts), dtype=torch.int32), counts)
        levels = self.levels[: len(own)]
        raw = octree_field(
            samples.points, rays, summed(levels, own), self.ray_part(directions), self.decoder, levels[-1]
        )
        density = rectified_density(raw[:, 3], leak)
        return composite(samples.offsets, density, torch.sigmoid(raw[:, :3]), samples.distance, samples.depth)

    @torch.no_grad()
    def density(self, points: torch.Tensor, directions: torch.Tensor, level: int) -> torch.Tensor:
        """Densities, per world unit, [S], of the field down to a level; points as samples', directions [S, 3]."""
        count = level - self.first_level + 1
        rows = summed(self.levels[:count], [features.values() for features in self.features[:count]])
        numbers = torch.arange(len(points), dtype=torch.int32)
        raw = octree_field(points, numbers, rows, self.ray_part(directions), self.decoder, self.levels[count - 1])
        return torch.relu(raw[:, 3]) * DENSITY_UNIT

    def to_scene(self, dtype: type[np.floating] = np.float16, **more: Any) -> OctreeScene:
        """A copy as a scene.

        Args:
            dtype: float16 or float32, of decoder and features.
            more: further fields of the scene: provenance, poses, a camera.

        Raises:
            SceneError: a parameter is not finite, or too large for ``dtype``.
        """
        decoder = scene_decoder(self.decoder, DENSITY_UNIT)
        return OctreeScene(
            box_min=self.box.min,
            box_max=self.box.max,
            octree=self.octree,
            features=tuple(features.stored(dtype) for features in self.features),
            decoder={name: np.ascontiguousarray(array, dtype) for name, array in decoder.items()},
            near=self.sampling.near,
            far=self.sampling.far,
            num_samples=self.sampling.num_samples,
            background=self.background,
            **more,
        )


def initial_decoder(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """As torch's linear layers begin: uniform, within one over the root of the inputs."""
    parts: dict[str, torch.Tensor] = {}
    for name, (inputs, outputs) in DECODER_SHAPES.items():
        bound = inputs**-0.5
        for part, shape in ((f"{name}.weight", (inputs, outputs)), (f"{name}.bias", (outputs,))):
            parts[part] = (torch.rand(shape, generator=generator) * 2 - 1) * bound
    hidden = parts.pop("hidden.weight")
    parts["features"], parts["direction"] = hidden[:FEATURES].clone(), hidden[FEATURES:].clone()
    parts["output.weight"] = parts["output.weight"].T.contiguous()
    return parts


def scene_decoder(decoder: Mapping[str, torch.Tensor], density_unit: float) -> dict[str, np.ndarray]:
    """The arrays of ``OctreeScene.decoder``, float32; raw densities are multiplied by ``density_unit``."""
    weight, bias = decoder["output.weight"].detach().T.clone(), decoder["output.bias"].detach().clone()
    weight[:, 3] *= density_unit
    bias[3] *= density_unit
    hidden = torch.cat([decoder["features"], decoder["direction"]]).detach()
    tensors = {"hidden.weight": hidden, "hidden.bias": decoder["hidden.bias"].detach()}
    return {name: t.numpy() for name, t in (tensors | {"output.weight": weight, "output.bias": bias}).items()}
