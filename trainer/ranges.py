"""Ranges of settings, declared on their fields: ``steps: Annotated[int, Range(0)]``, and the one check of them."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from kilonerf.model_io import UsageError


@dataclass(frozen=True)
class Range:
    """Numbers that a setting may have; of a tuple, each of its numbers.

    Attributes:
        least: the smallest.
        exclusive: whether it must be larger than that.
        most: the largest; inf: any finite number.
        infinite: whether it may be infinite.
    """

    least: float
    exclusive: bool = False
    most: float = math.inf
    infinite: bool = False

    def __contains__(self, value: float) -> bool:
        if math.isnan(value) or (math.isinf(value) and not self.infinite):
            return False
        return (value > self.least if self.exclusive else value >= self.least) and value <= self.most

    def __str__(self) -> str:
        if math.isfinite(self.most):
            return f"{'more than ' if self.exclusive else ''}{self.least:g} to {self.most:g}"
        return f"more than {self.least:g}" if self.exclusive else f"at least {self.least:g}"


Count = Annotated[int, Range(1)]
CountOrZero = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0, exclusive=True)]
NotNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, most=1)]


def check_ranges(settings: Any, prefix: str = "") -> None:
    """See that every number of a dataclass, and of the dataclasses in it, is in its range.

    Args:
        settings: a dataclass; a number of it without a range is not checked.
        prefix: stands before the names of options.

    Raises:
        UsageError: one is not: its option, what was expected, what it is.
    """
    hints = get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        value, name = getattr(settings, field.name), f"{prefix}{field.name}".replace("_", "-")
        if dataclasses.is_dataclass(value):
            check_ranges(value, f"{name}.")
            continue
        for allowed in _ranges(hints[field.name]):
            for number in value if isinstance(value, tuple) else (value,):
                if number is not None and number not in allowed:
                    several = "numbers from " if isinstance(value, tuple) and math.isfinite(allowed.most) else ""
                    raise UsageError(f"--{name}: expected {several}{allowed}, got {number}")


def _ranges(hint: Any) -> Iterator[Range]:
    """The ranges in a type, also in one that may be None."""
    if get_origin(hint) is Annotated:
        yield from (part for part in get_args(hint)[1:] if isinstance(part, Range))
    for part in get_args(hint):
        if get_origin(part) is Annotated:
            yield from _ranges(part)
