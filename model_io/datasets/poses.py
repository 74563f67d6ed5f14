"""Poses of all kinds of data sets: camera-to-world matrices with OpenGL axes, checked before anything is made of them.

A rotation with a scale in it changes a view's focal length, and a mirrored one makes a scene as in a mirror: both train
without complaint, and neither is what the photos show.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .inspection import Inspection
from .photo_files import listed

Pose = NDArray[np.float64]  # [4, 4]
_ROUNDING = 1e-3  # of an axis' length, and of the cosine between two: a rotation that was written with few digits
_SKEW = 0.02  # cosine of the angle between two axes: about one degree
FARTHEST = 1e15  # units: beyond, float64 itself has less than a tenth of a unit
_LONGEST_AXIS = 1e30


def pose_matrix(field: str, value: Any) -> Pose:
    """A camera-to-world matrix [4, 4] from rows of numbers, 3x4 or 4x4.

    Raises:
        DatasetError: it is no such matrix, not finite, or its axes do not span space.
    """
    try:
        matrix = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.empty(0)
    if matrix.shape not in ((4, 4), (3, 4)):
        raise DatasetError(f"{field}: expected a matrix of 4x4 numbers, got {value!r:.60}")
    if not np.isfinite(matrix).all():
        raise DatasetError(f"{field}: expected finite numbers, got {matrix.tolist()}")
    if np.abs(matrix[:3, 3]).max() > FARTHEST:
        raise DatasetError(f"{field}: expected a position within {FARTHEST:g}, got {matrix[:3, 3].tolist()}")
    if np.abs(matrix[:3, :3]).max() > _LONGEST_AXIS:
        raise DatasetError(f"{field}: expected axes that span space, got {matrix[:3, :3].tolist()}")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    with np.errstate(all="ignore"):
        determinant = abs(np.linalg.det(matrix[:3, :3] / np.maximum(lengths, 1e-300)))
    # Without their lengths, so that axes in small units span space too.
    if not (lengths.min() > 1e-30 and determinant >= 1e-9):
        raise DatasetError(f"{field}: expected axes that span space, got {matrix[:3, :3].tolist()}")
    return np.concatenate([matrix[:3], [[0.0, 0.0, 0.0, 1.0]]])


def rigid_poses(
    where: str, poses: Sequence[Pose | None], names: Sequence[str], inspection: Inspection
) -> list[Pose | None]:
    """Take scale out of rotations; what is sheared or mirrored is a fault.

    Rotations without scale and shear are not touched.

    Args:
        where: for messages: the file or folder.
        poses: of the views; None where one is a fault already.
        names: of the views.
        inspection: takes faults and notes.

    Returns:
        the poses; None for those with a fault.
    """
    mirrored = [name for pose, name in zip(poses, names, strict=True) if pose is not None and _mirrored(pose)]
    count = sum(pose is not None for pose in poses)
    if mirrored and len(mirrored) == count:
        inspection.add(
            f"{where}: expected right-handed poses, got mirrored ones (determinant -1) in all {count} views: the scene "
            "would come out as in a mirror; if the world is left-handed, negate the third row of every matrix, and if "
            "the camera's axes are, its first column"
        )
        return [None] * len(poses)
    checked: list[Pose | None] = []
    scaled: list[str] = []
    scales: list[float] = []
    for pose, name in zip(poses, names, strict=True):
        checked.append(pose)
        if pose is None:
            continue
        if _mirrored(pose):
            inspection.add(f"{where}: {name}: expected a right-handed pose as the others, got a mirrored one")
            checked[-1] = None
            continue
        lengths = np.linalg.norm(pose[:3, :3], axis=0)
        axes = pose[:3, :3] / lengths
        skew = np.abs((axes.T @ axes)[np.triu_indices(3, 1)]).max()
        if skew > _SKEW:
            angle = np.degrees(np.arccos(min(skew, 1.0)))
            inspection.add(f"{where}: {name}: expected axes at right angles, got {angle:.3g} degrees between two")
            checked[-1] = None
        elif skew > _ROUNDING or np.abs(lengths - 1).max() > _ROUNDING:
            checked[-1] = pose.copy()
            checked[-1][:3, :3] = _nearest_rotation(axes)
            scaled.append(name)
            scales += [float(lengths.min()), float(lengths.max())]
    if scaled:
        inspection.note(
            f"{Path(where).name}: {len(scaled)} of {len(poses)} poses have axes of lengths {min(scales):.3g} to "
            f"{max(scales):.3g}: scale and shear are removed, positions stay: {listed(scaled)}"
        )
    return checked


def upright(poses: Pose) -> Pose:  # [V, 4, 4] -> [4, 4]
    """The smallest rotation that turns the cameras' mean up direction to +z, this program's up."""
    turn = np.eye(4)
    up = poses[:, :3, 1].mean(axis=0)
    length = np.linalg.norm(up)
    if length < 1e-3:  # cameras rolled in all directions: no up to speak of
        return turn
    x, y, z = up / length
    if z < -1 + 1e-9:
        turn[:3, :3] = np.diag([1.0, -1.0, -1.0])
        return turn
    # Rodrigues' formula for the axis up x (0, 0, 1) = (y, -x, 0).
    cross = np.array([[0.0, 0.0, -x], [0.0, 0.0, -y], [x, y, 0.0]])
    turn[:3, :3] = np.eye(3) + cross + cross @ cross / (1 + z)
    return turn


def _mirrored(pose: Pose) -> bool:
    axes = pose[:3, :3]
    return float(np.linalg.det(axes / np.linalg.norm(axes, axis=0))) < 0


def _nearest_rotation(axes: NDArray[np.float64]) -> NDArray[np.float64]:  # [3, 3]
    left, _, right = np.linalg.svd(axes)
    return left @ right
