"""A camera's flight: time-stamped keyframes, a smooth curve through them, and its JSON file (docs/camera_path.md)."""

import json
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CameraPathError
from ..files.atomic import write_text
from ..files.json_values import is_array, is_object
from ..files.text import read_text
from . import rotation
from .camera import Camera, Row

FORMAT = "kilonerf-camera-path"
VERSION = 1
ROTATION_TOLERANCE = 1e-3  # of R^T R - I: what matrices written by hand with four decimals reach
SHORTEST_STEP = 1e-6  # seconds between keyframes
LARGEST = 1e9  # of a time or a coordinate; with SHORTEST_STEP it keeps every speed along the curve finite
NARROWEST = 1e-4  # radians of field of view, and of what is left to pi
MAXIMUM_FILE_BYTES = 256 * 2**20

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Keyframe:
    """Where the camera is at one moment.

    Attributes:
        seconds: time since the path's origin.
        c2w: camera-to-world, four rows of four floats: a rotation and a position.
        fov_y: vertical field of view in radians, in (0, pi).

    Raises ``CameraPathError`` for numbers out of range and for a matrix that is not a rotation and a position.
    """

    seconds: float
    c2w: tuple[Row, Row, Row, Row]
    fov_y: float

    def __post_init__(self) -> None:
        if not abs(self.seconds) <= LARGEST:
            raise CameraPathError(f"seconds: expected a number of at most {LARGEST:g}, got {self.seconds}")
        if not NARROWEST <= self.fov_y <= math.pi - NARROWEST:
            raise CameraPathError(f"fov_y: expected radians between 0 and pi, got {self.fov_y}")
        matrix = np.array(self.c2w, dtype=np.float64)
        if matrix.shape != (4, 4) or not (np.abs(matrix) <= LARGEST).all():
            raise CameraPathError(f"c2w: expected 4 rows of 4 numbers of at most {LARGEST:g}")
        if self.c2w[3] != (0.0, 0.0, 0.0, 1.0):
            raise CameraPathError(f"c2w: expected a last row of 0 0 0 1, got {' '.join(map(str, self.c2w[3]))}")
        error = float(np.abs(matrix[:3, :3].T @ matrix[:3, :3] - np.eye(3)).max())
        if error > ROTATION_TOLERANCE or np.linalg.det(matrix[:3, :3]) < 0.0:
            raise CameraPathError(
                f"c2w: expected a rotation without scale or mirroring, got one that is off by {error:.2g}"
            )

    @classmethod
    def from_camera(cls, seconds: float, camera: Camera) -> "Keyframe":
        """The pose and the vertical field of view of ``camera``; its size and principal point are left out."""
        return cls(float(seconds), camera.c2w, camera.fov_y)


@dataclass(frozen=True)
class CameraPath:
    """Keyframes with strictly increasing times, and the smooth curve through them.

    The position is a cubic Hermite curve with Catmull-Rom tangents for unequal times; the orientation is the same
    curve on unit quaternions (Kim, Kim and Shin, "A General Construction Scheme for Unit Quaternion Curves with
    Simple High Order Derivatives", SIGGRAPH 1995, section 5). Both are continuous in velocity, exact at the
    keyframes, and stand still between equal ones: a tangent is never longer than three times the shorter of its
    two neighbouring chords' speeds, so that a rest is not left early.

    One keyframe is a still. Raises ``CameraPathError`` for no keyframes or times that do not increase (by a
    microsecond at least).
    """

    keyframes: tuple[Keyframe, ...]

    def __post_init__(self) -> None:
        if not self.keyframes:
            raise CameraPathError("keyframes: expected at least one, got none")
        for i in range(1, len(self.keyframes)):
            before, after = self.keyframes[i - 1].seconds, self.keyframes[i].seconds
            if after - before < SHORTEST_STEP:
                raise CameraPathError(f"keyframes[{i}].seconds: expected more than {before}, got {after}")

    @classmethod
    def from_cameras(cls, times: ArrayLike, cameras: Sequence[Camera]) -> "CameraPath":
        """A path through ``cameras`` at ``times`` [N] in seconds.

        Raises:
            CameraPathError: none are given, the counts differ, times do not increase, or a pose is no rotation.
        """
        seconds = np.asarray(times, dtype=np.float64).reshape(-1).tolist()
        if len(seconds) != len(cameras):
            raise CameraPathError(f"camera path: expected one time per camera, got {len(seconds)} for {len(cameras)}")
        return cls(tuple(Keyframe.from_camera(t, camera) for t, camera in zip(seconds, cameras, strict=True)))

    @property
    def duration(self) -> float:
        """Seconds from the first keyframe to the last; 0 for a still."""
        return self.keyframes[-1].seconds - self.keyframes[0].seconds

    @property
    def start(self) -> float:
        """Time of the first keyframe in seconds."""
        return self.keyframes[0].seconds

    def camera_at(self, seconds: float, width: int, height: int) -> Camera:
        """The camera at a time, for a picture of ``width`` x ``height``; before and after the path its ends."""
        if not math.isfinite(seconds):
            raise ValueError(f"CameraPath.camera_at: seconds must be finite, got {seconds}")
        c2w, fov_y = self._pose_at(seconds)
        return Camera.from_matrix(c2w, width, height, fx=0.5 * height / math.tan(0.5 * fov_y))

    def _pose_at(self, seconds: float) -> tuple[ArrayLike, float]:
        curve = self._curve
        after = bisect_right(curve.times, seconds)
        key = self.keyframes[max(after - 1, 0)]
        if after == 0 or after == len(self.keyframes) or seconds == key.seconds:
            return key.c2w, key.fov_y
        return curve.between(after - 1, seconds)

    @cached_property
    def _curve(self) -> "_Curve":
        return _Curve.through(self.keyframes)

    def save(self, path: Path) -> None:
        """Write the path as JSON, whole or not at all; every number survives exactly.

        Raises:
            OutputError: the file cannot be written.
        """
        keyframes = [
            {"seconds": k.seconds, "fov_y": k.fov_y, "c2w": [list(row) for row in k.c2w]} for k in self.keyframes
        ]
        lines = ",\n    ".join(json.dumps(keyframe) for keyframe in keyframes)
        write_text(
            path, f'{{\n  "format": "{FORMAT}",\n  "version": {VERSION},\n  "keyframes": [\n    {lines}\n  ]\n}}\n'
        )

    @classmethod
    def load(cls, path: Path) -> "CameraPath":
        """Read a path that :meth:`save` wrote, or that a person or program made by docs/camera_path.md.

        Raises:
            CameraPathError: the file is missing, unreadable, or breaks the format; says where, expected and got.
        """
        text = read_text(path, MAXIMUM_FILE_BYTES, CameraPathError)
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CameraPathError(f"{path}: expected JSON, got: {error}") from error
        try:
            return cls(_parse(document))
        except CameraPathError as error:
            raise CameraPathError(f"{path}: {error}") from error


@dataclass(frozen=True, eq=False)
class _Curve:
    """What :meth:`CameraPath.camera_at` needs of the keyframes, made once."""

    times: list[float]
    positions: Float  # [N, 3]
    velocities: Float  # [N, 3]
    quaternions: Float  # [N, 4]
    spins: Float  # [N, 3] angular velocity in the camera's own axes
    zooms: Float  # [N, 1] log tan(fov_y / 2): any value is a valid field of view
    zoom_rates: Float  # [N, 1]

    @classmethod
    def through(cls, keyframes: Sequence[Keyframe]) -> "_Curve":
        times = [key.seconds for key in keyframes]
        matrices = np.array([key.c2w for key in keyframes], dtype=np.float64)
        positions = matrices[:, :3, 3]
        quaternions = rotation.quaternion_from_matrix(matrices[:, :3, :3])
        zooms = np.log(np.tan(0.5 * np.array([[key.fov_y] for key in keyframes])))
        steps = np.diff(times)[:, None]
        turns = rotation.logarithm(rotation.multiply(rotation.conjugate(quaternions[:-1]), quaternions[1:]))
        return cls(
            times,
            positions,
            _tangents(np.diff(positions, axis=0) / steps, steps),
            quaternions,
            _tangents(turns / steps, steps),
            zooms,
            _tangents(np.diff(zooms, axis=0) / steps, steps),
        )

    def between(self, i: int, seconds: float) -> tuple[Float, float]:
        """c2w [4, 4] and field of view strictly between keyframes i and i + 1."""
        step = self.times[i + 1] - self.times[i]
        u = (seconds - self.times[i]) / step
        c2w = np.eye(4)
        c2w[:3, 3] = _hermite(u, step, self.positions, self.velocities, i)
        c2w[:3, :3] = rotation.matrix_from_quaternion(self._orientation(u, step, i))
        zoom = _hermite(u, step, self.zooms, self.zoom_rates, i)
        return c2w, 2.0 * math.atan(math.exp(float(zoom[0])))

    def _orientation(self, u: float, step: float, i: int) -> Float:
        first = self.spins[i] * (step / 3.0)
        last = self.spins[i + 1] * (step / 3.0)
        whole = rotation.multiply(rotation.conjugate(self.quaternions[i]), self.quaternions[i + 1])
        inner = rotation.multiply(rotation.multiply(rotation.exponential(-first), whole), rotation.exponential(-last))
        middle = rotation.logarithm(inner)
        q = self.quaternions[i]
        # The cumulative Bernstein basis of degree 3.
        for vector, weight in ((first, 1.0 - (1.0 - u) ** 3), (middle, u * u * (3.0 - 2.0 * u)), (last, u**3)):
            q = rotation.multiply(q, rotation.exponential(vector * weight))
        return q / np.linalg.norm(q)


def _tangents(
    chords: Float,  # [N - 1, D] mean speed of each segment
    steps: Float,  # [N - 1, 1] seconds of each segment
) -> Float:  # [N, D]
    """Speeds at the keyframes: of the parabola through three neighbours, limited so that rests stay rests."""
    count = len(chords) + 1
    tangents = np.zeros((count, chords.shape[1]))
    if count == 2:
        tangents[:] = chords[0]
    if count <= 2:
        return tangents
    before, after = steps[:-1], steps[1:]
    tangents[1:-1] = (after * chords[:-1] + before * chords[1:]) / (before + after)
    tangents[0] = 2.0 * chords[0] - tangents[1]
    tangents[-1] = 2.0 * chords[-1] - tangents[-2]
    speeds = np.linalg.norm(chords, axis=1)
    limit = 3.0 * np.minimum(np.append(speeds, speeds[-1]), np.insert(speeds, 0, speeds[0]))
    lengths = np.linalg.norm(tangents, axis=1)
    too_long = lengths > limit
    tangents[too_long] *= (limit[too_long] / lengths[too_long])[:, None]
    return tangents


def _hermite(u: float, step: float, values: Float, tangents: Float, i: int) -> Float:
    """Cubic Hermite between rows i and i + 1 at u in [0, 1]; written as start + offset, so rests stay exact."""
    rise = u * u * (3.0 - 2.0 * u)
    leave = u * (1.0 - u) ** 2 * step
    arrive = u * u * (u - 1.0) * step
    return values[i] + rise * (values[i + 1] - values[i]) + leave * tangents[i] + arrive * tangents[i + 1]


def _parse(document: Any) -> tuple[Keyframe, ...]:
    if not is_object(document) or document.get("format") != FORMAT:
        got = repr(document.get("format"))[:80] if is_object(document) else type(document).__name__
        raise CameraPathError(f'format: expected an object with "format": "{FORMAT}", got {got}')
    if type(document.get("version")) is not int or document["version"] != VERSION:
        raise CameraPathError(f"version: expected {VERSION}, got {repr(document.get('version'))[:80]}")
    entries = document.get("keyframes")
    if not is_array(entries):
        raise CameraPathError(f"keyframes: expected a list, got {type(entries).__name__}")
    return tuple(_parse_keyframe(entry, f"keyframes[{i}]") for i, entry in enumerate(entries))


def _parse_keyframe(entry: Any, where: str) -> Keyframe:
    if not is_object(entry):
        raise CameraPathError(f"{where}: expected an object, got {type(entry).__name__}")
    rows = entry.get("c2w")
    if not is_array(rows) or len(rows) != 4 or any(not is_array(r) or len(r) != 4 for r in rows):
        raise CameraPathError(f"{where}.c2w: expected 4 rows of 4 numbers, got {repr(rows)[:80]}")
    r = [[_number(value, f"{where}.c2w") for value in row] for row in rows]
    seconds = _number(entry.get("seconds"), f"{where}.seconds")
    fov_y = _number(entry.get("fov_y"), f"{where}.fov_y")
    try:
        return Keyframe(
            seconds,
            (
                (r[0][0], r[0][1], r[0][2], r[0][3]),
                (r[1][0], r[1][1], r[1][2], r[1][3]),
                (r[2][0], r[2][1], r[2][2], r[2][3]),
                (r[3][0], r[3][1], r[3][2], r[3][3]),
            ),
            fov_y,
        )
    except CameraPathError as error:
        raise CameraPathError(f"{where}.{error}") from error


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CameraPathError(f"{where}: expected a number, got {repr(value)[:80]}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise CameraPathError(f"{where}: expected a finite number, got {repr(value)[:80]}")
    return number
