"""A turn around the scene: cameras on a circle."""

import math

import numpy as np
from numpy.typing import NDArray

from .. import Camera, Scene
from .rotation import exponential, matrix_from_quaternion


def turntable_cameras(scene: Scene, count: int, width: int, height: int) -> list[Camera]:
    """``count`` cameras of one full turn, without the last that would equal the first: a video of them loops.

    The start camera turns about the vertical axis through the middle of what is occupied; the axis is the
    world's axis that is nearest to the start camera's up. A scene without a start camera is seen whole, from
    20 degrees above, with z up.
    """
    middle = occupied_middle(scene)
    start = (scene.start_camera or _camera_that_sees_all(scene, middle)).resized(width, height)
    up = start.matrix[:3, 1]
    axis = np.zeros(3)
    nearest = int(np.argmax(np.abs(up)))
    axis[nearest] = math.copysign(1.0, up[nearest])
    cameras: list[Camera] = []
    for k in range(count):
        turn = np.eye(4)
        turn[:3, :3] = matrix_from_quaternion(exponential(axis * (2.0 * math.pi * k / count)))
        turn[:3, 3] = middle - turn[:3, :3] @ middle
        cameras.append(start.moved(turn @ start.matrix))
    return cameras


def occupied_middle(scene: Scene) -> NDArray[np.float64]:
    """Middle of the smallest box around all occupied voxels, [3]; of the scene's box if there are none."""
    voxel = scene.box.size / scene.cells.occupancy.shape
    middle = scene.box.middle
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(scene.cells.occupancy.any(axis=others))
        if filled.size:
            middle[axis] = scene.box_min[axis] + voxel[axis] * 0.5 * (filled[0] + filled[-1] + 1)
    return middle


def _camera_that_sees_all(scene: Scene, middle: NDArray[np.float64]) -> Camera:
    radius = 0.5 * float(np.linalg.norm(scene.box_max - scene.box_min))
    fov_y, elevation = math.radians(40.0), math.radians(20.0)
    distance = radius / math.sin(0.5 * fov_y)
    eye = middle + distance * np.array([0.0, -math.cos(elevation), math.sin(elevation)])
    return Camera.look_at(eye, middle, 800, 800, fov_y=fov_y)
