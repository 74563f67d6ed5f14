"""Rotations as unit quaternions (w, x, y, z), for what interpolates cameras."""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def quaternion_from_matrix(
    rotation: Float,  # [..., 3, 3]
) -> Float:  # [..., 4]
    """Unit quaternions of rotation matrices (Shepperd's method: divide by the largest component)."""
    m = rotation
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    # Four times the outer product q q^T, from the matrix alone; its row of the largest diagonal is the safest.
    outer = np.empty((*m.shape[:-2], 4, 4))
    outer[..., 0, 0] = 1.0 + trace
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        outer[..., i + 1, i + 1] = 1.0 - trace + 2.0 * m[..., i, i]
        outer[..., 0, i + 1] = outer[..., i + 1, 0] = m[..., k, j] - m[..., j, k]
        outer[..., i + 1, j + 1] = outer[..., j + 1, i + 1] = m[..., j, i] + m[..., i, j]
    best = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    row = np.take_along_axis(outer, best[..., None, None], axis=-2)[..., 0, :]
    return row / np.linalg.norm(row, axis=-1, keepdims=True)


def matrix_from_quaternion(
    quaternion: Float,  # [..., 4] unit
) -> Float:  # [..., 3, 3]
    """Rotation matrices of unit quaternions."""
    w, x, y, z = np.moveaxis(quaternion, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def multiply(
    left: Float,  # [..., 4]
    right: Float,  # [..., 4]
) -> Float:  # [..., 4]
    """The Hamilton product: first ``right`` turns, then ``left``."""
    w1, v1 = left[..., :1], left[..., 1:]
    w2, v2 = right[..., :1], right[..., 1:]
    scalar = w1 * w2 - np.sum(v1 * v2, axis=-1, keepdims=True)
    return np.concatenate([scalar, w1 * v2 + w2 * v1 + np.cross(v1, v2)], axis=-1)


def conjugate(
    quaternion: Float,  # [..., 4]
) -> Float:  # [..., 4]
    """The inverse of a unit quaternion."""
    return quaternion * np.array([1.0, -1.0, -1.0, -1.0])


def exponential(
    vector: Float,  # [..., 3] axis times angle in radians
) -> Float:  # [..., 4]
    """The unit quaternion that turns about ``vector`` by its length."""
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    # np.sinc(x) is sin(pi x) / (pi x): it needs no special case at 0.
    return np.concatenate([np.cos(0.5 * angle), 0.5 * np.sinc(0.5 * angle / np.pi) * vector], axis=-1)


def logarithm(
    quaternion: Float,  # [..., 4] unit
) -> Float:  # [..., 3] axis times angle, the angle in [0, pi]
    """The shortest rotation vector of a unit quaternion; the inverse of :func:`exponential`."""
    shortest = np.where(quaternion[..., :1] < 0.0, -quaternion, quaternion)
    sine = np.linalg.norm(shortest[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, shortest[..., :1])
    scale = np.divide(angle, sine, out=np.full_like(sine, 2.0), where=sine > 1e-12)
    return scale * shortest[..., 1:]
