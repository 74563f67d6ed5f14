"""Settings say themselves which numbers they may have."""

import dataclasses
import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest

from kilonerf.model_io import UsageError
from kilonerf.trainer.ranges import Count, Positive, Range, check_ranges
from kilonerf.trainer.settings import PRESETS, TrainingSettings


@dataclass(frozen=True)
class Inner:
    some_rates: Annotated[tuple[float, float], Range(0, exclusive=True)] = (1.0, 2.0)
    floor: Annotated[float, Range(0, infinite=True)] = 0.0


@dataclass(frozen=True)
class Outer:
    rays: Count = 1
    step: Positive = 1.0
    share: Annotated[float | None, Range(0, most=1)] = None
    name: str = "free"
    flag: bool = False
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rays": 0}, "--rays: expected at least 1, got 0"),
        ({"step": 0.0}, "--step: expected more than 0, got 0.0"),
        ({"step": math.nan}, "--step: expected more than 0, got nan"),
        ({"step": math.inf}, "--step: expected more than 0, got inf"),
        ({"share": 1.5}, "--share: expected 0 to 1, got 1.5"),
        ({"inner": Inner((0.5, -1.0))}, "--inner.some-rates: expected more than 0, got -1.0"),
        ({"inner": Inner(floor=-0.1)}, "--inner.floor: expected at least 0, got -0.1"),
    ],
)
def test_a_number_out_of_its_range_is_named(wrong: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_ranges(replace(Outer(), **wrong))
    assert str(caught.value) == message


def test_numbers_in_range_pass() -> None:
    check_ranges(Outer(share=1.0, inner=Inner(floor=math.inf)))
    check_ranges(Outer(share=None))


def numbers_without_range(kind: Any, prefix: str = "") -> list[str]:
    found = []
    hints = get_type_hints(kind, include_extras=True)
    for name, plain in get_type_hints(kind).items():
        if dataclasses.is_dataclass(plain):
            found += numbers_without_range(plain, f"{prefix}{name}.")
            continue
        kinds = {plain, *get_args(plain)}
        if kinds & {int, float} and get_origin(hints[name]) is not Annotated:
            found.append(prefix + name)
    return found


def test_every_number_of_the_training_has_a_range_and_the_presets_keep_them() -> None:
    assert numbers_without_range(TrainingSettings) == []
    for settings in PRESETS.values():
        settings.check()
