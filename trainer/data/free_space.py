"""Space that is known to be empty: between a camera and the sparse points that it saw.

Photos alone do not say how far a wall without texture is away, and a fog that hangs before each camera explains them as
well as the wall does; another view then looks into fog. The points of structure from motion say where light went
through (as the free-space term of depth-supervised fields: Rematas et al., "Urban Radiance Fields", CVPR 2022, Eq. 12;
there for lidar).
"""

import numpy as np
import torch

from kilonerf.model_io import Dataset

from ..loop.schedule import uniform

_NUMBERS = 2  # the stream of random numbers; photos draw from two others
_EMPTY = 0.92  # of the way to a point: it is not exactly where it is said to be


class FreeSpace:
    """The straight lines between cameras and points.

    Args:
        eyes: where the cameras are, float32 [S, 3].
        points: what each of them saw, float32 [S, 3].
    """

    def __init__(self, eyes: torch.Tensor, points: torch.Tensor) -> None:
        self._eyes, self._ways = eyes, points - eyes

    @classmethod
    def of(cls, dataset: Dataset, device: torch.device | str = "cpu") -> "FreeSpace | None":
        """What the views of a data set saw; None where it does not say."""
        if dataset.points is None or dataset.sightings is None or not len(dataset.sightings):
            return None
        views, points = dataset.sightings.T
        eyes = np.stack([view.camera.position for view in dataset.views])
        arrays = (eyes[views], dataset.points[points])
        return cls(*(torch.from_numpy(array.astype(np.float32)).to(device) for array in arrays))

    def points(self, seed: int, step: int, count: int) -> torch.Tensor:
        """Empty places, float32 [count, 3], which depend on the arguments only."""
        which, part = (torch.from_numpy(numbers) for numbers in uniform(seed, step, _NUMBERS, 2 * count).reshape(2, -1))
        lines = (which * len(self._eyes)).long().to(self._eyes.device)
        return self._eyes[lines] + (_EMPTY * part).to(self._eyes)[:, None] * self._ways[lines]
