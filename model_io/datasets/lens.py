"""Lens distortion: photos are straightened when they are read, so that everything afterwards is a pinhole camera.

The model is OpenCV's and COLMAP's (Brown 1971). A ray (x, y, 1) of a camera that looks along +z with y down, with
r2 = x^2 + y^2 and the radial factor d = 1 + k1 r2 + k2 r2^2 + k3 r2^3 + k4 r2^4, meets the photo at

    x' = x d + 2 p1 x y + p2 (r2 + 2 x^2),    y' = y d + p1 (r2 + 2 y^2) + 2 p2 x y

in units of the focal length. k4 is one more term of the polynomial, as nerfstudio has it, not the first of the divisor
that OpenCV calls k4.

The straightened picture keeps the focal lengths, so that its middle is neither shrunk nor magnified, and is cut to the
largest upright rectangle in which every pixel comes from the photo. No pixel of it is made up, and none needs a mask.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..camera.camera import Camera
from ..errors import DatasetError

_BORDER_POINTS = 257  # on each side of the photo
_NEWTON_STEPS = 30
_LARGEST_GROWTH = 4  # a straightened picture is at most so many times as wide and as high as its photo


@dataclass(frozen=True)
class Lens:
    """The lens of a photo: pixels, focal lengths, principal point (pixel centres at +0.5), distortion."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    @property
    def distorts(self) -> bool:
        """Whether any coefficient is other than 0."""
        return any((self.k1, self.k2, self.k3, self.k4, self.p1, self.p2))

    def distort(self, points: NDArray[np.float64]) -> NDArray[np.float64]:  # [..., 2] -> [..., 2]
        """Where rays (x, y, 1) meet the photo, in units of the focal length from the principal point."""
        x, y = points[..., 0], points[..., 1]
        r2 = x * x + y * y
        radial = 1 + r2 * (self.k1 + r2 * (self.k2 + r2 * (self.k3 + r2 * self.k4)))
        return np.stack(
            [
                x * radial + 2 * self.p1 * x * y + self.p2 * (r2 + 2 * x * x),
                y * radial + self.p1 * (r2 + 2 * y * y) + 2 * self.p2 * x * y,
            ],
            axis=-1,
        )

    def undistort(self, points: NDArray[np.float64]) -> NDArray[np.float64]:  # [..., 2] -> [..., 2]
        """The inverse of :meth:`distort`, by Newton's method.

        Raises:
            DatasetError: some point has no ray: this distortion folds the picture.
        """
        rays = points.copy()
        with np.errstate(all="ignore"):  # what diverges is found below
            for _ in range(_NEWTON_STEPS):
                xx, xy, yy = self._jacobian(rays)
                error = self.distort(rays) - points
                determinant = xx * yy - xy * xy
                step = np.stack([yy * error[..., 0] - xy * error[..., 1], xx * error[..., 1] - xy * error[..., 0]], -1)
                rays = rays - step / determinant[..., None]
            good = np.abs(self.distort(rays) - points).max(initial=0.0) < 1e-9
        if not good or not self._unfolded(rays):
            raise DatasetError(f"distortion: expected one that does not fold the picture, got {self.coefficients()}")
        return rays

    def coefficients(self) -> str:
        """The coefficients that are not 0, for messages."""
        names = ("k1", "k2", "k3", "k4", "p1", "p2")
        return ", ".join(f"{name} {getattr(self, name):g}" for name in names if getattr(self, name))

    def _jacobian(self, rays: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """dx'/dx, dx'/dy = dy'/dx, dy'/dy."""
        x, y = rays[..., 0], rays[..., 1]
        r2 = x * x + y * y
        radial = 1 + r2 * (self.k1 + r2 * (self.k2 + r2 * (self.k3 + r2 * self.k4)))
        slope = self.k1 + r2 * (2 * self.k2 + r2 * (3 * self.k3 + r2 * 4 * self.k4))
        xx = radial + 2 * x * x * slope + 2 * self.p1 * y + 6 * self.p2 * x
        xy = 2 * x * y * slope + 2 * self.p1 * x + 2 * self.p2 * y
        yy = radial + 2 * y * y * slope + 6 * self.p1 * y + 2 * self.p2 * x
        return xx, xy, yy

    def _unfolded(self, rays: NDArray[np.float64]) -> bool:
        """Whether the mapping keeps its orientation on the way from the middle to every ray."""
        for part in np.linspace(0.0, 1.0, 33):
            xx, xy, yy = self._jacobian(rays * part)
            if not bool(np.all((xx > 0) & (xx * yy - xy * xy > 0))):
                return False
        return True


@lru_cache(maxsize=256)  # a data set has one lens, or one for each photo: each is asked for twice
def straightened(lens: Lens) -> tuple[int, int, int, int]:
    """The straightened picture: its left and top in the pixel coordinates of the photo, its width and height.

    Raises:
        DatasetError: the distortion folds the picture, or leaves no rectangle of a sensible size.
    """
    across = (np.linspace(0, lens.width, _BORDER_POINTS) - lens.cx) / lens.fx
    down = (np.linspace(0, lens.height, _BORDER_POINTS) - lens.cy) / lens.fy
    sides = [
        lens.undistort(np.stack(np.broadcast_arrays(x, y), axis=-1).astype(np.float64))
        for x, y in ((across[0], down), (across[-1], down), (across, down[0]), (across, down[-1]))
    ]
    # Rounded inwards; a hair of tolerance, so that a lens that does not distort keeps every pixel.
    left = math.ceil(sides[0][:, 0].max() * lens.fx + lens.cx - 1e-6)
    right = math.floor(sides[1][:, 0].min() * lens.fx + lens.cx + 1e-6)
    top = math.ceil(sides[2][:, 1].max() * lens.fy + lens.cy - 1e-6)
    bottom = math.floor(sides[3][:, 1].min() * lens.fy + lens.cy + 1e-6)
    width, height = right - left, bottom - top
    if not (0 < width <= _LARGEST_GROWTH * lens.width and 0 < height <= _LARGEST_GROWTH * lens.height):
        raise DatasetError(
            f"distortion: expected a straightened picture of about {lens.width}x{lens.height} pixels, "
            f"got {width}x{height} ({lens.coefficients()})"
        )
    return left, top, width, height


def pinhole_camera(lens: Lens, c2w: NDArray[np.float64]) -> Camera:
    """The camera of the straightened picture.

    Args:
        lens: that of the photo.
        c2w: camera-to-world [4, 4], OpenGL axes.

    Raises:
        DatasetError: as :func:`straightened`.
    """
    left, top, width, height = straightened(lens) if lens.distorts else (0, 0, lens.width, lens.height)
    return Camera.from_matrix(c2w, width, height, fx=lens.fx, fy=lens.fy, cx=lens.cx - left, cy=lens.cy - top)


def straighten(pixels: NDArray[np.uint8], lens: Lens) -> NDArray[np.uint8]:
    """Take the distortion out of a photo, uint8 [H, W, 3 or 4]; transparency is filtered with premultiplied colours.

    Raises:
        DatasetError: OpenCV is not installed, or as :func:`straightened`.
    """
    try:
        import cv2
    except ImportError as error:
        raise DatasetError(
            "distorted photos: expected opencv-python-headless to straighten them, got none "
            "(pip install kilonerf-view[train])"
        ) from error
    left, top, width, height = straightened(lens)
    x = (np.arange(width) + (left + 0.5 - lens.cx)) / lens.fx
    y = (np.arange(height) + (top + 0.5 - lens.cy)) / lens.fy
    source = lens.distort(np.stack(np.meshgrid(x, y), axis=-1, dtype=np.float64))
    # OpenCV counts pixels from their centres.
    columns = (source[..., 0] * lens.fx + (lens.cx - 0.5)).astype(np.float32)
    rows = (source[..., 1] * lens.fy + (lens.cy - 0.5)).astype(np.float32)

    def remapped(image: NDArray[np.float32]) -> NDArray[np.float32]:
        moved = cv2.remap(image, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, dtype=np.float32)

    if pixels.shape[2] == 3:
        straight = remapped(pixels.astype(np.float32))
    else:
        alpha = pixels[..., 3:].astype(np.float32)
        moved = remapped(np.concatenate([pixels[..., :3] * (alpha / 255), alpha], axis=-1, dtype=np.float32))
        color = moved[..., :3] * (255 / np.maximum(moved[..., 3:], 1.0))
        straight = np.concatenate([color, moved[..., 3:]], axis=-1)
    return np.clip(np.rint(straight), 0, 255).astype(np.uint8)
