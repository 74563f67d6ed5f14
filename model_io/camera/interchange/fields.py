"""Fields of other programs' JSON documents, checked."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import CameraPathError
from ...files.json_values import is_array, is_object
from ..path import Keyframe
from ..rotation import matrix_from_quaternion
from .worlds import Similarity

Float = NDArray[np.float64]

UNTIMED_SECONDS = 2.5
"""From key to key, where a file says no times."""


def objects(value: Any, where: str) -> list[dict[str, Any]]:
    """A list of objects."""
    if not is_array(value) or not all(is_object(entry) for entry in value):
        raise CameraPathError(f"{where}: expected a list of objects, got {repr(value)[:80]}")
    return list(value)


def numbers(value: Any, count: int, where: str) -> Float:
    """So many finite numbers."""
    entries = value if is_array(value) else []
    right = len(entries) == count and all(isinstance(n, int | float) and not isinstance(n, bool) for n in entries)
    if not right or not all(math.isfinite(n) for n in entries):
        raise CameraPathError(f"{where}: expected {count} numbers, got {repr(value)[:80]}")
    return np.array(entries, np.float64)


def number(value: Any, where: str) -> float:
    """A finite number."""
    return float(numbers([value], 1, where)[0])


def rigid(rotation: Float, position: Float) -> Float:
    """[4, 4] from a rotation [3, 3] that float32 has rounded, and a position [3]."""
    left, _, right = np.linalg.svd(rotation)
    c2w = np.eye(4)
    c2w[:3, :3] = left @ right if np.abs(left @ right - rotation).max() < 1e-3 else rotation
    c2w[:3, 3] = position
    return c2w


def rotation_of(wxyz: Float, where: str) -> Float:
    """[3, 3] of a quaternion that need not be a unit one."""
    length = float(np.linalg.norm(wxyz))
    if length < 1e-6:
        raise CameraPathError(f"{where}: expected a quaternion, got {wxyz.tolist()}")
    return matrix_from_quaternion(wxyz / length)


def keyframe(seconds: float, c2w: Float, fov_y: float, world: Similarity, where: str) -> Keyframe:
    """A key of the scene's world from one of another program's."""
    rows = world.to_scene(c2w).tolist()
    try:
        return Keyframe(seconds, (tuple(rows[0]), tuple(rows[1]), tuple(rows[2]), (0.0, 0.0, 0.0, 1.0)), fov_y)
    except CameraPathError as error:
        raise CameraPathError(f"{where}: {error}") from error
