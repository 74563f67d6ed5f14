"""Networks of few bits while they are trained: what rounds them, and what makes their bits fewer.

The straight-through estimator (Bengio, Leonard and Courville 2013): pictures are made with rounded parameters, and the
parameters themselves take the gradient. A parameter's step is c / sqrt(importance) of its network and group, so that
rounding costs all of them the same; c, the one knob, decides the size.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.model_io.knf.quantized import (
    GROUPS,
    MAX_SYMBOL,
    NUM_CLASSES,
    SIZES,
    QuantizedNetworks,
    Scales,
    from_layers,
    parts,
    step_code,
    step_size,
    to_layers,
)
from kilonerf.model_io.knf.rans import SymbolTables

from ..ops.networks import ROW_LAYOUT, ROW_LENGTH, TinyNetworks, layers_of
from .settings import RoundingSettings

_DENSITY = list(GROUPS).index("alpha_linear")
_PREDICTED = ("pts_linears.0", "pts_linears.1", "alpha_linear")
"""Layers of which networks have something in common, from their one initialisation; of the others they have not."""
_LEAST_IMPORTANT = 5.0  # percentile of the networks' importance: none counts less
_MOST_STEPS = 800  # from a network's mean to its largest number: rounding never cuts one off
_PER_BIT = math.log(2) / 6
"""By what the squared error falls for a bit more, in steps squared (rounding at a high rate: step^2 / 12)."""


class Rounding:
    """Rounds the rows of networks.

    Args:
        rows: [N, ROW_LENGTH], without feature layers (they change nothing).
        importance: [N, 5], mean over a network and group: what a change of a number does to the squared error.
        density_factor: [N], what the student's raw densities are multiplied with in a scene.
        settings: how.

    Attributes:
        strength: c.
        rate_weight: how much bits count now; as in the settings at first.
        step_codes: uint8 [N, 5].
    """

    def __init__(
        self,
        rows: torch.Tensor,
        importance: NDArray[np.float64],
        density_factor: torch.Tensor,
        settings: RoundingSettings,
    ) -> None:
        self.settings = settings
        self._factor = density_factor.cpu().numpy().astype(np.float32)
        self.importance = importance.copy()
        for group in range(len(SIZES)):
            own = self.importance[:, group]
            least = np.percentile(own[own > 0], _LEAST_IMPORTANT) if (own > 0).any() else 1.0
            self.importance[:, group] = np.maximum(own, least)
        numbers = self.numbers(rows)
        self._mean, self._mean_step_codes = self._shared(numbers)
        largest = [np.abs(part).max(axis=1) for part in parts(numbers - self.shared)]
        self._least_steps = np.stack(largest, axis=1) / _MOST_STEPS
        self._rounded = torch.empty_like(rows)
        self._exact: torch.Tensor | None = None
        self.strength, self.rate_weight = 1.0, settings.rate_weight

    def numbers(self, rows: torch.Tensor) -> NDArray[np.float32]:
        """See :func:`scene_numbers`."""
        return scene_numbers(rows, self._factor)

    @property
    def step_sizes(self) -> NDArray[np.float32]:
        """Of each network and group, [N, 5]."""
        return step_size(self.step_codes)

    @property
    def shared(self) -> NDArray[np.float32]:
        """What networks have in common, [5156]."""
        return self._mean.astype(np.float32) * np.repeat(step_size(self._mean_step_codes), SIZES)

    def rows(self, networks: QuantizedNetworks) -> torch.Tensor:
        """The student's parameters for them, with feature layers that change nothing."""
        layers = to_layers(networks.values())
        for part in ("weight", "bias"):
            density = layers[f"alpha_linear.{part}"]
            layers[f"alpha_linear.{part}"] = density / self._factor.reshape(-1, *[1] * (density.ndim - 1))
        return TinyNetworks.from_layers(layers).rows.detach().to(self._rounded.device)

    def with_symbols(self, symbols: NDArray[np.int16]) -> QuantizedNetworks:
        """Networks of these symbols, in the steps of now."""
        return QuantizedNetworks(symbols, self.step_codes, self._mean, self._mean_step_codes)

    def set_strength(self, strength: float) -> None:
        """Choose c, and so the steps."""
        self.strength = strength
        self.step_codes = step_code(np.maximum(strength / np.sqrt(self.importance), self._least_steps))
        sizes = step_size(self.step_codes)
        device = self._rounded.device
        self._steps = self._as_rows(np.repeat(sizes, SIZES, axis=1), 1.0).to(device)
        self._shared_rows = self._as_rows(np.repeat(self.shared[None], len(sizes), axis=0), 0.0).to(device)
        self._pull = torch.zeros_like(self._steps)
        self._stored = self._as_rows(np.ones((len(sizes), sum(SIZES)), np.float32), 0.0).to(device)[:1] > 0

    def apply(self, networks: TinyNetworks) -> None:
        """Put rounded parameters in the place of the networks' own."""
        rows = networks.rows.data
        torch.sub(rows, self._shared_rows, out=self._rounded)
        self._rounded.div_(self._steps).round_().clamp_(-MAX_SYMBOL, MAX_SYMBOL)
        self._rounded.mul_(self._steps).add_(self._shared_rows)
        self._exact, networks.rows.data = rows, self._rounded

    def undo(self, networks: TinyNetworks) -> None:
        """Put the networks' own parameters back, and add what bits cost to their gradient."""
        assert self._exact is not None  # noqa: S101 - apply comes before undo
        networks.rows.data, self._exact = self._exact, None
        if networks.rows.grad is not None:
            direction = torch.sub(networks.rows.data, self._shared_rows, out=self._rounded).sign_()
            networks.rows.grad.addcmul_(self._pull, direction).mul_(self._stored)

    def weakest(self) -> float:
        """A c of which steps are small: rounding to it is hardly seen."""
        return 1e-3 * float(np.sqrt(np.median(self.importance)))

    def quantized(self, rows: torch.Tensor, down: float = 0.0) -> QuantizedNetworks:
        """The networks as they are stored.

        Args:
            rows: theirs.
            down: 0: each is rounded to the nearest symbol; 0.5: to the next towards zero.
        """
        numbers = self.numbers(rows) - self.shared
        sizes = np.repeat(step_size(self.step_codes), SIZES, axis=1)
        symbols = numbers / sizes
        symbols = np.sign(symbols) * np.ceil(np.abs(symbols) - 0.5 - down) if down else np.rint(symbols)
        symbols = np.clip(symbols, -MAX_SYMBOL, MAX_SYMBOL).astype(np.int16)
        return self.with_symbols(symbols)

    def size(self, symbols: NDArray[np.int16]) -> float:
        """How many bytes symbols take."""
        return _bytes_of(symbols, Scales.of(symbols).classes())

    def look_at_rate(self, rows: torch.Tensor) -> float:
        """How many bytes the symbols take now; from now on, their gradient pulls as these sizes say."""
        quantized = self.quantized(rows)
        classes = Scales.of(quantized.symbols).classes()
        size = _bytes_of(quantized.symbols, classes)
        # Symbols of a class are nearly geometric, p(q) ~ ratio^|q|: each further one costs the same.
        mean = np.bincount(classes.reshape(-1), np.abs(quantized.symbols).reshape(-1), NUM_CLASSES)
        mean = mean / np.maximum(np.bincount(classes.reshape(-1), minlength=NUM_CLASSES), 1) + 1e-3
        bits = -np.log2((np.sqrt(1 + mean**2) - 1) / mean)
        per_bit = self.rate_weight * _PER_BIT * self.strength**2
        sizes = step_size(self.step_codes)
        sizes[:, _DENSITY] /= self._factor  # gradients are of the student's parameters
        pull = (per_bit * bits).astype(np.float32)[classes] / np.repeat(sizes, SIZES, axis=1)
        self._pull = self._as_rows(pull, 0.0, density=False).to(self._rounded.device)
        return size

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed stage goes on from."""
        knobs = torch.tensor([self.strength, self.rate_weight], dtype=torch.float64)
        return {"knobs": knobs, "pull": self._pull}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        strength, self.rate_weight = state["knobs"].tolist()
        self.set_strength(strength)
        self._pull = state["pull"].to(self._rounded.device)

    def _shared(self, numbers: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
        """What networks have in common: int8 [5156], and the code of its step for each group."""
        mean = numbers.mean(axis=0, dtype=np.float64)[None]
        codes, found = np.ones(len(SIZES), np.uint8), []
        for group, (name, own) in enumerate(zip(GROUPS, parts(mean), strict=True)):
            largest = float(np.abs(own).max(initial=0.0))
            if not self.settings.predict or name not in _PREDICTED or not largest:
                found.append(np.zeros(own.size, np.int8))
                continue
            codes[group] = step_code(np.array(largest / 120))
            found.append(np.clip(np.rint(own[0] / step_size(codes[group])), -127, 127).astype(np.int8))
        return np.concatenate(found), codes

    def _as_rows(self, numbers: NDArray[np.float32], elsewhere: float, *, density: bool = True) -> torch.Tensor:
        """Numbers [N, 5156] of a scene where the student's parameters are, [N, ROW_LENGTH]."""
        rows = np.full((len(numbers), ROW_LENGTH), elsewhere, np.float32)
        for group, ((name, (inputs, outputs)), own) in enumerate(zip(GROUPS.items(), parts(numbers), strict=True)):
            if group == _DENSITY and density:
                own = own / self._factor[:, None]
            size = (inputs - 1) * outputs
            weight, bias = ROW_LAYOUT[f"{name}.weight"][0], ROW_LAYOUT[f"{name}.bias"][0]
            rows[:, weight : weight + size] = own[:, :size]
            rows[:, bias : bias + outputs] = own[:, size:]
        return torch.from_numpy(rows)


def plain_strength(rounding: Rounding, rows: torch.Tensor, size: float) -> float:
    """The strength by which plain rounding has a size; it takes about as many bytes as rounding with feedback."""
    low, high = np.log2(rounding.weakest()) - 4, np.log2(rounding.weakest()) + 30
    for _ in range(9):
        middle = (low + high) / 2
        rounding.set_strength(2.0**middle)
        if rounding.size(rounding.quantized(rows).symbols) > size:
            low = middle
        else:
            high = middle
    return 2.0**high


def scene_numbers(rows: torch.Tensor, density_factor: NDArray[np.float32]) -> NDArray[np.float32]:
    """The numbers that are stored, [N, 5156], of a student's rows: densities are as in a scene."""
    numbers = from_layers({name: layer.cpu().numpy() for name, layer in layers_of(rows.detach()).items()})
    parts(numbers)[_DENSITY][:] *= density_factor[:, None]
    return numbers


def _bytes_of(symbols: NDArray[np.int16], classes: NDArray[np.uint8]) -> float:
    """How many bytes symbols take, each coded by the table of its class."""
    return float(SymbolTables.of(symbols, classes, NUM_CLASSES).bits(symbols, classes).sum(dtype=np.float64)) / 8
