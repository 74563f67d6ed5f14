"""A dense path, as a recorded flight is, with the few keyframes that a person can edit."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from . import rotation
from .curve import Poses
from .path import CameraPath

Float = NDArray[np.float64]

POSITION_SHARE = 0.005  # of the path's extent
ANGLE = math.radians(0.75)
ZOOM = math.log(1.01)


def simplified(path: CameraPath) -> CameraPath:
    """The same motion through as few of its keyframes as stay close to it, at their times.

    The curve through those kept is at most half a percent of the path's extent away from every keyframe, turned by
    at most 0.75 degrees, and its field of view is off by at most one percent.
    """
    keys = path.keyframes
    if len(keys) <= 2 or path.speed == "even":
        return path
    wanted = Poses.of([key.c2w for key in keys], [key.fov_y for key in keys])
    times = np.array([key.seconds for key in keys])
    extent = float(np.linalg.norm(np.ptp(wanted.positions, axis=0)))
    kept = [0, len(keys) - 1]
    while True:
        candidate = replace(path, keyframes=tuple(keys[i] for i in kept))
        errors = _errors(candidate, times, wanted, POSITION_SHARE * extent)
        added = [a + int(np.argmax(errors[a:b])) for a, b in pairwise(kept)]
        added = [i for i in added if errors[i] > 1.0 and i not in kept]
        if not added:
            return candidate
        kept = sorted({*kept, *added})


def _errors(path: CameraPath, times: Float, wanted: Poses, distance: float) -> Float:
    """How far ``path`` is from where it should be, in shares of what is allowed, [N]."""
    got = path.poses(times)
    moved = np.linalg.norm(got.positions - wanted.positions, axis=1) / max(distance, 1e-12)
    turn = rotation.multiply(rotation.conjugate(wanted.quaternions), got.quaternions)
    turned = np.linalg.norm(rotation.logarithm(turn), axis=1) / ANGLE
    return np.maximum(np.maximum(moved, turned), np.abs(got.zooms - wanted.zooms)[:, 0] / ZOOM)
