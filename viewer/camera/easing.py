"""Jumps of an input device turned into motion without a jump in speed. Pure: it is told how much time passes."""

import math

import numpy as np
from numpy.typing import NDArray


class Eased:
    """An amount that is pushed in steps and given out smoothly: a critically damped spring, solved exactly.

    However the time is cut into pieces, the same amount has come out after the same time.

    Args:
        seconds: time constant.
        done: what is left, and its rate times ``seconds``, are below this at the end, and given out at once.
    """

    def __init__(self, seconds: float, done: float) -> None:
        self._seconds = seconds
        self._done = done
        self._left = 0.0
        self._rate = 0.0  # of what comes out, per second

    @property
    def moving(self) -> bool:
        """Whether something is left to give out."""
        return self._left != 0.0 or self._rate != 0.0

    def push(self, amount: float) -> None:
        """Ask for more; the rate does not jump."""
        self._left += amount

    def stop(self) -> None:
        """Forget what is left."""
        self._left = self._rate = 0.0

    def advance(self, seconds: float) -> float:
        """What comes out within ``seconds``."""
        before, decay = self._left, math.exp(-seconds / self._seconds)
        slope = before / self._seconds - self._rate  # left(t) = (left + slope t) exp(-t / T)
        self._left = (before + slope * seconds) * decay
        self._rate = self._left / self._seconds - slope * decay
        if abs(self._left) < self._done and abs(self._rate) * self._seconds < self._done:
            self.stop()
        return before - self._left


class Coasting:
    """A velocity that dies away: what goes on by itself after the hand has let go. Exact for any step of time.

    Args:
        seconds: time constant.
        done: share of the first speed below which it stops.
    """

    def __init__(self, seconds: float, done: float = 0.01) -> None:
        self._seconds, self._done = seconds, done
        self._velocity: NDArray[np.float64] = np.zeros(3)
        self._slowest = 0.0

    @property
    def moving(self) -> bool:
        """Whether there is still a velocity."""
        return bool(self._velocity.any())

    def push(self, velocity: NDArray[np.float64]) -> None:
        """Go on with ``velocity`` [3], in units a second, from now on."""
        self._velocity = velocity
        self._slowest = self._done * float(np.linalg.norm(velocity))

    def stop(self) -> None:
        """At once."""
        self._velocity = np.zeros(3)

    def advance(self, seconds: float) -> NDArray[np.float64]:
        """The way [3] within ``seconds``; what is left comes at once when it has become slow."""
        decay = math.exp(-seconds / self._seconds)
        before, self._velocity = self._velocity, self._velocity * decay
        if float(np.linalg.norm(self._velocity)) <= self._slowest:
            self.stop()
        return self._seconds * (before - self._velocity)
