"""How a virtual film camera exposes its pictures: samples per pixel, motion blur, depth of field.

All three are means of several pictures in linear light, each from a slightly different camera: moved along the path
within the time that the shutter is open, across the lens, and by a part of a pixel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from kilonerf.model_io import Camera, CameraPath, UsageError

from ..rendering.accumulation import MOST_SAMPLES, offset_camera

BLUR_SAMPLES = 16
"""Pictures that make one where blur is asked for and no number."""
GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))


@dataclass(frozen=True)
class Film:
    """What a video's camera is set to.

    Attributes:
        samples: pictures that are averaged into one; None: 1, or 16 with blur.
        shutter: degrees of a rotating shutter: 360 is open for the whole time of a frame, 180 for half of it; 0 takes
            no time.
        aperture: diameter of the lens in world units; 0: everything is sharp.
        focus: z-depth in world units at which things are sharp.

    Raises ``UsageError`` for numbers out of range, and for an aperture without a focus.
    """

    samples: int | None = None
    shutter: float = 0.0
    aperture: float = 0.0
    focus: float = 0.0

    def __post_init__(self) -> None:
        if self.samples is not None and not 1 <= self.samples <= MOST_SAMPLES:
            raise UsageError(f"samples: expected 1 to {MOST_SAMPLES} per pixel, got {self.samples}")
        if not 0.0 <= self.shutter <= 360.0:
            raise UsageError(f"shutter: expected an angle from 0 to 360 degrees, got {self.shutter}")
        if not 0.0 <= self.aperture < math.inf:
            raise UsageError(f"aperture: expected a diameter from 0 on, got {self.aperture}")
        if self.aperture > 0.0 and not 0.0 < self.focus < math.inf:
            raise UsageError(f"focus: expected a distance of more than 0 with an aperture, got {self.focus}")

    @property
    def count(self) -> int:
        """Pictures that make one."""
        return self.samples or (BLUR_SAMPLES if self.shutter > 0.0 or self.aperture > 0.0 else 1)


NO_BLUR = Film()


def frame_count(path: CameraPath, fps: float | Fraction) -> int:
    """Frames of a path's video: ``floor(duration * fps) + 1``; of a closed one without the last, which is the first."""
    frames = path.duration * float(fps)
    if path.closed:
        return max(1, math.ceil(frames - 1e-6))
    return math.floor(frames + 1e-6) + 1  # the slack: 2.9999999 s at 30 fps have 91 frames


def path_cameras(path: CameraPath, width: int, height: int, fps: float | Fraction) -> list[Camera]:
    """The cameras of a video: frame k at ``k / fps`` seconds."""
    return [path.camera_at(path.start + float(k / fps), width, height) for k in range(frame_count(path, fps))]


def path_exposures(
    path: CameraPath, width: int, height: int, fps: float | Fraction, film: Film
) -> list[tuple[Camera, ...]]:
    """For each frame of a path's video the cameras whose pictures it is the mean of."""
    if film.count == 1:
        return [(camera,) for camera in path_cameras(path, width, height, fps)]
    open_seconds = film.shutter / 360.0 / float(fps)
    times = [(_spread(j) - 0.5) * open_seconds for j in range(film.count)]
    frames: list[tuple[Camera, ...]] = []
    for k in range(frame_count(path, fps)):
        moments = [_within(path, float(k / fps) + time) for time in times]
        cameras = [path.camera_at(path.start + moment, width, height) for moment in moments]
        frames.append(tuple(_sample(camera, film, j) for j, camera in enumerate(cameras)))
    return frames


def still_exposures(cameras: Sequence[Camera], film: Film) -> list[tuple[Camera, ...]]:
    """The same for cameras that do not move while the shutter is open."""
    return [tuple(_sample(camera, film, j) for j in range(film.count)) for camera in cameras]


def _within(path: CameraPath, seconds: float) -> float:
    """A moment of the path; before its begin a closed one is at its end."""
    return seconds % path.duration if path.closed else seconds


def _spread(j: int) -> float:
    """The j-th of numbers that fill (0, 1) evenly and out of order: van der Corput's sequence in base 2."""
    result, digit = 0.0, 0.5
    number = j + 1
    while number:
        result += digit * (number & 1)
        number >>= 1
        digit *= 0.5
    return result


def _sample(camera: Camera, film: Film, j: int) -> Camera:
    """The j-th camera of an exposure: a part of a pixel to the side, at a place of the lens."""
    if film.count == 1:
        return camera
    camera = offset_camera(camera, j)
    if film.aperture == 0.0:
        return camera
    radius, angle = 0.5 * film.aperture * math.sqrt((j + 0.5) / film.count), j * GOLDEN_ANGLE
    right, up = radius * math.cos(angle), radius * math.sin(angle)
    matrix = camera.matrix.copy()
    matrix[:3, 3] += right * matrix[:3, 0] + up * matrix[:3, 1]
    # The plane in focus keeps its place in the picture.
    shifted = replace(camera, cx=camera.cx + right * camera.fx / film.focus, cy=camera.cy - up * camera.fy / film.focus)
    return shifted.moved(matrix)
