"""Scenes that are formulas: two soft balls with a highlight; a room, and a place under the sky, with cameras inside."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels.sampling import ray_directions, ray_origin
from kilonerf.model_io import Camera
from support.photo_sets import ring, write_blender

BALLS = (((-0.25, 0.1, 0.0), 0.4, (0.9, 0.3, 0.15)), ((0.4, -0.2, 0.25), 0.25, (0.15, 0.45, 0.85)))
DENSITY = 60.0


def field(points: NDArray[np.float64], directions: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Colour [..., 3] and density [...] at points along unit directions [..., 3]."""
    density = np.zeros(points.shape[:-1])
    color = np.full(points.shape, 0.5)
    for centre, radius, albedo in BALLS:
        away = points - centre
        distance = np.linalg.norm(away, axis=-1)
        inside = DENSITY / (1 + np.exp(40 * (distance - radius)))
        normal = away / np.maximum(distance, 1e-6)[..., None]
        light = 0.6 + 0.3 * normal[..., 2] + 0.25 * np.clip(-(normal * directions).sum(-1), 0, 1) ** 4
        color = np.where((inside > density)[..., None], np.array(albedo) * light[..., None], color)
        density = np.maximum(density, inside)
    return np.clip(color, 0, 1), density


def photo(camera: Camera, samples: int = 192) -> NDArray[np.uint8]:
    """The scene from a camera, RGBA; colours are not premultiplied."""
    directions = ray_directions(camera).reshape(-1, 3).astype(np.float64)
    length = np.linalg.norm(directions, axis=-1, keepdims=True)
    t = np.linspace(3.0, 5.2, samples)
    points = ray_origin(camera).astype(np.float64) + t[:, None] * directions[:, None]
    color, density = field(points, np.broadcast_to((directions / length)[:, None], points.shape))
    thickness = density * (t[1] - t[0]) * length
    weights = np.exp(thickness - np.cumsum(thickness, axis=1)) * -np.expm1(-thickness)
    alpha = weights.sum(1, keepdims=True)
    seen = (weights[..., None] * color).sum(1) / np.maximum(alpha, 1e-6)
    rgba = np.concatenate([seen, alpha], axis=1).reshape(camera.height, camera.width, 4)
    return np.rint(255 * np.clip(rgba, 0, 1)).astype(np.uint8)


def write_photos(folder: Path, views: int = 24, size: int = 48) -> Path:
    """A Blender data set of it, with training views only."""
    return write_blender(folder, ring(views, size, size), photo)


WALL = 4.0  # half of the room's width; the walls are patterned
ROOM_BALL = 0.6  # radius of the ball in its middle


def _to_ball(origin: NDArray[np.float64], d: NDArray[np.float64]) -> NDArray[np.float64]:
    """z-depth of the ball on rays along d [R, 3]; inf where they miss it."""
    a, b, c = (d * d).sum(1), d @ origin, origin @ origin - ROOM_BALL**2
    root = b * b - a * c
    return np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)


def room_photo(camera: Camera) -> NDArray[np.uint8]:
    """The room from a camera, opaque RGB."""
    origin = ray_origin(camera).astype(np.float64)
    d = ray_directions(camera).reshape(-1, 3).astype(np.float64)
    to_wall = np.min(np.where(d > 0, WALL - origin, -WALL - origin) / np.where(d == 0, 1e-12, d), axis=1)
    to_ball = _to_ball(origin, d)
    t = np.where((to_ball > 0) & (to_ball < to_wall), to_ball, to_wall)
    points = origin + t[:, None] * d
    ball = [0.9, 0.3, 0.1] * (0.7 + 0.3 * points[:, 2:] / ROOM_BALL)
    wall = 0.5 + 0.25 * np.sin(2.1 * points + [0.0, 1.0, 2.0]) + 0.15 * np.cos(3.7 * points[:, [1, 2, 0]])
    seen = np.where((t == to_ball)[:, None], ball, wall).clip(0, 1)
    return np.rint(255 * seen).reshape(camera.height, camera.width, 3).astype(np.uint8)


def room_cameras(count: int, size: int = 40, distance: float = 1.6, turn: float = 0.0) -> list[Camera]:
    """Around the ball, within the room, looking inwards."""
    angles = turn + 2 * np.pi * np.arange(count) / count
    heights = 0.7 * np.sin(3 * angles)
    return [
        Camera.look_at((distance * np.cos(a), distance * np.sin(a), h), (0, 0, 0), size, size, fov_y=1.3)
        for a, h in zip(angles, heights, strict=True)
    ]


GROUND = -0.8  # height of the ground under the sky
HILLS = 6.0  # from the middle, all around; their tops are at different heights


def open_sky(directions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Colours [R, 3] of a clear sky along unit directions: pale at the horizon, and bright on the side of the sun."""
    height = np.clip(directions[:, 2:], 0, 1)
    sun = np.clip(directions @ np.array([0.8, 0.3, 0.52]), 0, 1)[:, None] ** 2
    return (1 - height) * [0.7, 0.8, 0.9] + height * [0.15, 0.35, 0.8] + 0.25 * sun * [1.0, 0.8, 0.4]


def outdoor_photo(camera: Camera) -> NDArray[np.uint8]:
    """The ball on patterned ground within a ring of hills, under the sky; opaque RGB."""
    origin = ray_origin(camera).astype(np.float64)
    d = ray_directions(camera).reshape(-1, 3).astype(np.float64)
    flat, away = (d[:, :2] ** 2).sum(1), d[:, :2] @ origin[:2]
    to_hills = (np.sqrt(away**2 + flat * (HILLS**2 - origin[:2] @ origin[:2])) - away) / flat
    to_ground = np.where(d[:, 2] < 0, (GROUND - origin[2]) / np.minimum(d[:, 2], -1e-12), np.inf)
    turn = np.arctan2(*(origin[:2] + to_hills[:, None] * d[:, :2]).T)
    hit = origin[2] + to_hills * d[:, 2] < 0.9 + 0.5 * np.sin(3 * turn) + 0.25 * np.cos(5 * turn)
    t = np.minimum(np.where(hit, np.minimum(to_hills, to_ground), to_ground), _to_ball(origin, d))
    points = origin + np.where(np.isfinite(t), t, 0)[:, None] * d
    solid = [0.45, 0.4, 0.3] + 0.2 * np.sin(2.1 * points + [0.0, 1.0, 2.0]) + 0.1 * np.cos(3.7 * points[:, [1, 2, 0]])
    ball = [0.9, 0.3, 0.1] * (0.7 + 0.3 * points[:, 2:] / ROOM_BALL)
    solid = np.where((t == _to_ball(origin, d))[:, None], ball, solid)
    seen = np.where(np.isfinite(t)[:, None], solid, open_sky(d / np.linalg.norm(d, axis=1, keepdims=True))).clip(0, 1)
    return np.rint(255 * seen).reshape(camera.height, camera.width, 3).astype(np.uint8)


def outdoor_cameras(count: int, size: int = 40, turn: float = 0.0) -> list[Camera]:
    """Around the ball, looking past it: a third of what they see is sky."""
    return [
        Camera.look_at(camera.position, (0.0, 0.0, 0.3), size, size, fov_y=1.3)
        for camera in room_cameras(count, size, turn=turn)
    ]


def write_room(folder: Path, views: int = 30, size: int = 40) -> Path:
    """A Blender data set of it, with training views only."""
    return write_blender(folder, room_cameras(views, size), room_photo)


def write_outdoors(folder: Path, views: int = 30, size: int = 40) -> Path:
    """Likewise, of the place under the sky; its cameras look up a little."""
    return write_blender(folder, outdoor_cameras(views, size), outdoor_photo)
