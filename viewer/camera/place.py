"""Places that a camera goes to."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera

from .controllers import eased_share


@dataclass(frozen=True, eq=False)
class Place:
    """Where a camera is and how it sees.

    Attributes:
        matrix: camera-to-world [4, 4].
        fov: vertical field of view in radians.
        distance: to what it looks at; None if that is not known.
    """

    matrix: NDArray[np.float64]
    fov: float
    distance: float | None = None

    @classmethod
    def of(cls, camera: Camera) -> "Place":
        """That of a camera."""
        return cls(camera.matrix, camera.fov_y)


@dataclass
class LensGlide:
    """Field of view and roll on their way, in step with the glide of an orbit."""

    fov: float
    to_fov: float
    roll: float
    to_roll: float
    seconds: float
    elapsed: float = 0.0

    def advance(self, seconds: float) -> tuple[float, float, bool]:
        """Field of view, roll, and whether they have arrived."""
        self.elapsed += seconds
        if self.elapsed >= self.seconds:
            return self.to_fov, self.to_roll, True
        s = eased_share(self.elapsed / self.seconds)
        turn = math.remainder(self.to_roll - self.roll, 2.0 * math.pi)
        return self.fov + s * (self.to_fov - self.fov), self.roll + s * turn, False
