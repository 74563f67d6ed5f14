"""How far away what the user looks at is: the measure of speed and distance inside a scene."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import Frame
from kilonerf.kernels.frame import OPAQUE

SAMPLED_PIXELS = 64
"""Pixels looked at along each side of a picture: a median needs no more."""
LEAST_SHARE = 0.02
"""A picture of less scene than this share says nothing about distances."""
MIDDLE = 0.25
"""Side of the middle of a picture, as a share of the whole."""


@dataclass(frozen=True)
class DepthInView:
    """z-depths of a picture, world units.

    Attributes:
        median: of all that is opaque.
        ahead: of what is opaque in the middle of the picture; the median of all where nothing is there.
    """

    median: float
    ahead: float


def depth_in_view(frame: Frame) -> DepthInView | None:
    """Measure a picture; None where there is next to nothing but background."""
    height, width = frame.depth.shape
    if not height or not width:
        return None
    rows, columns = (slice(None, None, max(1, side // SAMPLED_PIXELS)) for side in (height, width))
    depth, alpha = frame.depth[rows, columns], frame.alpha[rows, columns]
    median = _median(depth, alpha)
    if median is None:
        return None
    top, left = (round(0.5 * (1.0 - MIDDLE) * side) for side in depth.shape)
    bottom, right = depth.shape[0] - top, depth.shape[1] - left
    ahead = _median(depth[top:bottom, left:right], alpha[top:bottom, left:right])
    return DepthInView(median, ahead if ahead is not None else median)


def _median(depth: NDArray[np.float32], alpha: NDArray[np.float32]) -> float | None:
    opaque = (alpha >= OPAQUE) & np.isfinite(depth)
    if np.count_nonzero(opaque) <= LEAST_SHARE * opaque.size:
        return None
    return float(np.median(depth[opaque]))
