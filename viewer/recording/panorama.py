"""360-degree pictures in the equirectangular projection, from six pinhole pictures around the camera."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import CancelToken, Renderer, RenderOptions
from kilonerf.model_io import Camera

FACE_SHARE = 0.4
"""Of the panorama's width: pixels of a face's side, somewhat finer than the panorama in the middle of a face."""
BORDER = 1  # pixels around a face: neighbours for the interpolation

# Right, up, backward of each face's camera, as (right, forward, up) of the panorama.
_FACES = (
    ((1, 0, 0), (0, 0, 1), (0, -1, 0)),  # ahead
    ((-1, 0, 0), (0, 0, 1), (0, 1, 0)),  # behind
    ((0, 1, 0), (0, 0, 1), (1, 0, 0)),  # left
    ((0, -1, 0), (0, 0, 1), (-1, 0, 0)),  # right
    ((1, 0, 0), (0, -1, 0), (0, 0, -1)),  # above
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),  # below
)


class PanoramaMaker:
    """Makes panoramas: the middle is where the camera looks, the horizon is level (world z is up).

    Args:
        options: of the renderer.
    """

    def __init__(self, options: RenderOptions) -> None:
        self._options = options

    def values(self, renderer: Renderer, camera: Camera, cancel: CancelToken) -> NDArray[np.float32]:
        """The panorama from where ``camera`` is, at its size, float32 [H, W, 3] from 0 to 1.

        Raises:
            RenderCancelled: ``cancel`` says so.
            KiloNeRFError: it cannot be made.
        """
        faces = [renderer.render(face, self._options, cancel=cancel).rgb for face in face_cameras(camera)]
        face, rows, columns = _lookup(camera.width, camera.height, _side(camera.width))
        stack = np.stack(faces)
        top, left = np.floor(rows).astype(np.intp), np.floor(columns).astype(np.intp)
        down, across = (rows - top)[..., None], (columns - left)[..., None]
        upper = stack[face, top, left] * (1.0 - across) + stack[face, top, left + 1] * across
        lower = stack[face, top + 1, left] * (1.0 - across) + stack[face, top + 1, left + 1] * across
        picture = upper * (1.0 - down) + lower * down
        return np.clip(picture, 0.0, 1.0).astype(np.float32)


def face_cameras(camera: Camera) -> list[Camera]:
    """The six cameras of a panorama from where ``camera`` is."""
    side = _side(camera.width)
    whole = side + 2 * BORDER
    level = _level(camera)
    cameras: list[Camera] = []
    for axes in _FACES:
        c2w = np.eye(4)
        c2w[:3, :3] = level @ np.array(axes, np.float64).T
        c2w[:3, 3] = camera.position
        cameras.append(Camera.from_matrix(c2w, whole, whole, fx=0.5 * side))
    return cameras


def _side(width: int) -> int:
    return max(8, round(FACE_SHARE * width))


def _level(camera: Camera) -> NDArray[np.float64]:
    """Columns right, forward, up [3, 3] of an upright camera with the same heading."""
    up = np.array([0.0, 0.0, 1.0])
    forward = -camera.matrix[:3, 2]
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-6:  # straight up or down
        right = camera.matrix[:3, 0]
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(up, right), up], axis=1)


@lru_cache(maxsize=2)
def _lookup(width: int, height: int, side: int) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """For each pixel of the panorama its face, and row and column there, each [H, W]."""
    longitude = (np.arange(width) + 0.5) / width * 2.0 * np.pi - np.pi
    latitude = 0.5 * np.pi - (np.arange(height) + 0.5) / height * np.pi
    lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
    directions = np.stack([np.cos(lat) * np.sin(lon), np.cos(lat) * np.cos(lon), np.sin(lat)], axis=-1)
    axes = np.array(_FACES, np.float64)  # [6, 3, 3]
    ahead = -np.einsum("hwc,fc->hwf", directions, axes[:, 2])
    face = np.argmax(ahead, axis=-1)
    depth = np.take_along_axis(ahead, face[..., None], axis=-1)[..., 0]
    x = np.einsum("hwc,hwc->hw", directions, axes[face, 0]) / depth
    y = np.einsum("hwc,hwc->hw", directions, axes[face, 1]) / depth
    middle = 0.5 * side + BORDER - 0.5  # index of the pixel whose centre is on the axis
    rows, columns = middle - 0.5 * side * y, middle + 0.5 * side * x
    limit = side + 2 * BORDER - 1.001
    return face, np.clip(rows, 0.0, limit), np.clip(columns, 0.0, limit)
