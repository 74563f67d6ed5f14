"""Lens distortion: photos are straightened when they are read, so that everything afterwards is a pinhole camera.

The model is OpenCV's and COLMAP's (Brown 1971). A ray (x, y, 1) of a camera that looks along +z with y down, with
r2 = x^2 + y^2 and the radial factor d = 1 + k1 r2 + k2 r2^2 + k3 r2^3 + k4 r2^4, meets the photo at

    x' = x d + 2 p1 x y + p2 (r2 + 2 x^2),    y' = y d + p1 (r2 + 2 y^2) + 2 p2 x y

in units of the focal length. k4 is one more term of the polynomial, as nerfstudio has it. What OpenCV's rational model
calls k4, k5 and k6 are d1, d2 and d3 here: d is divided by 1 + d1 r2 + d2 r2^2 + d3 r2^3. Thin prisms add s1 r2 to x'
and s2 r2 to y'. Before all that, a fisheye lens (Kannala and Brandt 2006) takes (x, y) to (x, y) atan(r) / r.

The straightened picture keeps the focal lengths, so that its middle is neither shrunk nor magnified, and is cut to the
largest upright rectangle in which every pixel comes from the photo. No pixel of it is made up, and none needs a mask.
Of a fisheye photo at most 120 degrees are kept: a pinhole's pixels grow towards its border without end.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..camera.camera import Camera
from ..errors import DatasetError

COEFFICIENTS = ("k1", "k2", "k3", "k4", "p1", "p2", "d1", "d2", "d3", "s1", "s2")
_BORDER_POINTS = 257  # on each side of the photo
_NEWTON_STEPS = 30
_WIDEST = math.tan(math.radians(60.0))  # of a straightened fisheye photo, to each side
_SMALLEST_PART = 1 / 8  # of a fisheye photo's width and height that a pinhole must be able to hold
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
    d1: float = 0.0
    d2: float = 0.0
    d3: float = 0.0
    s1: float = 0.0
    s2: float = 0.0
    fisheye: bool = False

    @property
    def distorts(self) -> bool:
        """Whether it is other than a pinhole."""
        return self.fisheye or any(getattr(self, name) for name in COEFFICIENTS)

    def scaled(self, width: int, height: int) -> "Lens":
        """The same lens for a photo of another resolution."""
        x, y = width / self.width, height / self.height
        return replace(self, width=width, height=height, fx=self.fx * x, fy=self.fy * y, cx=self.cx * x, cy=self.cy * y)

    def distort(self, points: NDArray[np.float64]) -> NDArray[np.float64]:  # [..., 2] -> [..., 2]
        """Where rays (x, y, 1) meet the photo, in units of the focal length from the principal point."""
        if self.fisheye:
            points = points * _fisheye(points)[0][..., None]
        x, y = points[..., 0], points[..., 1]
        r2 = x * x + y * y
        radial, _ = self._radial(r2)
        return np.stack(
            [
                x * radial + 2 * self.p1 * x * y + self.p2 * (r2 + 2 * x * x) + self.s1 * r2,
                y * radial + self.p1 * (r2 + 2 * y * y) + 2 * self.p2 * x * y + self.s2 * r2,
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
                xx, xy, yx, yy = self._jacobian(rays)
                error = self.distort(rays) - points
                determinant = xx * yy - xy * yx
                step = np.stack([yy * error[..., 0] - xy * error[..., 1], xx * error[..., 1] - yx * error[..., 0]], -1)
                rays = rays - step / determinant[..., None]
            good = np.abs(self.distort(rays) - points).max(initial=0.0) < 1e-9
        if not good or not self._unfolded(rays):
            raise DatasetError(f"distortion: expected one that does not fold the picture, got {self.coefficients()}")
        return rays

    def coefficients(self) -> str:
        """The coefficients that are not 0, for messages."""
        return ", ".join(f"{name} {getattr(self, name):g}" for name in COEFFICIENTS if getattr(self, name))

    def _radial(self, r2: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The radial factor and its derivative by r2."""
        radial = 1 + r2 * (self.k1 + r2 * (self.k2 + r2 * (self.k3 + r2 * self.k4)))
        slope = self.k1 + r2 * (2 * self.k2 + r2 * (3 * self.k3 + r2 * 4 * self.k4))
        if self.d1 or self.d2 or self.d3:
            divisor = 1 + r2 * (self.d1 + r2 * (self.d2 + r2 * self.d3))
            rise = self.d1 + r2 * (2 * self.d2 + r2 * 3 * self.d3)
            return radial / divisor, (slope * divisor - radial * rise) / divisor**2
        return radial, slope

    def _jacobian(self, rays: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """dx'/dx, dx'/dy, dy'/dx, dy'/dy."""
        points, bend, slant = rays, None, None
        if self.fisheye:
            bend, slant = _fisheye(rays)
            points = rays * bend[..., None]
        x, y = points[..., 0], points[..., 1]
        radial, slope = self._radial(x * x + y * y)
        xx = radial + 2 * x * x * slope + 2 * self.p1 * y + 6 * self.p2 * x + 2 * self.s1 * x
        across = 2 * x * y * slope + 2 * self.p1 * x + 2 * self.p2 * y
        xy, yx = across + 2 * self.s1 * y, across + 2 * self.s2 * x
        yy = radial + 2 * y * y * slope + 6 * self.p1 * y + 2 * self.p2 * x + 2 * self.s2 * y
        if bend is None or slant is None:
            return xx, xy, yx, yy
        u, v = rays[..., 0], rays[..., 1]
        a, b, d = bend + slant * u * u, slant * u * v, bend + slant * v * v
        return xx * a + xy * b, xx * b + xy * d, yx * a + yy * b, yx * b + yy * d

    def _unfolded(self, rays: NDArray[np.float64]) -> bool:
        """Whether the mapping keeps its orientation on the way from the middle to every ray."""
        for part in np.linspace(0.0, 1.0, 33):
            xx, xy, yx, yy = self._jacobian(rays * part)
            if not bool(np.all((xx > 0) & (xx * yy - xy * yx > 0))):
                return False
        return True

    def _holds(self, rays: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which rays [..., 2] meet the photo, before the picture folds."""
        with np.errstate(all="ignore"):
            x, y = np.moveaxis(self.distort(rays) * (self.fx, self.fy) + (self.cx, self.cy), -1, 0)
            xx, xy, yx, yy = self._jacobian(rays)
            return (x >= 0) & (x <= self.width) & (y >= 0) & (y <= self.height) & (xx * yy - xy * yx > 0)


def _fisheye(rays: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """atan(r) / r of rays [..., 2], and its derivative by r divided by r."""
    r = np.maximum(np.linalg.norm(rays, axis=-1), 1e-6)
    bend = np.arctan(r) / r
    return bend, np.where(r < 1e-3, -2 / 3, (1 / (1 + r * r) - bend) / (r * r))


@lru_cache(maxsize=256)  # a data set has one lens, or one for each photo: each is asked for twice
def straightened(lens: Lens) -> tuple[int, int, int, int]:
    """The straightened picture: its left and top in the pixel coordinates of the photo, its width and height.

    Raises:
        DatasetError: the distortion folds the picture, or leaves no rectangle of a sensible size.
    """
    if lens.fisheye:
        return _straightened_fisheye(lens)
    across = (np.linspace(0, lens.width, _BORDER_POINTS) - lens.cx) / lens.fx
    down = (np.linspace(0, lens.height, _BORDER_POINTS) - lens.cy) / lens.fy
    sides = [
        lens.undistort(np.stack(np.broadcast_arrays(x, y), axis=-1).astype(np.float64))
        for x, y in ((across[0], down), (across[-1], down), (across, down[0]), (across, down[-1]))
    ]
    # Rounded inwards; a hair of tolerance, so that a lens that does not distort keeps every pixel.
    return _rectangle(lens, sides[0][:, 0].max(), sides[1][:, 0].min(), sides[2][:, 1].max(), sides[3][:, 1].min())


def _straightened_fisheye(lens: Lens) -> tuple[int, int, int, int]:
    """As :func:`straightened`: as far as the axes reach in the photo, and less until the whole rectangle is in it."""
    reach = np.linspace(0.0, _WIDEST, 4 * _BORDER_POINTS)
    ends = []
    for direction in ((-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)):
        held = lens._holds(reach[:, None] * np.array(direction))
        ends.append(reach[int(held.argmin()) - 1] if not held.all() else reach[-1])
        if not held[0]:
            break
    else:
        left, right, top, bottom = -ends[0], ends[1], -ends[2], ends[3]
        across, down = np.linspace(left, right, _BORDER_POINTS), np.linspace(top, bottom, _BORDER_POINTS)
        sides = ((left, down), (right, down), (across, top), (across, bottom))
        border = np.concatenate([np.stack(np.broadcast_arrays(x, y), axis=-1) for x, y in sides])
        for step in range(100):
            part = 0.98**step
            if lens._holds(border * part).all() and lens._unfolded(border * part):
                found = _rectangle(lens, left * part, right * part, top * part, bottom * part)
                if found[2] >= _SMALLEST_PART * lens.width and found[3] >= _SMALLEST_PART * lens.height:
                    return found
                break
    raise DatasetError(f"distortion: expected a fisheye lens that a pinhole can hold, got {lens.coefficients()}")


def _rectangle(lens: Lens, left: float, right: float, top: float, bottom: float) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels, from the sides in units of the focal length.

    Raises:
        DatasetError: it is of no sensible size.
    """
    ends = (left * lens.fx + lens.cx, right * lens.fx + lens.cx, top * lens.fy + lens.cy, bottom * lens.fy + lens.cy)
    if not np.isfinite(ends).all():
        raise DatasetError(f"distortion: expected one that does not fold the picture, got {lens.coefficients()}")
    x0, x1 = math.ceil(ends[0] - 1e-6), math.floor(ends[1] + 1e-6)
    y0, y1 = math.ceil(ends[2] - 1e-6), math.floor(ends[3] + 1e-6)
    width, height = x1 - x0, y1 - y0
    if not (0 < width <= _LARGEST_GROWTH * lens.width and 0 < height <= _LARGEST_GROWTH * lens.height):
        raise DatasetError(
            f"distortion: expected a straightened picture of about {lens.width}x{lens.height} pixels, "
            f"got {width}x{height} ({lens.coefficients()})"
        )
    return x0, y0, width, height


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
    cv2 = _opencv()
    columns, rows = _sources(lens)

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


def straighten_mask(mask: NDArray[np.bool_], lens: Lens) -> NDArray[np.bool_]:
    """Straighten a mask, bool [H, W], as its photo: a pixel is kept if all of what it is made of is.

    Raises:
        DatasetError: as :func:`straighten`.
    """
    cv2 = _opencv()
    moved = cv2.remap(mask.astype(np.float32), *_sources(lens), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved) > 0.999


def _sources(lens: Lens) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The photo's column and row of each pixel of the straightened picture, [H, W], as OpenCV counts: from centres."""
    left, top, width, height = straightened(lens)
    x = (np.arange(width) + (left + 0.5 - lens.cx)) / lens.fx
    y = (np.arange(height) + (top + 0.5 - lens.cy)) / lens.fy
    source = lens.distort(np.stack(np.meshgrid(x, y), axis=-1, dtype=np.float64))
    columns = (source[..., 0] * lens.fx + (lens.cx - 0.5)).astype(np.float32)
    return columns, (source[..., 1] * lens.fy + (lens.cy - 0.5)).astype(np.float32)


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise DatasetError(
            "distorted photos: expected opencv-python-headless to straighten them, got none "
            "(pip install kilonerf-view[train])"
        ) from error
    return cv2
