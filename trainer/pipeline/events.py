"""What a program that follows a training is told: events with values (docs/training.md)."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from kilonerf.kernels.measure.metrics import psnr_of_mse

from .observers import Observer
from .rates import Rates

_EVERY = 0.5  # seconds between two events of steps


class SayEvent(Protocol):
    """Writes an event."""

    def __call__(self, event: str, **values: Any) -> None: ...  # noqa: D102


class EventObserver(Observer):
    """Says stages, steps and messages as events.

    Args:
        say: is given each one's name and values.
        clock: seconds.
    """

    def __init__(self, say: SayEvent, clock: Callable[[], float] = time.perf_counter) -> None:
        self._say, self._clock = say, clock
        self._rates, self._steps, self._due = Rates(clock), 0, 0.0

    def begin(self, stage: str, step: int, steps: int) -> None:  # noqa: D102
        self._rates, self._steps, self._due = Rates(self._clock), steps, self._clock()
        self._say("stage", stage=stage, step=step, steps=steps)

    def step(self, stage: str, step: int, metrics: Mapping[str, float], rays: int, samples: int) -> None:  # noqa: D102
        self._rates.add(metrics, rays, samples)
        now = self._clock()
        if now < self._due and step + 1 < self._steps:
            return
        self._due = now + _EVERY
        errors = self._rates.errors
        psnr = round(psnr_of_mse(errors["error"]), 2) if "error" in errors else None
        left = (self._steps - step - 1) / self._rates.per_second()["steps"]
        self._say("step", stage=stage, step=step + 1, steps=self._steps, psnr=psnr, seconds_left=round(left, 1))

    def message(self, text: str) -> None:  # noqa: D102
        self._say("message", text=text)

    def snapshot_written(self, file: Path, stage: str, step: int) -> None:
        """The scene as it is after ``step`` is in ``file``."""
        self._say("snapshot", stage=stage, step=step + 1, file=str(file))

    def preview_made(self, stage: str, step: int, psnr: float) -> None:
        """Some views have been rendered beside their photos; their mean PSNR in decibel."""
        self._say("preview", stage=stage, step=step + 1, psnr=round(psnr, 2))
