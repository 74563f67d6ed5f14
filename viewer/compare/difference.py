"""How far two pictures of one camera are apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import Frame
from kilonerf.kernels.measure.metrics import psnr_of_mse

from ..rendering.heat_maps import NOTHING, scale_colors


@dataclass(frozen=True, eq=False)
class Difference:
    """Of two pictures, colours clipped to [0, 1] as the screen shows them.

    Attributes:
        largest: float32 [H, W], the largest difference of a colour channel; 0 where there is nothing to compare.
        mse: mean of the squared differences of all channels of the pixels that count.
        pixels: how many count.
        identical: whether the float32 colours of all of them are equal, bit for bit.
    """

    largest: NDArray[np.float32]
    mse: float
    pixels: int
    identical: bool

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in decibel; infinite where no colour differs."""
        return psnr_of_mse(self.mse)

    @property
    def text(self) -> str:
        """PSNR, largest difference and number of pixels, for people."""
        pixels = f"{self.pixels:,} pixels"
        if self.identical:
            return f"Identical, bit for bit   {pixels}"
        largest = 255.0 * float(self.largest.max(initial=0.0))
        return f"PSNR {self.psnr:.2f} dB   largest difference {largest:.3g} / 255   {pixels}"

    def colors(self, gain: float) -> NDArray[np.float32]:
        """RGB [H, W, 3]: black where nothing differs, the scale's bright end from a difference of 1 / ``gain`` on."""
        position = np.minimum(self.largest * np.float32(gain), np.float32(1.0))
        steps = np.rint(position * (len(_TABLE) - 1)).astype(np.int32)
        colors = _TABLE[steps]
        colors[self.largest == 0.0] = NOTHING
        return colors


def difference_between(
    one: Frame | None, other: Frame | None, counting: NDArray[np.bool_] | None = None
) -> Difference | None:
    """The difference of two frames; None if one is missing, or if they are not of one size.

    Args:
        one: a frame.
        other: a frame of the same camera.
        counting: bool [H, W], which pixels are compared; None: all.

    Raises:
        BackendError: the device that a frame is on failed.
    """
    if one is None or other is None or one.size != other.size:
        return None
    first, second = one.rgb, other.rgb
    apart = np.clip(first, 0.0, 1.0)
    apart -= np.clip(second, 0.0, 1.0)
    np.abs(apart, out=apart)
    largest = apart.max(axis=-1, initial=0.0)
    if counting is None:
        pixels = largest.size
        identical = bool(np.array_equal(first, second))
    else:
        largest *= counting
        apart *= counting[..., None]
        pixels = int(counting.sum())
        identical = bool(np.array_equal(first[counting], second[counting]))
    squares = float(np.einsum("ijk,ijk->", apart, apart, dtype=np.float64))
    return Difference(largest, squares / max(1, 3 * pixels), pixels, identical and pixels > 0)


def scale_end_text(gain: float) -> str:
    """What the bright end of the scale of :meth:`Difference.colors` stands for."""
    return f"{255.0 / gain:.3g} / 255"


_TABLE: NDArray[np.float32] = scale_colors(np.linspace(0.0, 1.0, 1024))
