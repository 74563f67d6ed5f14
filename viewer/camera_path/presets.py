"""Paths to begin with, made from the current view: orbits around what it looks at, and a move towards it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera, CameraPath

SECONDS = 10.0
KEYS_PER_TURN = 8

Preset = Callable[[Camera, NDArray[np.float64]], CameraPath]


def orbit(view: Camera, target: NDArray[np.float64]) -> CameraPath:
    """A full turn around ``target`` [3] about world z, closed."""
    angles = [2.0 * math.pi * k / KEYS_PER_TURN for k in range(KEYS_PER_TURN)]
    section = SECONDS / KEYS_PER_TURN
    return _path(view, target, [(angle, 0.0, 1.0) for angle in angles], section, closing=section)


def rising_orbit(view: Camera, target: NDArray[np.float64]) -> CameraPath:
    """A full turn that rises by 30 degrees."""
    steps = [k / KEYS_PER_TURN for k in range(KEYS_PER_TURN + 1)]
    return _path(view, target, [(2.0 * math.pi * s, math.radians(30.0) * s, 1.0) for s in steps], SECONDS / 8)


def half_orbit(view: Camera, target: NDArray[np.float64]) -> CameraPath:
    """From 90 degrees on one side of the current view to 90 on the other."""
    return _path(view, target, [(math.radians(a), 0.0, 1.0) for a in (-90, -45, 0, 45, 90)], SECONDS / 4)


def swing(view: Camera, target: NDArray[np.float64]) -> CameraPath:
    """To and fro by 25 degrees around the current view, closed; slower where it turns back."""
    angles = (0.0, 25.0, 0.0, -25.0)
    path = _path(view, target, [(math.radians(a), 0.0, 1.0) for a in angles], SECONDS / 4, closing=SECONDS / 4)
    return replace(path, speed="keys")


def push_in(view: Camera, target: NDArray[np.float64]) -> CameraPath:
    """Straight towards ``target``, half of the way."""
    return _path(view, target, [(0.0, 0.0, 1.0), (0.0, 0.0, 0.5)], 0.6 * SECONDS)


PRESETS: Mapping[str, Preset] = {
    "Orbit": orbit,
    "Rising orbit": rising_orbit,
    "Half orbit": half_orbit,
    "Swing": swing,
    "Push in": push_in,
}


def _path(
    view: Camera,
    target: NDArray[np.float64],
    steps: list[tuple[float, float, float]],  # turn and rise in radians, share of the distance
    section: float,
    *,
    closing: float = 0.0,
) -> CameraPath:
    away = view.position - target
    distance = float(np.linalg.norm(away))
    yaw, pitch = math.atan2(away[1], away[0]), math.asin(max(-1.0, min(1.0, away[2] / max(distance, 1e-9))))
    cameras: list[Camera] = []
    for turn, rise, share in steps:
        up = min(math.radians(85.0), pitch + rise)
        direction = (math.cos(up) * math.cos(yaw + turn), math.cos(up) * math.sin(yaw + turn), math.sin(up))
        eye = target + share * distance * np.array(direction)
        cameras.append(Camera.look_at(eye, target, view.width, view.height, fov_y=view.fov_y))
    path = CameraPath.from_cameras([section * k for k in range(len(steps))], cameras)
    return CameraPath(path.keyframes, "even", closing)
