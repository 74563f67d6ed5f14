"""False colours: depth, opacity and normals of the scene, and the work itself: what each ray took."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import LOOKUPS, PER_RAY, PICTURE, Frame, Output
from kilonerf.kernels.frame import OPAQUE
from kilonerf.kernels.options import RGB
from kilonerf.model_io import BackendError, Camera

from .normals import normals_from_depth

HeatMap = Literal["off", "depth", "alpha", "normals", "samples", "networks", "lookups"]
Range = tuple[float, float]
HeatScale = Range | Literal["fitted", "fixed"]
"""The values at the scale's ends; or fitted to each picture; or, for samples, the same for every picture."""

NEEDED: dict[HeatMap, frozenset[Output]] = {
    "off": PICTURE,
    "depth": PICTURE,
    "alpha": PICTURE,
    "normals": PICTURE,
    "samples": PER_RAY,
    "networks": PER_RAY,
    "lookups": LOOKUPS,
}
"""What a renderer must be able to give."""
COUNTS: tuple[HeatMap, ...] = ("samples", "lookups")
FITTED_SHARE = 0.995
"""Of what is seen lies within a fitted scale: a few pixels do not stretch it."""

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
    """Where on the fixed scale a count of samples lies, 0 (one sample) to 1: logarithmic."""
    return np.clip(np.log(np.maximum(samples, 1)) / np.log(MOST_SAMPLES), 0.0, 1.0)


def scale_colors(position: NDArray[np.floating]) -> NDArray[np.float32]:
    """RGB [..., 3] of positions [...] on the scale."""
    places = np.linspace(0.0, 1.0, len(SCALE))
    channels = [np.interp(position, places, [color[channel] for color in SCALE]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


STEPS = 1024
_TABLE = scale_colors(np.linspace(0.0, 1.0, STEPS))  # looking up is ten times as fast as interpolating each pixel


def network_colors(count: int) -> NDArray[np.float32]:
    """A colour for each network, [N, 3]: numbers that follow each other, which are often neighbours, look different."""
    number = np.arange(count)
    hue = (number * SPREAD[0]) % 1.0
    value = 0.6 + 0.4 * ((number * SPREAD[1]) % 1.0)
    # A hue as in HSV with saturation 0.75: each channel is a trapezoid around the circle.
    offset = np.array([0.0, 2.0 / 3.0, 1.0 / 3.0])
    pure = np.clip(np.abs(((hue[:, None] + offset) % 1.0) * 6.0 - 3.0) - 1.0, 0.0, 1.0)
    return (value[:, None] * (0.25 + 0.75 * pure)).astype(np.float32)


def check_heat_map(heat_map: HeatMap, backend: str, outputs: frozenset[Output]) -> None:
    """Refuse a heat map that a renderer cannot give.

    Raises:
        BackendError: it cannot.
    """
    if not outputs >= NEEDED[heat_map]:
        who = "the CPU backend" if heat_map == "lookups" else "a backend that counts by ray"
        raise BackendError(f"the heat map {heat_map!r} needs {who}, got {backend!r}")


def shown_range(frame: Frame, heat_map: HeatMap, scale: HeatScale = "fixed") -> Range | None:
    """The values at the scale's ends; None for a heat map that has no scale.

    Args:
        frame: with what :data:`NEEDED` says.
        heat_map: what is shown.
        scale: what is wanted.
    """
    if heat_map == "alpha":
        return 0.0, 1.0
    if heat_map not in ("depth", *COUNTS):
        return None
    if isinstance(scale, tuple):
        return scale
    if heat_map == "samples" and scale == "fixed":
        return 1.0, float(MOST_SAMPLES)
    if heat_map == "depth":
        seen = frame.depth[(frame.alpha >= OPAQUE) & np.isfinite(frame.depth)]
        if not seen.size:
            return 0.0, 1.0
        low, high = np.quantile(seen[:: max(1, seen.size // 20_000)], (1.0 - FITTED_SHARE, FITTED_SHARE))
        return float(low), float(max(high, low * (1.0 + 1e-6), low + 1e-9))
    counts = frame.samples if heat_map == "samples" else frame.lookups
    if counts is None or not counts.any():
        return 1.0, 2.0
    seen = counts[counts > 0]
    high = np.quantile(seen[:: max(1, seen.size // 20_000)], FITTED_SHARE)
    return 1.0, float(max(2.0, np.ceil(high)))


def false_colors(frame: Frame, heat_map: HeatMap, scale: HeatScale = "fixed", camera: Camera | None = None) -> Frame:
    """``frame`` with false colours in place of its own; depth and opacity stay.

    Args:
        frame: with what :data:`NEEDED` says; without it, it is given back as it is.
        heat_map: what to show.
        scale: from which value to which.
        camera: that the frame was made with; normals need it.
    """
    ends = shown_range(frame, heat_map, scale)
    if heat_map == "depth" and ends is not None:
        # Even in 1 / depth, as eyes and parallax have it: what is near has most of the colours.
        low, high = (1.0 / max(end, 1e-9) for end in ends)
        with np.errstate(divide="ignore"):
            rgb = _looked_up((1.0 / frame.depth - high) / (low - high))
        rgb[(frame.alpha < OPAQUE) | ~np.isfinite(frame.depth)] = NOTHING
    elif heat_map == "alpha":
        rgb = np.repeat(np.clip(frame.alpha, 0.0, 1.0)[..., None], 3, axis=-1)
    elif heat_map == "normals" and camera is not None:
        normals = normals_from_depth(frame.depth, camera)
        rgb = 0.5 + 0.5 * normals
        rgb[(frame.alpha < OPAQUE) | ~np.isfinite(normals[..., 0])] = NOTHING
    elif heat_map == "networks" and frame.network is not None and frame.samples is not None:
        rgb = network_colors(int(frame.network.max(initial=0)) + 1)[frame.network]
        rgb[frame.samples == 0] = NOTHING
    elif (counts := _counts(frame, heat_map)) is not None and ends is not None:
        if heat_map == "samples" and scale == "fixed":
            rgb = scale_colors(scale_position(counts))
        else:
            rgb = _looked_up(np.log(np.maximum(counts, 1)) / np.log(ends[1]))
        rgb[counts == 0] = NOTHING
    else:
        return frame
    return frame.with_colors(rgb.astype(np.float32, copy=False))


def value_text(frame: Frame, heat_map: HeatMap, x: int, y: int, camera: Camera) -> str:
    """What a heat map shows at a pixel, for people."""
    if heat_map == "alpha":
        return f"{frame.alpha[y, x]:.3f}"
    if heat_map in ("depth", "normals") and (frame.alpha[y, x] < OPAQUE or not np.isfinite(frame.depth[y, x])):
        return "background"
    if heat_map == "depth":
        return f"{frame.depth[y, x]:.4g}"
    if heat_map == "normals":
        rows, columns = slice(max(0, y - 2), y + 3), slice(max(0, x - 2), x + 3)
        normal = normals_from_depth(frame.depth, camera, rows, columns)[y - rows.start, x - columns.start]
        return "no normal" if not np.isfinite(normal).all() else "  ".join(f"{value:+.2f}" for value in normal)
    if heat_map == "networks" and frame.network is not None:
        return "no network" if frame.network[y, x] < 0 else f"network {frame.network[y, x]}"
    counts = _counts(frame, heat_map)
    return "" if counts is None else f"{counts[y, x]}"


def _counts(frame: Frame, heat_map: HeatMap) -> NDArray[np.int32] | None:
    return {"samples": frame.samples, "lookups": frame.lookups}.get(heat_map)


def _looked_up(position: NDArray[np.floating]) -> NDArray[np.float32]:
    """As :func:`scale_colors`, from a table."""
    index = np.nan_to_num(position * (STEPS - 1) + 0.5, posinf=STEPS, neginf=0.0)
    return _TABLE[np.clip(index, 0, STEPS - 1).astype(np.int32)]
