"""The smooth curve of cameras through keyframes: position, orientation and lens over one parameter."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import rotation

Float = NDArray[np.float64]
FloatOrArray = TypeVar("FloatOrArray", float, Float)


@dataclass(frozen=True, eq=False)
class Poses:
    """Cameras on a curve: where they are, how they are turned, how they zoom.

    Attributes:
        positions: [N, 3].
        quaternions: [N, 4], unit, (w, x, y, z).
        zooms: [N, 1], log tan(fov_y / 2): any number is a valid field of view.
    """

    positions: Float
    quaternions: Float
    zooms: Float

    @property
    def fovs(self) -> Float:
        """Vertical fields of view in radians, [N]."""
        return 2.0 * np.arctan(np.exp(self.zooms[:, 0]))

    def matrix(self, index: int) -> Float:
        """Camera-to-world matrix [4, 4] of one of them."""
        c2w = np.eye(4)
        c2w[:3, 3] = self.positions[index]
        c2w[:3, :3] = rotation.matrix_from_quaternion(self.quaternions[index])
        return c2w

    @classmethod
    def of(cls, matrices: Sequence[ArrayLike], fovs: Sequence[float]) -> "Poses":
        """From camera-to-world matrices [4, 4] and vertical fields of view in radians."""
        array = np.array(matrices, dtype=np.float64)
        zooms = np.log(np.tan(0.5 * np.array([[fov] for fov in fovs])))
        return cls(array[:, :3, 3], rotation.quaternion_from_matrix(array[:, :3, :3]), zooms)

    def taken(self, rows: Sequence[int]) -> "Poses":
        """Some of them, in this order."""
        index = list(rows)
        return Poses(self.positions[index], self.quaternions[index], self.zooms[index])


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve through poses at increasing parameters, continuous in velocity; see ``CameraPath`` for its shape."""

    parameters: list[float]
    keys: Poses
    velocities: Float  # [N, 3]
    spins: Float  # [N, 3] angular velocity in the camera's own axes
    zoom_rates: Float  # [N, 1]

    @classmethod
    def through(cls, parameters: Sequence[float], keys: Poses) -> "Curve":
        """The curve that passes ``keys`` at ``parameters``."""
        steps = np.diff(parameters)[:, None]
        q = keys.quaternions
        turns = rotation.logarithm(rotation.multiply(rotation.conjugate(q[:-1]), q[1:]))
        return cls(
            list(parameters),
            keys,
            _tangents(np.diff(keys.positions, axis=0) / steps, steps),
            _tangents(turns / steps, steps),
            _tangents(np.diff(keys.zooms, axis=0) / steps, steps),
        )

    def at(self, parameter: float) -> tuple[Float, float]:
        """c2w [4, 4] and field of view at a parameter between the first and the last."""
        pose = self.poses(np.array([parameter]))
        return pose.matrix(0), float(pose.fovs[0])

    def section(self, parameter: float) -> int:
        """The key after which ``parameter`` comes; -1 before the first."""
        return bisect_right(self.parameters, parameter) - 1

    def poses(self, parameters: Float) -> Poses:
        """The cameras at many parameters [M] between the first and the last."""
        knots = np.array(self.parameters)
        i = np.clip(np.searchsorted(knots, parameters, side="right") - 1, 0, len(knots) - 2)
        step = (knots[i + 1] - knots[i])[:, None]
        u = (parameters[:, None] - knots[i][:, None]) / step
        return Poses(
            _hermite(u, step, self.keys.positions, self.velocities, i),
            self._orientations(u, step, i),
            _hermite(u, step, self.keys.zooms, self.zoom_rates, i),
        )

    def _orientations(self, u: Float, step: Float, i: NDArray[np.intp]) -> Float:
        first = self.spins[i] * (step / 3.0)
        last = self.spins[i + 1] * (step / 3.0)
        q = self.keys.quaternions[i]
        whole = rotation.multiply(rotation.conjugate(q), self.keys.quaternions[i + 1])
        inner = rotation.multiply(rotation.multiply(rotation.exponential(-first), whole), rotation.exponential(-last))
        middle = rotation.logarithm(inner)
        # The cumulative Bernstein basis of degree 3.
        for vector, weight in ((first, 1.0 - (1.0 - u) ** 3), (middle, u * u * (3.0 - 2.0 * u)), (last, u**3)):
            q = rotation.multiply(q, rotation.exponential(vector * weight))
        return q / np.linalg.norm(q, axis=-1, keepdims=True)


def _tangents(
    chords: Float,  # [N - 1, D] mean speed of each section
    steps: Float,  # [N - 1, 1] length of each section's parameter
) -> Float:  # [N, D]
    """Speeds at the keyframes: of the parabola through three neighbours, limited so that rests stay rests."""
    count = len(chords) + 1
    tangents = np.zeros((count, chords.shape[1]))
    if count == 2:
        tangents[:] = chords[0]
    if count <= 2:
        return tangents
    before, after = steps[:-1], steps[1:]
    tangents[1:-1] = (after * chords[:-1] + before * chords[1:]) / (before + after)
    tangents[0] = 2.0 * chords[0] - tangents[1]
    tangents[-1] = 2.0 * chords[-1] - tangents[-2]
    speeds = np.linalg.norm(chords, axis=1)
    limit = 3.0 * np.minimum(np.append(speeds, speeds[-1]), np.insert(speeds, 0, speeds[0]))
    lengths = np.linalg.norm(tangents, axis=1)
    too_long = lengths > limit
    tangents[too_long] *= (limit[too_long] / lengths[too_long])[:, None]
    return tangents


def _hermite(u: Float, step: Float, values: Float, tangents: Float, i: NDArray[np.intp]) -> Float:
    """Cubic Hermite between rows i and i + 1 at u in [0, 1]; written as start + offset, so rests stay exact."""
    rise = u * u * (3.0 - 2.0 * u)
    leave = u * (1.0 - u) ** 2 * step
    arrive = u * u * (u - 1.0) * step
    return values[i] + rise * (values[i + 1] - values[i]) + leave * tangents[i] + arrive * tangents[i + 1]
