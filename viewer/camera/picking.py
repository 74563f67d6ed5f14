"""What is under the cursor."""

import math

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import Frame
from kilonerf.model_io import Camera

PICKABLE_ALPHA = 0.1  # fainter haze is not what the user points at


def picked_point(camera: Camera, frame: Frame, u: float, v: float) -> tuple[NDArray[np.float64], float] | None:
    """World point [3] and z-depth seen at (u, v), fractions of the picture from its top left; None on background.

    Args:
        camera: the camera that ``frame`` was made with.
        frame: the picture that the user sees.
        u: 0 at the left edge, 1 at the right.
        v: 0 at the top, 1 at the bottom.
    """
    height, width = frame.depth.shape
    x, y = math.floor(u * width), math.floor(v * height)
    if not (0 <= x < width and 0 <= y < height) or frame.alpha[y, x] < PICKABLE_ALPHA:
        return None
    z = float(frame.depth[y, x])
    direction = np.array([(u * width - camera.cx) / camera.fx, -(v * height - camera.cy) / camera.fy, -1.0])
    return camera.position + z * (camera.matrix[:3, :3] @ direction), z
