"""LichtFeld Studio's sequencer timelines, version 4 (``Timeline::saveToJson``, timeline.cpp).

A key's ``rotation`` is a quaternion (w, x, y, z) of a camera with OpenGL's axes; its lens is a focal length in
millimetres on a sensor 24 mm high.
"""

import math
from typing import Any

from ...errors import CameraPathError
from ...files.json_values import is_array, is_object
from ..path import CameraPath, Keyframe
from ..rotation import quaternion_from_matrix
from .fields import keyframe, number, numbers, objects, rigid, rotation_of
from .worlds import Similarity

VERSION = 4
HALF_SENSOR = 12.0  # mm
SHORTEST_MM, LONGEST_MM = 10.0, 200.0  # what LichtFeld Studio takes


def is_lichtfeld(document: dict[str, Any]) -> bool:
    """Whether a document is one of LichtFeld Studio's."""
    keys = document.get("keyframes")
    return is_array(keys) and all(is_object(key) and "focal_length_mm" in key for key in keys)


def read_lichtfeld(document: dict[str, Any], world: Similarity) -> CameraPath:
    """The path through its keys; a key's easing is passed over.

    Raises:
        CameraPathError: a field is missing or wrong, or a version that is not known; says which.
    """
    version = document.get("version", VERSION)
    if type(version) is not int or not 1 <= version <= VERSION:
        raise CameraPathError(f"version: expected 1 to {VERSION}, got {repr(version)[:80]}")
    keys: list[Keyframe] = []
    for k, entry in enumerate(objects(document.get("keyframes"), "keyframes")):
        where = f"keyframes[{k}]"
        rotation = rotation_of(numbers(entry.get("rotation"), 4, f"{where}.rotation"), f"{where}.rotation")
        c2w = rigid(rotation, numbers(entry.get("position"), 3, f"{where}.position"))
        millimetres = number(entry.get("focal_length_mm"), f"{where}.focal_length_mm")
        if not millimetres > 0.0:
            raise CameraPathError(f"{where}.focal_length_mm: expected more than 0, got {millimetres}")
        fov = 2.0 * math.atan(HALF_SENSOR / millimetres)
        keys.append(keyframe(number(entry.get("time"), f"{where}.time"), c2w, fov, world, where))
    return CameraPath(tuple(sorted(keys, key=lambda key: key.seconds)))


def write_lichtfeld(path: CameraPath, world: Similarity, every: float) -> dict[str, Any]:
    """A document for LichtFeld Studio: a key every so many seconds; 0: the path's own keys.

    A closed path ends with its first view: whether the sequencer loops is no part of its files.
    """
    if every > 0.0:
        count = max(1, math.ceil(path.duration / every - 1e-6)) if path.duration else 0
        times = [path.duration * k / count if count else 0.0 for k in range(count + 1)]
    else:
        times = [time - path.start for time in path.key_times()] + ([path.duration] if path.closed else [])
    poses = path.poses([path.start + time for time in times])
    keys: list[dict[str, Any]] = []
    for k, seconds in enumerate(times):
        c2w = world.from_scene(poses.matrix(k))
        millimetres = HALF_SENSOR / math.tan(0.5 * float(poses.fovs[k]))
        keys.append(
            {
                "time": seconds,
                "position": c2w[:3, 3].tolist(),
                "rotation": quaternion_from_matrix(c2w[:3, :3]).tolist(),
                "focal_length_mm": max(SHORTEST_MM, min(LONGEST_MM, millimetres)),
                "easing": 0,
            }
        )
    return {"version": VERSION, "clip_duration": path.duration, "keyframes": keys}
