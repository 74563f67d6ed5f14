"""Everything that decides what compression gives."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from ..ranges import Count, CountOrZero, NotNegative, Positive, check_ranges


@dataclass(frozen=True)
class RoundingSettings:
    """How bits are given to networks."""

    # How much bits count beside the error; 1: as they should where there are many of them.
    rate_weight: NotNegative = 1.0
    # Store what networks have in common only once.
    predict: bool = True


@dataclass(frozen=True)
class CoarseSettings:
    """The coarse level of detail: what is seen of cells whose networks have not come yet."""

    # Cells of a coarse one along each side; 0: the fewest by which 800 bytes are there for each of its networks, or 8.
    side: Literal[0, 2, 4, 8] = 0
    # Steps of learning it.
    steps: Count = 1200
    # Steps of fine-tuning it through its rounding.
    rounded_steps: CountOrZero = 200
    # Rays of a step.
    rays: Count = 4096
    # Learning rate of Adam at the beginning; at the end it is a twentieth.
    learning_rate: Positive = 8e-3
    # Learning rate through the rounding, at the beginning.
    rounded_learning_rate: Positive = 1e-3


@dataclass(frozen=True)
class CompressionSettings:
    """Settings of a run; two runs with the same ones give the same file."""

    # Of all random numbers.
    seed: CountOrZero = 0
    # Steps of fine-tuning through the rounding; 0: round only.
    steps: CountOrZero = 1500
    # Rays of a step.
    rays: Count = 12_288
    # Learning rate of Adam at the beginning.
    learning_rate: Positive = 1e-3
    # Learning rate at the end.
    last_learning_rate: Positive = 1e-4
    # Batches of rays by which it is found how much each sample and each network matters.
    survey_steps: Count = 24
    # Without photos: pictures of the scene itself that are rendered in their place.
    pictures: Count = 100
    # Networks of a chunk of the file, at most.
    chunk: Count = 192
    rounding: RoundingSettings = field(default_factory=RoundingSettings)
    coarse: CoarseSettings = field(default_factory=CoarseSettings)

    def check(self) -> None:
        """See that every number is in its range.

        Raises:
            UsageError: one is not.
        """
        check_ranges(self)

    def document(self) -> dict[str, Any]:
        """All of them, JSON values only."""
        return dataclasses.asdict(self)
