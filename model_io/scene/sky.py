"""The sky: what rays see that leave the last level of a scene of nested boxes; a colour for each direction.

Real spherical harmonics up to degree 3 of the world direction, without the Condon-Shortley sign, their sum clipped to
[0, 1]. Every expression is evaluated in float32 in the order in which it is written, without fused multiply-add, so all
backends have the same sky (kernels/native/sky.h repeats this operation by operation).
"""

import numpy as np
from numpy.typing import NDArray

COEFFICIENTS = 16
"""Of each colour: (3 + 1)^2."""

_CONSTANTS = (
    0.28209479,  # degree 0
    0.48860251,  # 1
    *(1.0925484, 0.31539157, 0.54627422),  # 2
    *(0.59004359, 2.8906114, 0.45704580, 0.37317633, 1.4453057),  # 3
)


def harmonics(directions: NDArray[np.floating]) -> NDArray[np.floating]:
    """The 16 functions at directions [..., 3], which need not be of length 1: [..., 16], of their dtype."""
    dx, dy, dz = np.moveaxis(directions, -1, 0)
    length = np.sqrt((dx * dx + dy * dy) + dz * dz)
    x, y, z = dx / length, dy / length, dz / length
    c0, c1, c2xy, c2z, c2d, c3a, c3xyz, c3b, c3z, c3d = np.asarray(_CONSTANTS, np.float32).astype(directions.dtype)
    one, three, five = directions.dtype.type(1), directions.dtype.type(3), directions.dtype.type(5)
    xx, yy, zz = x * x, y * y, z * z
    difference, ring = xx - yy, five * zz - one
    columns = (
        np.full_like(x, c0),
        c1 * y,
        c1 * z,
        c1 * x,
        c2xy * (x * y),
        c2xy * (y * z),
        c2z * (three * zz - one),
        c2xy * (x * z),
        c2d * difference,
        c3a * (y * (three * xx - yy)),
        c3xyz * ((x * y) * z),
        c3b * (y * ring),
        c3z * (z * (ring - (one + one))),
        c3b * (x * ring),
        c3d * (z * difference),
        c3a * (x * (xx - three * yy)),
    )
    return np.stack(columns, axis=-1)


def sky_colors(sky: NDArray[np.float32], directions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours of the sky.

    Args:
        sky: coefficients, float32 [16, 3].
        directions: in the world, of any length but 0, float32 [..., 3].

    Returns:
        float32 [..., 3] in [0, 1].
    """
    basis = harmonics(directions)
    color = basis[..., :1] * sky[0]
    for number in range(1, COEFFICIENTS):
        color = color + basis[..., number, None] * sky[number]
    return np.minimum(np.maximum(color, np.float32(0)), np.float32(1))
