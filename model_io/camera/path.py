"""A camera's flight: time-stamped keyframes, a smooth curve through them, and its JSON file (docs/camera_path.md)."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ..errors import CameraPathError
from ..files.atomic import write_text
from ..files.json_values import is_array, is_object
from ..files.text import read_text
from .camera import Camera, Row
from .curve import Curve, Poses
from .even_speed import EvenSpeed, section_lengths

FORMAT = "kilonerf-camera-path"
VERSION = 1
ROTATION_TOLERANCE = 1e-3  # of R^T R - I: what matrices written by hand with four decimals reach
SHORTEST_STEP = 1e-6  # seconds between keyframes
LARGEST = 1e9  # of a time or a coordinate; with SHORTEST_STEP it keeps every speed along the curve finite
NARROWEST = 1e-4  # radians of field of view, and of what is left to pi
MAXIMUM_FILE_BYTES = 256 * 2**20

Speed = Literal["keys", "even"]


@dataclass(frozen=True)
class Keyframe:
    """Where the camera is at one moment.

    Attributes:
        seconds: time since the path's origin.
        c2w: camera-to-world, four rows of four floats: a rotation and a position.
        fov_y: vertical field of view in radians, in (0, pi).
        timed: whether the camera is here at ``seconds`` also on a path of even speed, which otherwise decides
            when it passes; the first and the last key of an open path always are.

    Raises ``CameraPathError`` for numbers out of range and for a matrix that is not a rotation and a position.
    """

    seconds: float
    c2w: tuple[Row, Row, Row, Row]
    fov_y: float
    timed: bool = False

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

    With even speed the curve has the same shape for any times: its parameter is the square root of the distances
    (centripetal Catmull-Rom), and the camera passes equal lengths in equal times.

    One keyframe is a still. Raises ``CameraPathError`` for no keyframes or times that do not increase (by a
    microsecond at least).

    Attributes:
        keyframes: in the order of their times.
        speed: "keys": the camera is at every key at its time; "even": its speed is, see :class:`Keyframe`.
        closing_seconds: how long the way from the last key back to the first takes; 0: the path ends at the last.
    """

    keyframes: tuple[Keyframe, ...]
    speed: Speed = "keys"
    closing_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.closing_seconds != 0.0 and not SHORTEST_STEP <= self.closing_seconds <= LARGEST:
            raise CameraPathError(f"closing_seconds: expected 0 or more, got {self.closing_seconds}")
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
        """Seconds from the first keyframe to the end of the path; 0 for a still."""
        return self.keyframes[-1].seconds - self.keyframes[0].seconds + self.closing_seconds

    @property
    def start(self) -> float:
        """Time of the first keyframe in seconds."""
        return self.keyframes[0].seconds

    @property
    def closed(self) -> bool:
        """Whether the camera comes back to the first keyframe."""
        return self.closing_seconds > 0.0

    def camera_at(self, seconds: float, width: int, height: int) -> Camera:
        """The camera at a time, for a picture of ``width`` x ``height``; before and after the path its ends."""
        if not math.isfinite(seconds):
            raise ValueError(f"CameraPath.camera_at: seconds must be finite, got {seconds}")
        c2w, fov_y = self._pose_at(seconds)
        return Camera.from_matrix(c2w, width, height, fx=0.5 * height / math.tan(0.5 * fov_y))

    def poses(self, seconds: ArrayLike) -> Poses:
        """The cameras at many times [M], clamped to the path; not to the last bit as :meth:`camera_at`."""
        times = np.clip(np.asarray(seconds, np.float64).reshape(-1), self.start, self.start + self.duration)
        if self.duration == 0.0:
            key = self.keyframes[0]
            return Poses.of([key.c2w], [key.fov_y]).taken([0] * len(times))
        even = self._even
        return self._curve.poses(times if even is None else np.array([even.parameter(time) for time in times.tolist()]))

    def key_times(self) -> tuple[float, ...]:
        """When the camera passes each keyframe, in seconds."""
        if self._even is None:
            return tuple(key.seconds for key in self.keyframes)
        return tuple(self._even.key_times()[: len(self.keyframes)].tolist())

    def settled(self) -> "CameraPath":
        """The same path, ``seconds`` of every key being when the camera passes it."""
        if self._even is None:
            return self
        times = self.key_times()
        keys = tuple(replace(key, seconds=time) for key, time in zip(self.keyframes, times, strict=True))
        closing = self.start + self.duration - times[-1] if self.closed else 0.0
        return replace(self, keyframes=keys, closing_seconds=closing)

    def _pose_at(self, seconds: float) -> tuple[ArrayLike, float]:
        keys = self.keyframes
        if seconds <= self.start or self.duration == 0.0:
            return keys[0].c2w, keys[0].fov_y
        if seconds >= self.start + self.duration:
            end = keys[0] if self.closed else keys[-1]
            return end.c2w, end.fov_y
        curve = self._curve
        parameter = seconds if self._even is None else self._even.parameter(seconds)
        key = curve.section(parameter)
        if parameter == curve.parameters[key]:  # what no arithmetic has touched
            exact = keys[(key - self._padding) % len(keys)]
            return exact.c2w, exact.fov_y
        return curve.at(parameter)

    @property
    def _padding(self) -> int:
        """Keys of the curve before the first: a closed path has its last one there too, so that it closes smoothly."""
        return 1 if self.closed else 0

    @cached_property
    def _curve(self) -> Curve:
        keys = Poses.of([key.c2w for key in self.keyframes], [key.fov_y for key in self.keyframes])
        count = len(self.keyframes)
        around = keys.taken([*range(count), 0]) if self.closed else keys
        if self.speed == "even":
            roots = np.sqrt(section_lengths(around, self.duration))
            parameters = np.insert(np.cumsum(roots), 0, 0.0).tolist()
        else:
            parameters = [key.seconds for key in self.keyframes]
            parameters += [self.start + self.duration] if self.closed else []
        if not self.closed:
            return Curve.through(parameters, keys)
        before = parameters[0] - (parameters[-1] - parameters[-2])
        after = parameters[-1] + (parameters[1] - parameters[0])
        rows = [count - 1, *range(count), 0, 1 % count]
        return Curve.through([before, *parameters, after], keys.taken(rows))

    @cached_property
    def _even(self) -> EvenSpeed | None:
        if self.speed != "even" or self.duration == 0.0:
            return None
        first, last = self._padding, self._padding + len(self.keyframes) - (0 if self.closed else 1)
        inner = [(first + i, key.seconds) for i, key in enumerate(self.keyframes) if key.timed and 0 < i < last - first]
        end = self.start + self.duration
        return EvenSpeed(self._curve, first, last, [(first, self.start), *inner, (last, end)])

    def save(self, path: Path) -> None:
        """Write the path as JSON, whole or not at all; every number survives exactly.

        Raises:
            OutputError: the file cannot be written.
        """
        write_text(path, self.to_json())

    def to_json(self) -> str:
        """The file's text."""
        settled = self.settled()
        lines = ",\n    ".join(json.dumps(_entry(key)) for key in settled.keyframes)
        extra = '"speed": "even",\n  ' if self.speed == "even" else ""
        extra += f'"closing_seconds": {settled.closing_seconds!r},\n  ' if self.closed else ""
        return f'{{\n  "format": "{FORMAT}",\n  "version": {VERSION},\n  {extra}"keyframes": [\n    {lines}\n  ]\n}}\n'

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
            return _parse(document)
        except CameraPathError as error:
            raise CameraPathError(f"{path}: {error}") from error


def _entry(key: Keyframe) -> dict[str, Any]:
    entry: dict[str, Any] = {"seconds": key.seconds, "fov_y": key.fov_y, "c2w": [list(row) for row in key.c2w]}
    return {**entry, "timed": True} if key.timed else entry


def _parse(document: Any) -> CameraPath:
    if not is_object(document) or document.get("format") != FORMAT:
        got = repr(document.get("format"))[:80] if is_object(document) else type(document).__name__
        raise CameraPathError(f'format: expected an object with "format": "{FORMAT}", got {got}')
    if type(document.get("version")) is not int or document["version"] != VERSION:
        raise CameraPathError(f"version: expected {VERSION}, got {repr(document.get('version'))[:80]}")
    entries = document.get("keyframes")
    if not is_array(entries):
        raise CameraPathError(f"keyframes: expected a list, got {type(entries).__name__}")
    speed: Any = document.get("speed", "keys")
    if speed not in ("keys", "even"):
        raise CameraPathError(f'speed: expected "keys" or "even", got {repr(speed)[:80]}')
    closing = _number(document.get("closing_seconds", 0.0), "closing_seconds")
    keyframes = tuple(_parse_keyframe(entry, f"keyframes[{i}]") for i, entry in enumerate(entries))
    return CameraPath(keyframes, speed, closing)


def _parse_keyframe(entry: Any, where: str) -> Keyframe:
    if not is_object(entry):
        raise CameraPathError(f"{where}: expected an object, got {type(entry).__name__}")
    rows = entry.get("c2w")
    if not is_array(rows) or len(rows) != 4 or any(not is_array(r) or len(r) != 4 for r in rows):
        raise CameraPathError(f"{where}.c2w: expected 4 rows of 4 numbers, got {repr(rows)[:80]}")
    r = [[_number(value, f"{where}.c2w") for value in row] for row in rows]
    seconds = _number(entry.get("seconds"), f"{where}.seconds")
    fov_y = _number(entry.get("fov_y"), f"{where}.fov_y")
    timed = entry.get("timed", False)
    if not isinstance(timed, bool):
        raise CameraPathError(f"{where}.timed: expected true or false, got {repr(timed)[:80]}")
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
            timed,
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
