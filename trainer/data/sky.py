"""The sky of a capture: found in its photos before anything is trained, and what rays see that leave the scene.

A sky looks the same from every camera: its colour depends on the direction only. It is found by a robust fit of that
alone. In most captures of rooms hardly any direction has one colour from everywhere, so this also says whether there
is open space at all. It cannot tell a sky from a plain wall that is farther away than the cameras move, nor need it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.model_io.scene.sky import COEFFICIENTS, harmonics

from .photos import Photos, RayBatch

OPEN = 0.05
"""Of a capture's pixels, the share in directions of nothing but sky from which on it has one."""

_TOLERANCE = 0.06  # of any colour of a pixel, to be of the sky
_RAYS = 1 << 16
_ROUNDS = 30
_WIDEST, _FALL = 0.5, 0.85  # of the fit's tolerance: at first, and from round to round
_RIDGE = 1e-4  # keeps the sky even where no photo looks
_BELTS, _SECTORS = 12, 24  # of the sphere of directions
_OF_A_PATCH = 0.85  # of the pixels in one of these, for it to be nothing but sky


@dataclass(frozen=True)
class Sky:
    """A sky, not changed by training.

    Attributes:
        coefficients: as a scene's ``sky``, float32 [16, 3].
        share: of the photos' pixels in directions where nothing but sky is seen.
    """

    coefficients: NDArray[np.float32]
    share: float = 1.0

    @classmethod
    def of(cls, photos: Photos, seed: int) -> "Sky":
        """What fits best, iteratively reweighted (Geman and McClure's weights, of a falling width)."""
        batch = photos.batch(seed, 0, _RAYS)
        basis, rgb = harmonics(batch.directions.numpy()).astype(np.float64), batch.rgb.numpy().astype(np.float64)
        ridge = _RIDGE * np.eye(COEFFICIENTS)
        ridge[0, 0] = 0.0
        weights, found, error = np.ones(len(rgb)), np.zeros((COEFFICIENTS, 3)), np.zeros(len(rgb))
        for number in range(_ROUNDS):
            weighted = basis * (weights / len(rgb))[:, None]  # einsum: no threaded BLAS for small matrices
            normal, right = np.einsum("ri,rj->ij", weighted, basis), np.einsum("ri,rc->ic", weighted, rgb)
            found = np.linalg.solve(normal + ridge, right)
            error = np.abs(np.einsum("ri,ic->rc", basis, found).clip(0, 1) - rgb).max(axis=1)
            weights = 1 / (1 + (error / max(_TOLERANCE, _WIDEST * _FALL**number)) ** 2) ** 2
        patch = _patches(batch.directions.numpy())
        count = np.bincount(patch, minlength=_BELTS * _SECTORS)
        of_sky = np.bincount(patch, error < _TOLERANCE, minlength=_BELTS * _SECTORS)
        share = float(count[of_sky > _OF_A_PATCH * count].sum() / len(rgb))
        return cls(found.astype(np.float32), share)

    def colors(self, directions: torch.Tensor) -> torch.Tensor:
        """Seen along directions [R, 3] of any length, [R, 3]."""
        basis = torch.from_numpy(harmonics(directions.detach().cpu().numpy()))
        coefficients = torch.from_numpy(self.coefficients)
        return (basis[:, :, None] * coefficients).sum(dim=1).clamp(0, 1).to(directions)

    def behind(self, batch: RayBatch, seen: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """What is behind the rays of a batch, [R, 3]: the sky where their pixels look like it, else random colours.

        So nothing that looks different can become transparent, and before the sky nothing need become opaque.

        Args:
            batch: with random backgrounds.
            seen: makes of the scene's colours [R, 3] what the rays' photos show.
        """
        own = self.colors(batch.directions)
        with torch.no_grad():
            alike = (seen(own) - batch.rgb).abs().amax(dim=1) < _TOLERANCE
        return torch.where(alike[:, None], own, batch.background)


def _patches(directions: NDArray[np.float32]) -> NDArray[np.int64]:
    """Of equal size on the sphere; the number of each direction's, [R]."""
    height = directions[:, 2] / np.linalg.norm(directions, axis=1)
    turn = np.arctan2(directions[:, 1], directions[:, 0]) / (2 * np.pi) + 0.5
    belt = np.minimum(((height + 1) / 2 * _BELTS).astype(np.int64), _BELTS - 1)
    return belt * _SECTORS + np.minimum((turn * _SECTORS).astype(np.int64), _SECTORS - 1)
