"""The axis-aligned box around a scene."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Box:
    """An axis-aligned box in world units.

    Attributes:
        min: float32 [3], the corner with the least coordinates.
        max: float32 [3], the opposite corner.
    """

    min: NDArray[np.float32]
    max: NDArray[np.float32]

    @property
    def size(self) -> NDArray[np.float64]:
        """Lengths of its edges, [3]."""
        return self.max.astype(np.float64) - self.min

    @property
    def middle(self) -> NDArray[np.float64]:
        """Its centre, [3]."""
        return 0.5 * (self.min.astype(np.float64) + self.max)
