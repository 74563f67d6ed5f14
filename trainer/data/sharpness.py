"""How sharp photos are, compared with those taken near them: blurred ones should not teach the scene their blur."""

import numpy as np
from numpy.typing import NDArray

from .photos import Photos

_NEAREST = 6  # photos that one is compared with
_LEAST = 0.05  # weight of a photo, however blurred
_COARSE = 4  # pixels: the size of details that the finest are compared with


def relative_sharpness(photos: Photos) -> NDArray[np.float64]:
    """Each photo's sharpness over the median of the photos taken nearest to it, float64 [V].

    Sharpness is the energy of the finest details over that of coarser ones, along rows, columns and diagonals. Both are
    of the same things, so that it depends on the blur much more than on what the photo shows. The direction in which a
    photo lost most counts: a moving camera blurs along its motion.
    """
    own = np.array([_sharpness(photos.image(view)) for view in range(len(photos))])
    if len(own) < 3:
        return np.ones(len(own))
    positions = np.stack([camera.position for camera in photos.cameras])
    ahead = -np.stack([camera.matrix[:3, 2] for camera in photos.cameras])
    spread = float(np.linalg.norm(positions - positions.mean(axis=0), axis=1).mean()) or 1.0
    away = np.linalg.norm(positions[:, None] - positions, axis=-1) / spread + 1.0 - ahead @ ahead.T
    nearest = np.argsort(away, axis=1, kind="stable")[:, : _NEAREST + 1]  # itself too
    return np.asarray((own / np.median(own[nearest], axis=1)).min(axis=1))


def photo_weights(photos: Photos, least_sharpness: float) -> NDArray[np.float32]:
    """How much each photo counts, float32 [V]: 1 down to a relative sharpness of ``least_sharpness``, then less."""
    if least_sharpness <= 0:
        return np.ones(len(photos), np.float32)
    return np.clip(relative_sharpness(photos) / least_sharpness, _LEAST, 1.0).astype(np.float32)


def _sharpness(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of rows, columns and both diagonals, [4]."""
    grey = picture[..., :3].astype(np.float32).mean(axis=-1)
    height, width = grey.shape[0] // _COARSE, grey.shape[1] // _COARSE
    if min(height, width) < 3:
        return np.ones(4)
    blocks = grey[: _COARSE * height, : _COARSE * width].reshape(height, _COARSE, width, _COARSE)
    return _details(grey) / (_details(blocks.mean(axis=(1, 3))) + 1e-3)


def _details(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean squares of the second differences, [4]; noise of 8 bits keeps them from 0."""
    middle = 2 * grey[1:-1, 1:-1]
    sides = (
        grey[1:-1, :-2] + grey[1:-1, 2:],
        grey[:-2, 1:-1] + grey[2:, 1:-1],
        grey[:-2, :-2] + grey[2:, 2:],
        grey[:-2, 2:] + grey[2:, :-2],
    )
    return np.array([np.square(middle - both).mean() for both in sides]) + 0.1
