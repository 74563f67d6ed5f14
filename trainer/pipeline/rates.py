"""Errors and rates of training, and how they are said."""

import time
from collections import deque
from collections.abc import Callable, Mapping

from kilonerf.kernels.measure.metrics import psnr_of_mse

_SMOOTHING = 0.98  # of the errors, from step to step
_RATES_OVER = 30.0  # seconds that rates are a mean over
_SIZES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class Rates:
    """Errors of a stage, smoothed, and its rates of late.

    Args:
        clock: seconds.

    Attributes:
        errors: of each name.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._amounts: tuple[int, int, int] = (0, 0, 0)  # steps, rays, samples
        self._marks: deque[tuple[float, tuple[int, int, int]]] = deque(
            [(clock(), (0, 0, 0))]
        )  # one a second, the oldest half a minute ago
        self.errors: dict[str, float] = {}

    def add(self, metrics: Mapping[str, float], rays: int, samples: int) -> None:
        """A step is done."""
        now, (steps_before, rays_before, samples_before) = self._clock(), self._amounts
        self._amounts = (steps_before + 1, rays_before + rays, samples_before + samples)
        if now - self._marks[-1][0] >= 1.0:
            self._marks.append((now, self._amounts))
            while len(self._marks) > 2 and now - self._marks[1][0] >= _RATES_OVER:
                self._marks.popleft()
        for name, value in metrics.items():
            before = self.errors.get(name, value)
            self.errors[name] = _SMOOTHING * before + (1 - _SMOOTHING) * value

    @property
    def steps(self) -> int:
        """How many there were."""
        return self._amounts[0]

    def per_second(self) -> dict[str, float]:
        """Steps, rays and samples, those that there are."""
        since, before = self._marks[0]
        seconds = max(self._clock() - since, 1e-6)
        rates = [(now - then) / seconds for now, then in zip(self._amounts, before, strict=True)]
        return {name: rate for name, rate in zip(("steps", "rays", "samples"), rates, strict=True) if rate > 0}

    def text(self) -> str:
        """All of it in one line."""
        parts = [f"{psnr_of_mse(self.errors['error']):.2f} dB"] if "error" in self.errors else []
        parts += [f"{name} {value:#.3g}" for name, value in self.errors.items() if name != "error"]
        parts += [f"{short(value)} {name}/s" for name, value in self.per_second().items()]
        return ", ".join(parts)


def short(value: float) -> str:
    """A rate to three digits: 1.20 M."""
    size, letter = next(((size, f" {letter}") for size, letter in _SIZES if value >= 0.9995 * size), (1.0, ""))
    return f"{value / size:#.3g}".rstrip(".") + letter
