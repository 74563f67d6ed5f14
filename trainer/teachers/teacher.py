"""What the trainer asks of a teacher."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray


class Teacher(Protocol):
    """A model of a whole scene. Its answers have no gradients.

    Attributes:
        name: of its kind, "nerf" for one.
    """

    name: str

    def density(self, points: torch.Tensor) -> torch.Tensor:
        """Density, not negative, per world unit.

        Args:
            points: float32 [S, 3], world units.

        Returns:
            float32 [S].
        """
        ...

    def radiance(self, points: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Colour and density.

        Args:
            points: float32 [S, 3], world units.
            directions: float32 [S, 3], of the rays, of length 1.

        Returns:
            Colour in [0, 1], float32 [S, 3], and density as :meth:`density` gives it, float32 [S].
        """
        ...

    def extent(self) -> tuple[Sequence[float] | NDArray[np.floating], Sequence[float] | NDArray[np.floating]] | None:
        """Lower and upper corner of a box around all that it holds, world units; None: unknown."""
        ...
