"""The two ways to move a camera, as pure classes: orbit around a point, and fly. World up is +z; no camera ever rolls.

A heading is two angles: yaw turns around world z, pitch raises the eye above what it looks at. The right axis
comes from yaw alone, so it is well defined at the poles too, and nothing flips there.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

POLE = 0.5 * math.pi


def heading_axes(yaw: float, pitch: float) -> NDArray[np.float64]:
    """Rotation [3, 3] of a camera with this heading: columns right, up, backward (OpenGL axes)."""
    backward = np.array([math.cos(pitch) * math.cos(yaw), math.cos(pitch) * math.sin(yaw), math.sin(pitch)])
    right = np.array([-math.sin(yaw), math.cos(yaw), 0.0])
    return np.stack([right, np.cross(backward, right), backward], axis=1)


def heading_of(rotation: ArrayLike) -> tuple[float, float]:
    """Yaw and pitch of a camera rotation [3, 3]; any roll is dropped."""
    matrix = np.asarray(rotation, dtype=np.float64)
    x, y, z = matrix[:, 2]
    pitch = math.asin(max(-1.0, min(1.0, z)))
    if math.hypot(x, y) > 1e-6:
        return math.atan2(y, x), pitch
    return math.atan2(-matrix[0, 0], matrix[1, 0]), pitch  # at a pole the right axis still knows the yaw


def pose_matrix(position: NDArray[np.float64], yaw: float, pitch: float) -> NDArray[np.float64]:
    """Camera-to-world matrix [4, 4]."""
    c2w = np.eye(4)
    c2w[:3, :3] = heading_axes(yaw, pitch)
    c2w[:3, 3] = position
    return c2w


def heading_towards(direction: ArrayLike, yaw_at_pole: float = 0.0) -> tuple[float, float]:
    """Yaw and pitch of a camera that looks along a direction [3]; straight up or down any yaw does."""
    backward = -np.asarray(direction, dtype=np.float64)
    x, y, z = backward / np.linalg.norm(backward)
    yaw = math.atan2(y, x) if math.hypot(x, y) > 1e-9 else yaw_at_pole
    return yaw, math.asin(max(-1.0, min(1.0, z)))


def eased_share(share: float) -> float:
    """A share 0..1 of a way's time to that of the way: rest at both ends."""
    return share * share * (3.0 - 2.0 * share)


def _clamp_pitch(pitch: float) -> float:
    return max(-POLE, min(POLE, pitch))


@dataclass(frozen=True, eq=False)
class OrbitState:
    """Where an orbiting camera is: it looks at ``target`` [3] from ``distance``, with a heading in radians."""

    target: NDArray[np.float64]
    distance: float
    yaw: float
    pitch: float

    def matrix(self) -> NDArray[np.float64]:
        """Camera-to-world matrix [4, 4]."""
        backward = heading_axes(self.yaw, self.pitch)[:, 2]
        return pose_matrix(self.target + self.distance * backward, self.yaw, self.pitch)

    @classmethod
    def from_matrix(cls, c2w: ArrayLike, distance: float) -> "OrbitState":
        """The orbit of a camera [4, 4] around the point straight ahead of it at ``distance``."""
        matrix = np.asarray(c2w, dtype=np.float64)
        yaw, pitch = heading_of(matrix[:3, :3])
        return cls(matrix[:3, 3] - distance * heading_axes(yaw, pitch)[:, 2], distance, yaw, pitch)


@dataclass(frozen=True)
class _Glide:
    """A smooth way from one orbit to another."""

    start: OrbitState
    end: OrbitState
    seconds: float

    def at(self, elapsed: float) -> OrbitState:
        s = eased_share(min(1.0, elapsed / self.seconds))
        a, b = self.start, self.end
        turn = math.remainder(b.yaw - a.yaw, 2.0 * math.pi)  # the short way round
        return OrbitState(
            target=a.target + s * (b.target - a.target),
            distance=a.distance * (b.distance / a.distance) ** s,
            yaw=a.yaw + s * turn,
            pitch=a.pitch + s * (b.pitch - a.pitch),
        )


class OrbitController:
    """A camera on a sphere around a target point."""

    def __init__(self, state: OrbitState, *, nearest: float = 1e-3, farthest: float = 1e3) -> None:
        self.state = state
        self.nearest = nearest
        self.farthest = farthest
        self._glide: _Glide | None = None
        self._elapsed = 0.0

    @property
    def gliding(self) -> bool:
        """Whether the camera is on its own way somewhere (:meth:`glide_to`)."""
        return self._glide is not None

    def matrix(self) -> NDArray[np.float64]:
        """Camera-to-world matrix [4, 4]."""
        return self.state.matrix()

    def rotate(self, yaw: float, pitch: float) -> None:
        """Turn around the target by angles in radians; the pitch stops at the poles."""
        self._glide = None
        state = self.state
        self.state = replace(
            state, yaw=math.remainder(state.yaw + yaw, 2.0 * math.pi), pitch=_clamp_pitch(state.pitch + pitch)
        )

    def pan(self, right: float, up: float) -> None:
        """Shift eye and target together in the picture plane, in world units."""
        self._glide = None
        axes = heading_axes(self.state.yaw, self.state.pitch)
        self.state = replace(self.state, target=self.state.target + right * axes[:, 0] + up * axes[:, 1])

    def zoom(self, factor: float, anchor: ArrayLike | None = None) -> None:
        """Scale the view around ``anchor`` [3] (default: the target), which keeps its place in the picture.

        Args:
            factor: below 1 goes nearer, above 1 farther; limited so that the distance stays within bounds.
            anchor: world point that stays under the cursor.
        """
        self._glide = None
        state = self.state
        distance = max(self.nearest, min(self.farthest, state.distance * factor))
        factor = distance / state.distance
        point = state.target if anchor is None else np.asarray(anchor, dtype=np.float64)
        self.state = replace(state, target=point + factor * (state.target - point), distance=distance)

    def focus(self, point: ArrayLike, seconds: float = 0.0) -> None:
        """Turn, without moving the eye, to look at ``point`` [3], and orbit around it from now on."""
        eye = self.state.matrix()[:3, 3]
        offset = eye - np.asarray(point, dtype=np.float64)
        distance = float(np.linalg.norm(offset))
        if distance < 1e-9:
            return
        yaw, pitch = heading_towards(-offset, self.state.yaw)
        target = np.asarray(point, dtype=np.float64).copy()
        self.glide_to(OrbitState(target, max(self.nearest, min(self.farthest, distance)), yaw, pitch), seconds)

    def set_pivot(self, distance: float) -> None:
        """Turn around the point straight ahead at ``distance`` from now on; the picture stays as it is."""
        self.state = OrbitState.from_matrix(self.matrix(), max(self.nearest, min(self.farthest, distance)))

    def glide_to(self, end: OrbitState, seconds: float) -> None:
        """Go to ``end`` smoothly within ``seconds`` (0: at once); any other motion stops it."""
        self._elapsed = 0.0
        self._glide = _Glide(self.state, end, seconds) if seconds > 0.0 else None
        if self._glide is None:
            self.state = end

    def advance(self, seconds: float) -> None:
        """Let time pass for a glide that is under way."""
        if self._glide is None:
            return
        self._elapsed += seconds
        self.state = self._glide.at(self._elapsed)
        if self._elapsed >= self._glide.seconds:
            self._glide = None


class FlyController:
    """A free camera that looks around from where it is, and moves along its own axes."""

    def __init__(self, c2w: ArrayLike) -> None:
        matrix = np.asarray(c2w, dtype=np.float64)
        self.position = matrix[:3, 3].copy()
        self.yaw, self.pitch = heading_of(matrix[:3, :3])

    def matrix(self) -> NDArray[np.float64]:
        """Camera-to-world matrix [4, 4]."""
        return pose_matrix(self.position, self.yaw, self.pitch)

    def look(self, yaw: float, pitch: float) -> None:
        """Turn on the spot by angles in radians; the pitch stops at the poles."""
        self.yaw = math.remainder(self.yaw + yaw, 2.0 * math.pi)
        self.pitch = _clamp_pitch(self.pitch + pitch)

    def move(self, right: float, up: float, forward: float, speed: float, seconds: float) -> None:
        """Move for ``seconds`` at ``speed`` world units a second.

        Args:
            right: -1, 0 or 1 along the camera's right axis.
            up: -1, 0 or 1 along world z.
            forward: -1, 0 or 1 along the view direction.
            speed: world units per second, the same in every direction.
            seconds: how long the keys were held.
        """
        axes = heading_axes(self.yaw, self.pitch)
        direction = right * axes[:, 0] - forward * axes[:, 2] + np.array([0.0, 0.0, up])
        length = float(np.linalg.norm(direction))
        if length > 1e-9:
            self.position = self.position + direction * (speed * seconds / length)

    def pan(self, right: float, up: float) -> None:
        """Shift in the picture plane, in world units."""
        axes = heading_axes(self.yaw, self.pitch)
        self.position = self.position + right * axes[:, 0] + up * axes[:, 1]
