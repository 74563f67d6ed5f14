"""nerfstudio's camera paths: of the viewer on viser (render_panel.py), and of the older web viewer.

Both hold ``camera_path``, one camera for each frame, which is what ``ns-render camera-path`` renders, and the
``keyframes`` it was made from. Cameras are OpenGL's; ``fov`` is vertical, in degrees.
"""

import json
import math
from typing import Any

import numpy as np

from ...errors import CameraPathError
from ..path import CameraPath, Keyframe
from .fields import UNTIMED_SECONDS, Float, keyframe, number, numbers, objects, rigid
from .worlds import Similarity

DEFAULT_TRANSITION = 2.0
DEFAULT_FPS = 24.0


def is_nerfstudio(document: dict[str, Any]) -> bool:
    """Whether a document is one of nerfstudio's."""
    return "camera_path" in document or ("keyframes" in document and "render_height" in document)


def read_nerfstudio(document: dict[str, Any], world: Similarity) -> CameraPath:
    """The flight that nerfstudio renders: each frame a key at its time; without frames, the keys.

    Raises:
        CameraPathError: a field is missing or wrong; says which.
    """
    frames = objects(document.get("camera_path") or [], "camera_path")
    closed = bool(document.get("is_cycle", False))
    if frames:
        fps = number(document.get("fps", DEFAULT_FPS), "fps")
        if not fps > 0.0:
            raise CameraPathError(f"fps: expected more than 0, got {fps}")
        keys: list[Keyframe] = []
        for k, frame in enumerate(frames):
            where = f"camera_path[{k}]"
            matrix = numbers(frame.get("camera_to_world"), 16, f"{where}.camera_to_world").reshape(4, 4)
            fov = math.radians(number(frame.get("fov"), f"{where}.fov"))
            keys.append(keyframe(k / fps, rigid(matrix[:3, :3], matrix[:3, 3]), fov, world, where))
        return CameraPath(tuple(keys), "keys", 1.0 / fps if closed and len(keys) > 1 else 0.0)
    entries = objects(document.get("keyframes"), "keyframes")
    times, closing = _key_times(document, entries, closed)
    keys = [
        keyframe(seconds, _key_matrix(entry, f"keyframes[{k}]"), _key_fov(entry, document, k), world, f"keyframes[{k}]")
        for k, (seconds, entry) in enumerate(zip(times, entries, strict=True))
    ]
    return CameraPath(tuple(keys), "keys", closing if len(keys) > 1 else 0.0)


def write_nerfstudio(
    path: CameraPath, world: Similarity, width: int, height: int, fps: float, *, old: bool = False
) -> dict[str, Any]:
    """A document for ``ns-render camera-path`` and for "Load Path" in its viewer (``old``: of the web viewer)."""
    aspect = width / height
    count = max(1, math.ceil(path.duration * fps - 1e-6) if path.closed else math.floor(path.duration * fps + 1e-6) + 1)
    poses = path.poses([path.start + k / fps for k in range(count)])
    frames = [
        {
            "camera_to_world": world.from_scene(poses.matrix(k)).reshape(-1).tolist(),
            "fov": math.degrees(float(poses.fovs[k])),
            "aspect": aspect,
        }
        for k in range(count)
    ]
    times = path.key_times()
    keys: list[dict[str, Any]] = []
    for k, key in enumerate(path.keyframes):
        matrix, fov = world.from_scene(key.c2w), math.degrees(key.fov_y)
        if old:
            share = (times[k] - path.start) / path.duration if path.duration else 0.0
            properties = [["FOV", fov], ["NAME", f"Camera {k}"], ["TIME", share]]
            columns = json.dumps(matrix.T.reshape(-1).tolist())
            keys.append({"matrix": columns, "fov": fov, "aspect": aspect, "properties": json.dumps(properties)})
        else:
            before = times[k] - times[k - 1] if k else path.closing_seconds
            keys.append(
                {
                    "matrix": matrix.reshape(-1).tolist(),
                    "fov": fov,
                    "aspect": aspect,
                    "override_transition_enabled": before > 0.0,
                    "override_transition_sec": before if before > 0.0 else None,
                }
            )
    shared = {
        "keyframes": keys,
        "camera_type": "perspective",
        "render_height": height,
        "render_width": width,
        "fps": fps,
        "seconds": path.duration,
        "is_cycle": path.closed,
        "smoothness_value": 0.5 if old else 0.0,
        "camera_path": frames,
    }
    if old:
        return {**shared, "crop": None}
    return {
        "default_fov": math.degrees(path.keyframes[0].fov_y),
        "default_transition_sec": DEFAULT_TRANSITION,
        **shared,
    }


def _key_times(document: dict[str, Any], entries: list[dict[str, Any]], closed: bool) -> tuple[list[float], float]:
    """Seconds of each key, and of the way back to the first."""
    if entries and isinstance(entries[0].get("matrix"), str):  # the web viewer's: even over its seconds
        seconds = number(document.get("seconds", UNTIMED_SECONDS * max(1, len(entries) - 1)), "seconds")
        sections = max(1, len(entries) if closed else len(entries) - 1)
        return [seconds * k / sections for k in range(len(entries))], seconds / sections if closed else 0.0
    default = number(document.get("default_transition_sec", DEFAULT_TRANSITION), "default_transition_sec")
    ways: list[float] = []
    for k, entry in enumerate(entries):
        own = entry.get("override_transition_sec") if entry.get("override_transition_enabled") else None
        ways.append(default if own is None else number(own, f"keyframes[{k}].override_transition_sec"))
    return np.cumsum([0.0, *ways[1:]]).tolist(), ways[0] if closed else 0.0


def _key_matrix(entry: dict[str, Any], where: str) -> Float:
    value = entry.get("matrix")
    columns = isinstance(value, str)
    if isinstance(value, str):  # three.js: column by column, as text
        try:
            value = json.loads(value)
        except ValueError as error:
            raise CameraPathError(f"{where}.matrix: expected 16 numbers, got {value[:80]!r}") from error
    matrix = numbers(value, 16, f"{where}.matrix").reshape(4, 4)
    matrix = matrix.T if columns else matrix
    return rigid(matrix[:3, :3], matrix[:3, 3])


def _key_fov(entry: dict[str, Any], document: dict[str, Any], k: int) -> float:
    return math.radians(number(entry.get("fov", document.get("default_fov")), f"keyframes[{k}].fov"))
