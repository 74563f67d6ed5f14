"""instant-ngp's camera paths (``CameraPath::save``, camera_path.cu), such as ``base_cam.json``.

A key has its pose in instant-ngp's own world: the data set's, scaled into the unit cube, axes in the order y z x,
camera axes right, down, forward; ``R`` is a quaternion (x, y, z, w); ``fov`` is vertical, in degrees. A key's
``timestamp`` is when the *next* key is reached; the first key is at 0. Between keys instant-ngp goes along a cubic
B-spline, which passes near its keys; here the path passes through them.
"""

import math
from typing import Any

import numpy as np

from ...errors import CameraPathError
from ...files.json_values import is_array, is_object
from ..path import CameraPath, Keyframe
from ..rotation import quaternion_from_matrix
from .fields import UNTIMED_SECONDS, Float, keyframe, number, numbers, objects, rigid, rotation_of
from .worlds import Similarity

CYCLE = [1, 2, 0]  # instant-ngp's x is the data set's y, and so on
BACK = [2, 0, 1]
CAMERA_AXES = np.array([1.0, -1.0, -1.0])  # right, down, forward against right, up, backward
SCALE = 1.5  # of a key: instant-ngp's default zoom, which only its focal plane uses here


def is_instant_ngp(document: dict[str, Any]) -> bool:
    """Whether a document is one of instant-ngp's."""
    path = document.get("path")
    return is_array(path) and all(is_object(key) and "R" in key and "T" in key for key in path)


def read_instant_ngp(document: dict[str, Any], world: Similarity) -> CameraPath:
    """The path through its keys.

    Raises:
        CameraPathError: a field is missing or wrong; says which.
    """
    entries = objects(document.get("path"), "path")
    closed = bool(document.get("loop", False)) and len(entries) > 1
    stamps = [number(entry.get("timestamp", 0.0), f"path[{k}].timestamp") for k, entry in enumerate(entries)]
    keys: list[Keyframe] = []
    times = _key_times(stamps, number(document.get("duration_seconds", 0.0), "duration_seconds"), closed)
    for k, entry in enumerate(entries):
        where = f"path[{k}]"
        x, y, z, w = numbers(entry.get("R"), 4, f"{where}.R")
        rotation = rotation_of(np.array([w, x, y, z]), f"{where}.R")[BACK] * CAMERA_AXES
        c2w = rigid(rotation, numbers(entry.get("T"), 3, f"{where}.T")[BACK])
        fov = math.radians(number(entry.get("fov"), f"{where}.fov"))
        keys.append(keyframe(times[k], c2w, fov, world, where))
    return CameraPath(tuple(keys), "keys", times[-1] - times[-2] if closed else 0.0)


def write_instant_ngp(path: CameraPath, world: Similarity, every: float) -> dict[str, Any]:
    """A document for instant-ngp: a key every so many seconds, which it joins by lines; 0: the path's own keys."""
    if every > 0.0:
        count = max(1, math.ceil(path.duration / every - 1e-6))
        times = [path.duration * k / count for k in range(count if path.closed else count + 1)]
    else:
        times = [time - path.start for time in path.key_times()]
    poses = path.poses([path.start + time for time in times])
    last = path.duration if path.closed else times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1.0)
    keys: list[dict[str, Any]] = []
    for k in range(len(times)):
        c2w = world.from_scene(poses.matrix(k))
        w, x, y, z = quaternion_from_matrix((c2w[:3, :3] * CAMERA_AXES)[CYCLE]).tolist()
        keys.append(
            {
                "R": [x, y, z, w],
                "T": c2w[:3, 3][CYCLE].tolist(),
                "slice": 0.0,
                "scale": SCALE,
                "fov": math.degrees(float(poses.fovs[k])),
                "aperture_size": 0.0,
                "timestamp": times[k + 1] if k + 1 < len(times) else last,
            }
        )
    return {
        "loop": path.closed,
        "time": 0.0,
        "path": keys,
        "duration_seconds": path.duration,
        "spline_order": 1 if every > 0.0 else 3,
    }


def _key_times(stamps: list[float], duration: float, closed: bool) -> list[float]:
    """Seconds of each key, and of the end where it is closed."""
    if not stamps:
        raise CameraPathError("path: expected at least one key, got none")
    rising: Float = np.diff([0.0, *stamps])
    even = [k / len(stamps) for k in range(1, len(stamps) + 1)]
    if (rising <= 0.0).any() or (duration == 1.0 and np.allclose(stamps, even, atol=1e-4)):
        # None, or those that instant-ngp gives to keys without any: a second for all, whatever their number.
        times = [UNTIMED_SECONDS * k for k in range(len(stamps) + 1)]
    else:
        times = [0.0, *stamps]
    return times if closed else times[:-1]
