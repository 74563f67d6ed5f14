"""Rotations around the camera's own axis, and to a world whose up is not z."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .controllers import heading_axes, heading_of

UP = (0.0, 0.0, 1.0)


def rotation_to(up: ArrayLike) -> NDArray[np.float64]:
    """The smallest rotation [3, 3] that turns the z axis to ``up`` [3], of any length but 0.

    Raises:
        ValueError: ``up`` has no length.
    """
    length = float(np.linalg.norm(up))
    if not length > 0.0:
        raise ValueError("rotation_to: expected a direction, got a vector of length 0")
    x, y, z = (float(value) / length for value in np.asarray(up, np.float64))
    if z < -1.0 + 1e-12:
        return np.diag([1.0, -1.0, -1.0])
    k = 1.0 / (1.0 + z)
    return np.array([[1.0 - k * x * x, -k * x * y, x], [-k * x * y, 1.0 - k * y * y, y], [-x, -y, z]])


def rolled(c2w: NDArray[np.float64], roll: float) -> NDArray[np.float64]:
    """A camera [4, 4] turned around its own axis, by an angle in radians from its x towards its y axis."""
    if roll == 0.0:
        return c2w
    turn = np.eye(4)
    turn[:2, :2] = [[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]]
    return c2w @ turn


def roll_of(rotation: ArrayLike) -> float:
    """The roll of a camera's rotation [3, 3] whose up is z, as :func:`rolled` takes it; 0 for an upright one."""
    matrix = np.asarray(rotation, np.float64)
    axes = heading_axes(*heading_of(matrix))
    return math.atan2(float(matrix[:, 0] @ axes[:, 1]), float(matrix[:, 0] @ axes[:, 0]))


def plane_normal(points: ArrayLike, towards: ArrayLike) -> NDArray[np.float64] | None:
    """Unit normal [3] of the plane through three points [3, 3], on the side of ``towards`` [3].

    None if the points are almost on one line.
    """
    first, second, third = np.asarray(points, np.float64)
    a, b = second - first, third - first
    normal = np.cross(a, b)
    length = float(np.linalg.norm(normal))
    if length < 1e-3 * float(np.linalg.norm(a) * np.linalg.norm(b)) or length == 0.0:
        return None
    side = float(normal @ (np.asarray(towards, np.float64) - first))
    return normal / (length if side >= 0.0 else -length)
