"""Pictures of the work itself: how many samples each ray took, or which network it met first, as false colours."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import Frame
from kilonerf.kernels.options import RGB

HeatMap = Literal["off", "samples", "networks"]

NOTHING: RGB = (0.02, 0.02, 0.05)
"""Where a ray met no sample."""
MOST_SAMPLES = 512
"""The scale's bright end. It is the same for every picture, so that switching ESS or ERT shows what they save."""
TICKS = (1, 8, 64, 512)
"""Counts to be written beside the scale."""
SPREAD = (0.7548776662466927, 0.5698402909980532)
"""Multiples of these, modulo 1, fill a square evenly: powers of the inverse of the plastic number."""

# Dark to bright without a step, so that it also reads in grey.
SCALE: tuple[RGB, ...] = (
    (0.10, 0.06, 0.32),
    (0.36, 0.08, 0.46),
    (0.66, 0.17, 0.38),
    (0.90, 0.36, 0.21),
    (0.98, 0.65, 0.22),
    (0.99, 0.95, 0.70),
)


def scale_position(samples: NDArray[np.integer] | int) -> NDArray[np.float64]:
    """Where on the scale a count of samples lies, 0 (one sample) to 1: logarithmic."""
    return np.clip(np.log(np.maximum(samples, 1)) / np.log(MOST_SAMPLES), 0.0, 1.0)


def scale_colors(position: NDArray[np.floating]) -> NDArray[np.float32]:
    """RGB [..., 3] of positions [...] on the scale."""
    places = np.linspace(0.0, 1.0, len(SCALE))
    channels = [np.interp(position, places, [color[channel] for color in SCALE]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def network_colors(count: int) -> NDArray[np.float32]:
    """A colour for each network, [N, 3]: numbers that follow each other, which are often neighbours, look different."""
    number = np.arange(count)
    hue = (number * SPREAD[0]) % 1.0
    value = 0.6 + 0.4 * ((number * SPREAD[1]) % 1.0)
    # A hue as in HSV with saturation 0.75: each channel is a trapezoid around the circle.
    offset = np.array([0.0, 2.0 / 3.0, 1.0 / 3.0])
    pure = np.clip(np.abs(((hue[:, None] + offset) % 1.0) * 6.0 - 3.0) - 1.0, 0.0, 1.0)
    return (value[:, None] * (0.25 + 0.75 * pure)).astype(np.float32)


def false_colors(frame: Frame, heat_map: HeatMap) -> Frame:
    """``frame`` with false colours in place of its own; depth and opacity stay.

    Args:
        frame: with ``samples`` and ``network``; any other is given back as it is.
        heat_map: what to show.
    """
    if heat_map == "off" or frame.samples is None or frame.network is None:
        return frame
    if heat_map == "samples":
        rgb = scale_colors(scale_position(frame.samples))
    else:
        rgb = network_colors(int(frame.network.max(initial=0)) + 1)[frame.network]
    rgb[frame.samples == 0] = NOTHING
    return frame.with_colors(rgb)
