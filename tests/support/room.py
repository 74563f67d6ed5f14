"""A room with cameras inside it: photos of a whole place. A ball stands in the middle of patterned walls."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels.sampling import ray_directions, ray_origin
from kilonerf.model_io import Camera
from support.photo_sets import write_blender

WALL = 4.0  # half of the room's width
BALL = 0.6


def photo(camera: Camera) -> NDArray[np.uint8]:
    """The room from a camera, opaque RGB."""
    origin = ray_origin(camera).astype(np.float64)
    d = ray_directions(camera).reshape(-1, 3).astype(np.float64)
    to_wall = np.min(np.where(d > 0, WALL - origin, -WALL - origin) / np.where(d == 0, 1e-12, d), axis=1)
    a, b, c = (d * d).sum(1), d @ origin, origin @ origin - BALL**2
    root = b * b - a * c
    to_ball = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    t = np.where((to_ball > 0) & (to_ball < to_wall), to_ball, to_wall)
    points = origin + t[:, None] * d
    wall = 0.5 + 0.25 * np.sin(2.1 * points + [0.0, 1.0, 2.0]) + 0.15 * np.cos(3.7 * points[:, [1, 2, 0]])
    ball = [0.9, 0.3, 0.1] * (0.7 + 0.3 * points[:, 2:] / BALL)
    seen = np.where((t == to_ball)[:, None], ball, wall).clip(0, 1)
    return np.rint(255 * seen).reshape(camera.height, camera.width, 3).astype(np.uint8)


def cameras(count: int, size: int = 40, distance: float = 1.6, turn: float = 0.0) -> list[Camera]:
    """Around the ball, within the room, looking inwards."""
    angles = turn + 2 * np.pi * np.arange(count) / count
    heights = 0.7 * np.sin(3 * angles)
    return [
        Camera.look_at((distance * np.cos(a), distance * np.sin(a), h), (0, 0, 0), size, size, fov_y=1.3)
        for a, h in zip(angles, heights, strict=True)
    ]


def write_room(folder: Path, views: int = 30, size: int = 40) -> Path:
    """A Blender data set of it, with training views only."""
    return write_blender(folder, cameras(views, size), photo)
