"""Even speed along a curve of cameras: from time to the curve's parameter, by a table of the arc length."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from . import rotation
from .curve import Curve, Poses

Float = NDArray[np.float64]

SAMPLES = 256  # of each section's arc
FASTEST_TURN = math.radians(120.0)
"""Radians per second: a camera that hardly moves takes the time that its turn needs."""
LEAST_SHARE = 1e-5
"""Of the whole, that every section takes at least: times of keys have to increase."""


def section_lengths(keys: Poses, duration: float) -> Float:
    """How far it is from key to key, [N - 1] > 0: distances, and turns where those are what takes time."""
    moved = np.linalg.norm(np.diff(keys.positions, axis=0), axis=1)
    return _metric(moved, _turned(keys.quaternions), duration)


class EvenSpeed:
    """The parameter of a curve over time.

    A camera of even speed passes equal lengths of the curve in equal times between two keys whose times are given;
    at such a key its speed changes smoothly (monotone cubic interpolation, Fritsch and Carlson 1980).

    Args:
        curve: through all keys.
        first: the key where the path begins.
        last: the key where it ends.
        given: key and seconds, in their order, of ``first``, ``last`` and every key between whose time is given.
    """

    def __init__(self, curve: Curve, first: int, last: int, given: Sequence[tuple[int, float]]) -> None:
        knots = curve.parameters[first : last + 1]
        fractions = np.arange(SAMPLES) / SAMPLES
        inner = [a + (b - a) * fractions for a, b in pairwise(knots)]
        self._parameters = np.append(np.concatenate(inner), knots[-1])
        poses = curve.poses(self._parameters)
        moved = np.linalg.norm(np.diff(poses.positions, axis=0), axis=1)
        duration = given[-1][1] - given[0][1]
        self._lengths = np.insert(np.cumsum(_metric(moved, _turned(poses.quaternions), duration)), 0, 0.0)
        self._at_keys = self._lengths[::SAMPLES]
        self._times = np.array([seconds for _, seconds in given])
        self._passed = self._at_keys[[key - first for key, _ in given]]
        self._slopes = _monotone_slopes(self._times, self._passed)

    def parameter(self, seconds: float) -> float:
        """Where the camera is on the curve at a time within the path."""
        i = int(np.clip(np.searchsorted(self._times, seconds, side="right") - 1, 0, len(self._times) - 2))
        length = self._length(i, seconds)
        return float(np.interp(length, self._lengths, self._parameters))

    def key_times(self) -> Float:
        """Seconds at which the camera passes each key, [N]."""
        return np.array([self._time_of(length) for length in self._at_keys])

    def _length(self, i: int, seconds: float) -> float:
        step = self._times[i + 1] - self._times[i]
        u = min(1.0, max(0.0, (seconds - self._times[i]) / step))
        a, b = self._passed[i], self._passed[i + 1]
        rise = u * u * (3.0 - 2.0 * u)
        leave, arrive = u * (1.0 - u) ** 2 * step, u * u * (u - 1.0) * step
        return float(a + rise * (b - a) + leave * self._slopes[i] + arrive * self._slopes[i + 1])

    def _time_of(self, length: float) -> float:
        """The inverse of :meth:`_length`, by bisection: it never decreases."""
        i = int(np.clip(np.searchsorted(self._passed, length, side="right") - 1, 0, len(self._times) - 2))
        low, high = float(self._times[i]), float(self._times[i + 1])
        if length <= self._passed[i]:
            return low
        if length >= self._passed[i + 1]:
            return high
        for _ in range(60):
            middle = 0.5 * (low + high)
            if self._length(i, middle) < length:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)


def _turned(quaternions: Float) -> Float:
    """Angles between neighbours in radians, [N - 1]."""
    between = rotation.multiply(rotation.conjugate(quaternions[:-1]), quaternions[1:])
    return np.linalg.norm(rotation.logarithm(between), axis=1)


def _metric(moved: Float, turned: Float, duration: float) -> Float:
    """Lengths of steps of a camera that moves by ``moved`` and turns by ``turned``, [N] > 0."""
    whole = float(moved.sum())
    lengths = np.maximum(moved, turned * (whole / duration / FASTEST_TURN)) if whole > 0.0 else turned
    total = float(lengths.sum())
    return np.maximum(lengths, LEAST_SHARE * total / len(lengths)) if total > 0.0 else np.ones(len(lengths))


def _monotone_slopes(x: Float, y: Float) -> Float:
    """Slopes [N] at knots for a cubic that does not overshoot (Fritsch and Carlson); a line for two knots."""
    chords = np.diff(y) / np.diff(x)
    slopes = np.empty(len(x))
    slopes[0], slopes[-1] = chords[0], chords[-1]
    slopes[1:-1] = 2.0 * chords[:-1] * chords[1:] / (chords[:-1] + chords[1:])  # the harmonic mean
    return slopes
