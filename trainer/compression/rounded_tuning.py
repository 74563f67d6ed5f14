"""Fine-tuning of networks of few bits, which keep the size that they have."""

from collections.abc import Mapping
from typing import Any

import torch

from ..stages.fine_tuning import FineTuning
from .rounding import Rounding

_LOOK_EVERY = 25  # steps between two looks at the size
_FIRMER = 1.2  # by what bits count more after a look that found too many


class RoundedFineTuning(FineTuning):
    """Fine-tuning through a rounding; what bits count is adapted so that networks keep a size.

    Args:
        arguments: of :class:`FineTuning`, as are ``named``.
        bits: the rounding of the networks that are learnt.
        size: bytes that their symbols should take.
    """

    def __init__(self, *arguments: Any, bits: Rounding, size: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._bits, self._size, self._now = bits, size, 0.0

    def step(self, step: int) -> dict[str, float]:
        """One batch of rays; returns the error before it, and the size in kilobytes."""
        if step % _LOOK_EVERY == 0:
            self._now = self._bits.look_at_rate(self.learnt.rows)
            if step:
                self._bits.rate_weight *= _FIRMER if self._now > self._size else 1 / _FIRMER
        return {**super().step(step), "kB": self._now / 1000}

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed stage goes on from."""
        return {**super().state(), **{f"rounding.{key}": value for key, value in self._bits.state().items()}}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        super().load_state(state)
        self._bits.load_state(
            {key.removeprefix("rounding."): value for key, value in state.items() if key.startswith("rounding.")}
        )
        self._now = self._bits.size(self._bits.quantized(self.learnt.rows).symbols)
