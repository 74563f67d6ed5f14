"""Several samples for each pixel: pictures of cameras that are offset by parts of a pixel, averaged as light.

One implementation for the window at rest, for screenshots and for videos: the same number of samples gives the same
picture, bit for bit.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import CancelToken, RenderCancelled
from kilonerf.model_io import Camera

MOST_SAMPLES = 256
SAMPLE_COUNTS = (1, 4, 8, 16, 32, 64)
"""What can be chosen in the window."""
PLASTIC = (0.7548776662466927, 0.5698402909980532)
"""Steps of the R2 sequence: even over the pixel for any number of samples."""


ROWS = 16


def offset_camera(camera: Camera, number: int) -> Camera:
    """The camera of a pixel's sample, a part of a pixel to the side; that of sample 0 is ``camera`` itself."""
    if number == 0:
        return camera
    x, y = ((0.5 + number * step) % 1.0 - 0.5 for step in PLASTIC)
    return replace(camera, cx=camera.cx - x, cy=camera.cy - y)


class LinearMean:
    """The mean of pictures as light, in float32: sRGB is made linear, averaged, and encoded again.

    Attributes:
        count: pictures that were added.
    """

    def __init__(self) -> None:
        self._light: NDArray[np.float32] | None = None
        self._alpha: NDArray[np.float32] | None = None
        self.count = 0

    def add(
        self,
        picture: NDArray[Any],  # [H, W, 3], or [H, W, 4] with alpha, colours not multiplied by it
        cancel: CancelToken | None = None,
    ) -> None:
        """Take one picture, uint8 or float32 from 0 to 1. With alpha, colours count as much as they are seen.

        Raises:
            RenderCancelled: ``cancel`` says so; the picture is left out.
        """
        colors = picture[..., :3]
        light = _LINEAR[colors] if picture.dtype == np.uint8 else _by_rows(_linear, colors, cancel)
        if picture.shape[-1] == 4:
            alpha = picture[..., 3:].astype(np.float32) * np.float32(1.0 / 255.0 if picture.dtype == np.uint8 else 1.0)
            light *= alpha
            self._alpha = alpha if self._alpha is None else np.add(self._alpha, alpha, out=self._alpha)
        self._light = light if self._light is None else np.add(self._light, light, out=self._light)
        self.count += 1

    def mean(self, cancel: CancelToken | None = None) -> NDArray[np.float32]:
        """The mean, float32 [H, W, 3], or [H, W, 4] with alpha.

        Raises:
            RenderCancelled: ``cancel`` says so.
            ValueError: nothing was added.
        """
        if self._light is None:
            raise ValueError("LinearMean.mean: nothing was added")
        if self._alpha is None:
            return _by_rows(_encoded, self._light / np.float32(self.count), cancel)
        seen = self._alpha > np.float32(1e-6)
        light = np.divide(self._light, self._alpha, out=np.zeros_like(self._light), where=seen)
        color = _by_rows(_encoded, light, cancel)
        return np.concatenate([color, self._alpha / np.float32(self.count)], axis=-1)

    def picture(self) -> NDArray[np.uint8]:
        """The mean in 8 bits.

        Raises:
            ValueError: nothing was added.
        """
        return to_bytes(self.mean())


def to_bytes(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture in 8 bits, rounded to nearest; one that is so already is given back."""
    if picture.dtype == np.uint8:
        return picture
    return (np.clip(picture, 0.0, 1.0) * np.float32(255.0) + np.float32(0.5)).astype(np.uint8)


def _by_rows(
    function: Callable[[NDArray[np.floating]], NDArray[np.float32]],
    picture: NDArray[np.floating],
    cancel: CancelToken | None,
) -> NDArray[np.float32]:
    """``function`` of a few rows at a time: what they need stays in the cache, and it can be cancelled in between."""
    result = np.empty(picture.shape, np.float32)
    for begin in range(0, len(picture), ROWS):
        if cancel is not None and cancel.cancelled:
            raise RenderCancelled
        result[begin : begin + ROWS] = function(picture[begin : begin + ROWS])
    return result


# The sRGB curve, IEC 61966-2-1.


def _linear(srgb: NDArray[np.floating]) -> NDArray[np.float32]:
    value = np.clip(srgb, 0.0, 1.0).astype(np.float32, copy=False)
    curve = np.power((value + np.float32(0.055)) / np.float32(1.055), np.float32(2.4))
    return np.where(value <= np.float32(0.04045), value / np.float32(12.92), curve)


def _encoded(light: NDArray[np.float32]) -> NDArray[np.float32]:
    curve = np.float32(1.055) * np.power(light, np.float32(1.0 / 2.4)) - np.float32(0.055)
    return np.where(light <= np.float32(0.0031308), light * np.float32(12.92), curve)


_LINEAR = _linear(np.arange(256, dtype=np.float32) / np.float32(255.0))
