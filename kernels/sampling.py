"""Which samples a frame takes. Defined in float32, so that every backend takes the very same ones.

Every expression here is evaluated in IEEE single precision in the order in which it is written, without fused
multiply-add; native backends repeat it operation by operation. A sample therefore counts in all backends or
in none, and pictures differ only by the rounding of the networks. The part that finds a sample's voxel is
:class:`~kilonerf.model_io.scene.cells.Cells`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera, Scene
from kilonerf.model_io.scene.cells import Cells, Floats
from kilonerf.model_io.scene.sampling import Sampling

from .options import RenderOptions

LAST_INDEX = 2**24 - 1  # the largest sample index that float32 still counts exactly


@dataclass(frozen=True)
class SampleSteps:
    """Where samples lie on a ray: t_k = near + k * step for k = 0 .. last."""

    near: np.float32
    step: np.float32
    last: int

    @classmethod
    def of(cls, scene: Scene, options: RenderOptions) -> "SampleSteps":
        """What ``options`` ask for; flying (near, far None) starts one step before the camera and has no end."""
        step = scene.step if options.step is None else options.step
        near = step if options.near is None else options.near
        last = LAST_INDEX
        if options.far is not None:
            # far - near is a whole number of steps as trained; the small addend forgives its rounding.
            last = min(LAST_INDEX, math.floor((options.far - near) / step + 1e-6))
        return cls(np.float32(near), np.float32(step), last)

    @classmethod
    def as_trained(cls, sampling: Sampling) -> "SampleSteps":
        """The samples that a scene was trained with."""
        return cls(np.float32(sampling.near), np.float32(sampling.step), sampling.num_samples - 1)

    def of_level(self, level: int) -> "SampleSteps":
        """Every 2^level-th of the samples: those of a cell of an outer level. In float32 they are the very same."""
        return SampleSteps(self.near, self.step * np.float32(2**level), self.last >> level)

    def t(self, index: NDArray[np.number]) -> Floats:
        """z-depth of samples by their index."""
        return self.near + index.astype(np.float32) * self.step


def cropped_levels(scene: Scene, options: RenderOptions) -> tuple[Cells, ...]:
    """The scene's levels, of which only what lies in the options' crop counts."""
    if options.crop is None:
        return scene.levels
    box = options.crop.box
    return tuple(cells.cropped(box) for cells in scene.levels)


def ray_origin(camera: Camera, scene: Scene | None = None) -> Floats:
    """Origin of every ray, float32 [3]; in a scene of several levels off the planes between its cells (``Planes``)."""
    origin = camera.position.astype(np.float32)
    return scene.planes.cleared(origin) if scene is not None and scene.outer else origin


def ray_directions(camera: Camera, rows: slice = slice(None)) -> Floats:
    """Un-normalised directions (z-depth 1) of the pixels of some rows, float32 [rows, W, 3]."""
    half = np.float32(0.5)
    a = (np.arange(camera.width, dtype=np.float32) + half - np.float32(camera.cx)) / np.float32(camera.fx)
    y = np.arange(camera.height, dtype=np.float32)[rows]
    b = -((y + half - np.float32(camera.cy)) / np.float32(camera.fy))
    rotation = camera.matrix[:3, :3].astype(np.float32)
    a, b = a[None, :, None], b[:, None, None]
    return (rotation[:, 0] * a + rotation[:, 1] * b) - rotation[:, 2]


def positions(origin: Floats, directions: Floats, t: Floats) -> Floats:
    """Sample points: origin + t * direction, float32 [..., 3]."""
    return origin + t[..., None] * directions
