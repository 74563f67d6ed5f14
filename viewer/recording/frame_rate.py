"""Frame rates as exact fractions: 29.97 is 30000/1001."""

import re
from fractions import Fraction

from kilonerf.model_io import UsageError

FASTEST = 1000
NTSC = {round(base * 1000 / 1001, 2): Fraction(base * 1000, 1001) for base in (24, 30, 48, 60, 120, 240)}
"""What people write with two decimals, as SMPTE ST 12-1 defines it."""


def exact_rate(fps: float | Fraction) -> Fraction:
    """Frames per second as the fraction that is meant: 23.976, 23.98, 29.97, 59.94 are over 1001.

    Raises:
        UsageError: it is not more than 0, or more than a thousand.
    """
    if not 0.0 < fps <= FASTEST:
        raise UsageError(f"expected more than 0 and at most {FASTEST} frames per second, got {float(fps):g}")
    if isinstance(fps, Fraction):
        return fps
    known = NTSC.get(round(fps, 2))
    if known is not None and abs(float(known) - fps) < 0.006 and fps != round(fps):
        return known
    return Fraction(fps).limit_denominator(1001)


def parse_rate(text: str, option: str = "--fps") -> Fraction:
    """A frame rate from ``30``, ``29.97`` or ``30000/1001``, as typed for ``option``.

    Raises:
        UsageError: it is none, or out of range.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)(?:/(\d{1,9}))?\s*", text)
    try:
        if match is None or (match[2] is not None and ("." in match[1] or int(match[2]) == 0)):
            raise UsageError(f"expected frames per second such as 30, 29.97 or 30000/1001, got {text!r}")
        return exact_rate(Fraction(int(match[1]), int(match[2])) if match[2] else float(match[1]))
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from error
