"""The frame in which training happens: the user's coordinates, moved and scaled so that all settings fit.

Densities, thresholds, learning rates and total variation hold for a scene of one size: that of NeRF-Synthetic, whose
cameras are 4.03 from the middle. So cameras and box are brought to that size where they are read, in float64, and the
finished scene is brought back. A data set that has this size already is not touched at all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.model_io import Camera, Dataset, KiloNeRFScene, OctreeScene, Scene, View
from kilonerf.model_io.scene.origin import NO_ORIGIN, Origin, relative_to

from ..teachers.scene import SceneTeacher
from ..teachers.teacher import Teacher
from .bounds import Bounds, Vector, middle_of_views

SceneT = TypeVar("SceneT", bound=Scene)
CAMERA_DISTANCE = 4.03  # of NeRF-Synthetic's cameras from the middle
_LONGEST_SIDE = (0.5, 8.0)  # of the box inside: where cameras are much nearer or farther than the scene is large
_USUAL_SIDE = 2.0  # of the box inside, where cameras do not look at one place
_SAME = 0.02  # a scale this near to 1 is 1
_GRAIN = 2.0**-20  # positions inside are rounded to this, so that the unit's own rounding errors decide nothing
_FAR = 16.0  # camera distances from the origin; nearer than that, float32 holds the coordinates as they are


@dataclass(frozen=True)
class Frame:
    """A position inside is (position - offset) * scale; a length times ``scale``, a density divided by it.

    Attributes:
        scale: how many units inside one unit of the user's is.
        offset: the user's position of the zero inside: the box's middle.
        origin: the user's position of the zero of the finished scene's file. Zero unless the scene is so far away that
            float32 cannot hold its coordinates; the file then says so.
    """

    scale: float = 1.0
    offset: Origin = NO_ORIGIN
    origin: Origin = NO_ORIGIN

    @classmethod
    def of(cls, cameras: Sequence[Camera], bounds: Bounds) -> "Frame":
        """The frame for cameras and a box, both in the user's coordinates."""
        low, high = np.array(bounds.box_min), np.array(bounds.box_max)
        side = float((high - low).max())
        middle, distance = middle_of_views(cameras)
        if middle is None:
            middle, distance = (low + high) / 2, side * CAMERA_DISTANCE / _USUAL_SIDE
        scale = CAMERA_DISTANCE / distance if distance > 0 else 1.0
        scale = min(max(scale, _LONGEST_SIDE[0] / side), _LONGEST_SIDE[1] / side)
        middle = (low + high) / 2
        if abs(scale - 1) < _SAME:
            if np.abs(middle).max() <= side / 2:
                return cls()
            scale = 1.0
        origin = np.zeros(3)
        if np.abs(middle).max() * scale > _FAR * CAMERA_DISTANCE:
            tidy = 10.0 ** math.floor(math.log10(side))  # a round number is easier to read and to type
            origin = np.round(middle / tidy) * tidy
        return cls(scale, _vector(middle), _vector(origin))

    @property
    def is_identity(self) -> bool:
        """Whether coordinates inside are the user's."""
        return self == Frame()

    def camera(self, camera: Camera) -> Camera:
        """A user's camera, inside."""
        if self.is_identity:
            return camera
        matrix = camera.matrix.copy()
        matrix[:3, 3] = self._inside(matrix[:3, 3])
        return camera.moved(matrix)

    def length(self, length: float | None) -> float | None:
        """A user's length, inside."""
        return None if length is None else length * self.scale

    def dataset(self, dataset: Dataset) -> Dataset:
        """A data set with its cameras, points, near and far inside; what only boxes are found by is not kept."""
        views = [replace(view, camera=self.camera(view.camera)) for view in dataset.views]
        near, far = self.length(dataset.near), self.length(dataset.far)
        points = None if dataset.points is None else self._inside(dataset.points)
        return replace(dataset, views=views, near=near, far=far, bounding_box=None, points=points, region=None)

    def bounds(self, bounds: Bounds) -> Bounds:
        """A user's box, inside."""
        if self.is_identity:
            return bounds
        box_min, box_max = _vector(self._inside(bounds.box_min)), _vector(self._inside(bounds.box_max))
        return replace(bounds, box_min=box_min, box_max=box_max)

    def seen(self, view: View) -> View:
        """A user's view, placed in the scene as its file keeps it."""
        return replace(view, camera=relative_to(self.origin, view.camera))

    def teacher(self, teacher: Teacher) -> Teacher:
        """A finished teacher, which is in the user's coordinates, inside."""
        begins = teacher.origin if isinstance(teacher, SceneTeacher) else NO_ORIGIN
        if self.is_identity and begins == NO_ORIGIN:
            return teacher
        return _TeacherInside(teacher, self.scale, np.subtract(self.offset, begins))

    def scene(self, scene: SceneT, dtype: type[np.floating] = np.float32) -> SceneT:
        """A scene made inside, as its file keeps it: the user's unit, relative to ``origin``.

        Args:
            scene: its layers in float32; those of an octree field keep their dtype.
            dtype: of the layers. Where float16 is too small for a density of the user's unit, they stay in float32.
        """
        if isinstance(scene, OctreeScene):
            decoder = {name: own.astype(np.float32) for name, own in scene.decoder.items()}
            for name in ("output.weight", "output.bias"):
                decoder[name][..., 3] *= np.float32(self.scale)  # density
            with np.errstate(over="ignore"):
                narrow = {name: own.astype(scene.dtype) for name, own in decoder.items()}
            return replace(scene, decoder=narrow, **self._placed(scene))
        assert isinstance(scene, KiloNeRFScene)  # noqa: S101 - there are two kinds
        if self.is_identity:
            return replace(scene, layers={name: layer.astype(dtype) for name, layer in scene.layers.items()})
        wide = _with_densities(scene.layers, self.scale)
        with np.errstate(over="ignore"):
            layers = {name: layer.astype(dtype) for name, layer in wide.items()}
        if not all(np.isfinite(layer).all() for layer in layers.values()):
            layers = wide
        return replace(scene, layers=layers, **self._placed(scene))

    def _placed(self, scene: Scene) -> dict[str, Any]:
        """A scene's box, depths, poses and camera as they are outside."""
        if self.is_identity:
            return {}
        poses, start = scene.training_poses, scene.start_camera
        if poses is not None:
            poses = poses.copy()
            poses[:, :3, 3] = self._outside(poses[:, :3, 3])
        if start is not None:
            matrix = start.matrix.copy()
            matrix[:3, 3] = self._outside(start.position)
            start = start.moved(matrix)
        return {
            "box_min": self._outside(scene.box_min).astype(np.float32),
            "box_max": self._outside(scene.box_max).astype(np.float32),
            "near": scene.near / self.scale,
            "far": scene.far / self.scale,
            "training_poses": poses,
            "start_camera": start,
        }

    def said(self) -> dict[str, Any]:
        """For a scene's provenance, under ``coordinates``; {} where nothing was changed."""
        if self.is_identity:
            return {}
        said: dict[str, Any] = {"trained_at_scale": self.scale, "trained_about": list(self.offset)}
        return {"coordinates": said | ({"origin": list(self.origin)} if self.origin != NO_ORIGIN else {})}

    def __str__(self) -> str:
        if self.is_identity:
            return "trained as it is"
        moved = f"; the scene's own coordinates are relative to {' '.join(f'{x:.12g}' for x in self.origin)}"
        return f"trained at {self.scale:.4g} times its size{moved if self.origin != NO_ORIGIN else ''}"

    def _inside(self, position: Vector | NDArray[np.float64]) -> NDArray[np.float64]:
        return np.round((np.asarray(position, np.float64) - self.offset) * self.scale / _GRAIN) * _GRAIN

    def _outside(self, positions: NDArray[np.floating]) -> NDArray[np.float64]:
        return positions.astype(np.float64) / self.scale + np.subtract(self.offset, self.origin)


class _TeacherInside:
    """A teacher in the user's coordinates, asked inside."""

    def __init__(self, teacher: Teacher, scale: float, offset: NDArray[np.float64]) -> None:
        self.name = teacher.name
        self._teacher, self._scale, self._offset = teacher, scale, offset

    def density(self, points: torch.Tensor) -> torch.Tensor:
        return self._teacher.density(self._outside(points)) / self._scale

    def radiance(self, points: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rgb, density = self._teacher.radiance(self._outside(points), directions)
        return rgb, density / self._scale

    def extent(self) -> tuple[NDArray[np.floating], NDArray[np.floating]] | None:
        extent = self._teacher.extent()
        if extent is None:
            return None
        low, high = ((np.asarray(corner, np.float64) - self._offset) * self._scale for corner in extent)
        return low, high

    def _outside(self, points: torch.Tensor) -> torch.Tensor:
        offset = torch.from_numpy(self._offset).to(points.device)
        return (points.double() / self._scale + offset).float()


def _with_densities(layers: Any, factor: float) -> dict[str, NDArray[np.floating]]:
    """Layers whose densities are ``factor`` times as large.

    Half of it goes through the layer before, whose ReLU passes a factor on, so that float16 has room for both.
    """
    through = 2.0 ** round(math.log2(factor) / 2)  # a power of two rounds nothing
    scales = {
        "pts_linears.1.weight": through,
        "pts_linears.1.bias": through,
        "feature_linear.weight": 1 / through,
        "alpha_linear.weight": factor / through,
        "alpha_linear.bias": factor,
    }
    return {name: layer * np.float32(scales.get(name, 1.0)) for name, layer in layers.items()}


def _vector(values: NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
