"""A plan of a data set, seen from above: where the cameras are and look, the sparse points, and the box."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kilonerf.model_io import Camera
from kilonerf.model_io.files.atomic import AtomicFile

Box = tuple[Sequence[float], Sequence[float]]
_SIDE, _MARGIN = 1000, 60  # pixels
_MOST_POINTS = 20_000
_PERCENTILES = (2.0, 98.0)  # of the points: the farthest would make everything else small
_PAPER, _INK, _POINT, _BOX, _CAMERA = (255, 255, 255), (60, 60, 60), (170, 170, 170), (200, 40, 40), (30, 90, 200)


def draw_plan(
    cameras: Sequence[Camera], box: Box | None, points: NDArray[np.float64] | None, title: str
) -> Image.Image:
    """The plan: x to the right, y up; a camera is a dot with a line along its view."""
    positions = np.array([camera.position[:2] for camera in cameras])
    shown = [positions]
    if box is not None:
        shown.append(np.array([corner[:2] for corner in box]))
    if points is not None and len(points):
        points = points[:: max(1, len(points) // _MOST_POINTS)]
        shown.append(np.percentile(points[:, :2], _PERCENTILES, axis=0))
    low, high = np.concatenate(shown).min(axis=0), np.concatenate(shown).max(axis=0)
    extent = max(float((high - low).max()), 1e-12)
    scale, middle = (_SIDE - 2 * _MARGIN) / extent, (low + high) / 2

    def at(place: NDArray[np.float64]) -> tuple[float, float]:
        x, y = (place[:2] - middle) * scale
        return _SIDE / 2 + float(x), _SIDE / 2 - float(y)

    picture = Image.new("RGB", (_SIDE, _SIDE), _PAPER)
    draw = ImageDraw.Draw(picture)
    for point in () if points is None else points:
        draw.point(at(point), fill=_POINT)
    if box is not None:
        (left, bottom), (right, top) = at(np.array(box[0])), at(np.array(box[1]))
        draw.rectangle((left, top, right, bottom), outline=_BOX, width=3)
    for camera in cameras:
        _draw_camera(draw, at, camera, 0.06 * extent)
    _draw_rule(draw, extent, scale)
    draw.text((_MARGIN / 2, 12), f"{title}, seen from above: x to the right, y up", fill=_INK, font_size=20)
    draw.text(
        (_MARGIN / 2, 36), f"{len(cameras)} cameras (blue), box (red), sparse points (grey)", fill=_INK, font_size=20
    )
    return picture


def save_plan(picture: Image.Image, path: Path) -> None:
    """Write it as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    with AtomicFile(path) as file:
        picture.save(file, "PNG")


def _draw_camera(
    draw: ImageDraw.ImageDraw, at: Callable[[NDArray[np.float64]], tuple[float, float]], camera: Camera, length: float
) -> None:
    x, y = at(camera.position)
    draw.line((x, y, *at(camera.position - length * camera.matrix[:3, 2])), fill=_CAMERA, width=2)
    draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_CAMERA)


def _draw_rule(draw: ImageDraw.ImageDraw, extent: float, scale: float) -> None:
    """A line of a round length, with it."""
    length = 10.0 ** np.floor(np.log10(extent / 2))
    y = _SIDE - _MARGIN / 2
    draw.line((_MARGIN / 2, y, _MARGIN / 2 + length * scale, y), fill=_INK, width=3)
    draw.text((_MARGIN / 2, y - 26), f"{length:g} of the data set's units", fill=_INK, font_size=18)
