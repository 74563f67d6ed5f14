"""Rounding with error feedback: what one weight's rounding does to the pictures, the weights rounded later undo.

A layer's outputs matter by H = sum of s x x^T over its samples, with inputs x and a sample's share s in the pictures.
Weights are rounded input by input, and each error is spread over the inputs that are still exact so that the outputs
change least (Frantar et al. 2023, "GPTQ"; Hassibi and Stork 1993). Layers are rounded one after the other: each is
first fitted to what it should give for the inputs that the rounded layers before it make.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.model_io.knf.quantized import GROUPS, MAX_SYMBOL, SIZES
from kilonerf.model_io.scene.architecture import DIRECTION_FREQUENCIES, HIDDEN, POSITION_FREQUENCIES

from ..ops.networks import encode
from .survey import Samples

_AT_ONCE = 64  # networks: bounds the memory of their samples' inputs
_DAMPING = 0.03  # of the mean of H's diagonal, added to it: samples are few
_POSITION, _HIDDEN, _DENSITY, _DIRECTION, _COLOR = range(len(GROUPS))


@dataclass(frozen=True)
class Shares:
    """How much the outputs of each layer matter at each sample, squared: mean over its units, per channel of a ray.

    Attributes:
        of_layers: float32 [5, S].
    """

    of_layers: torch.Tensor

    @classmethod
    def of(cls, samples: Samples, numbers: NDArray[np.float32]) -> "Shares":
        """By backpropagation through the exact networks, numbers [N, 5156]."""
        found = torch.zeros(len(GROUPS), len(samples.points))
        for network, weights in enumerate(zip(*by_layer(numbers), strict=True)):
            own = samples.of(network)
            if own.start == own.stop:
                continue
            position, hidden, density, direction, color = weights
            inputs = _Inputs.of(samples, own)
            first = torch.relu(inputs.position @ position)
            second = torch.relu(_with_one(first) @ hidden)
            third = torch.relu(inputs.behind(second) @ direction)
            rgb = torch.sigmoid(_with_one(third) @ color)
            d_rgb = samples.of_rgb[own] * rgb * (1 - rgb)
            d_density = samples.of_density[own, None]
            d_third = (d_rgb @ color[:-1].T) * (third > 0)
            d_second = (d_third @ direction[:HIDDEN].T + d_density @ density[:-1].T) * (second > 0)
            d_first = (d_second @ hidden[:-1].T) * (first > 0)
            for group, gradient in enumerate((d_first, d_second, d_density, d_third, d_rgb)):
                found[group, own] = (gradient**2).mean(dim=1)
        return cls(found / samples.channels)


def importance(samples: Samples, shares: Shares, numbers: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean of H's diagonal, [N, 5]: what a change of one weight does to the squared error."""
    found = np.zeros((len(numbers), len(GROUPS)))
    for networks in _chunks(len(numbers)):
        layers = [layer[networks] for layer in by_layer(numbers)]
        now = [_Layers(samples, network) for network in networks]
        for group in range(len(GROUPS)):
            for place, (network, inputs) in enumerate(zip(networks, now, strict=True)):
                x, share = inputs.of_group(group), shares.of_layers[group, samples.of(network)]
                found[network, group] = float((x**2).mean(dim=1) @ share)
                inputs.advance(group, layers[group][place])
    return found


def rounded(
    samples: Samples,
    shares: Shares,
    numbers: NDArray[np.float32],  # [N, 5156]
    sizes: NDArray[np.float32],  # [N, 5]
    shared: NDArray[np.float32],  # [5156]
) -> NDArray[np.int16]:
    """Symbols [N, 5156] of numbers in steps of ``sizes`` from ``shared``."""
    of_shared = [layer[0].double() for layer in by_layer(shared[None])]
    unused = (by_layer(numbers)[_POSITION] == 0).all(dim=2).all(dim=0)  # frequencies without weight keep none
    unused[-1] = False  # the bias
    found = np.empty(numbers.shape, np.int16)
    ends = np.cumsum((0, *SIZES))
    for networks in _chunks(len(numbers)):
        layers = [layer[networks].double() for layer in by_layer(numbers)]
        exact, seen = ([_Layers(samples, network) for network in networks] for _ in range(2))
        for group, layer in enumerate(layers):
            inputs = layer.shape[1]
            squares, products = (torch.zeros(len(networks), inputs, inputs, dtype=torch.float64) for _ in range(2))
            for place, network in enumerate(networks):
                x, wanted = seen[place].of_group(group), exact[place].of_group(group)
                if group == _POSITION:
                    x = wanted = x.masked_fill(unused, 0.0)
                weighted = (x * shares.of_layers[group, samples.of(network), None]).T
                squares[place], products[place] = weighted @ x, weighted @ wanted
            damping = _DAMPING * squares.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-30
            squares += torch.diag_embed(damping[:, None].expand(-1, inputs))
            products += torch.diag_embed(damping[:, None].expand(-1, inputs))
            target = torch.linalg.solve(squares, products @ layer)
            step = torch.from_numpy(sizes[networks, group]).double()
            symbols = _with_feedback(target - of_shared[group], squares, step)
            values = (symbols * step[:, None, None] + of_shared[group]).float()
            for place in range(len(networks)):
                exact[place].advance(group, layer[place].float())
                seen[place].advance(group, values[place])
            found[networks, ends[group] : ends[group + 1]] = symbols.flatten(1).to(torch.int16).numpy()
    return found


def by_layer(numbers: NDArray[np.float32]) -> list[torch.Tensor]:
    """Weights with the biases as their last row, [N, in + 1, out] each, of numbers [N, 5156]."""
    parts = torch.from_numpy(numbers).split(list(SIZES), dim=1)
    return [part.unflatten(1, shape) for part, shape in zip(parts, GROUPS.values(), strict=True)]


def _with_feedback(
    weights: torch.Tensor,  # [N, in, out]
    squares: torch.Tensor,  # [N, in, in], positive definite
    step: torch.Tensor,  # [N]
) -> torch.Tensor:
    """Whole numbers for weights over steps, from the last input, the bias, to the first.

    So high frequencies are rounded before low ones, which can undo more (docs/decisions.md).
    """
    inverse = torch.linalg.inv(squares.flip(1, 2))
    spread = torch.linalg.cholesky((inverse + inverse.transpose(1, 2)) / 2)  # lower; column i is of input i
    weights = weights.flip(1) / step[:, None, None]
    symbols = torch.empty_like(weights)
    for i in range(weights.shape[1]):
        symbols[:, i] = weights[:, i].round().clamp(-MAX_SYMBOL, MAX_SYMBOL)
        error = (weights[:, i] - symbols[:, i]) / spread[:, i, i, None]
        weights[:, i + 1 :] -= spread[:, i + 1 :, i, None] * error[:, None]
    return symbols.flip(1)


@dataclass(frozen=True)
class _Inputs:
    """Encoded samples of a network, with a column of ones for the bias."""

    position: torch.Tensor
    direction: torch.Tensor

    @classmethod
    def of(cls, samples: Samples, own: slice) -> "_Inputs":
        position = encode(samples.points[own], POSITION_FREQUENCIES)
        return cls(_with_one(position), _with_one(encode(samples.directions[own], DIRECTION_FREQUENCIES)))

    def behind(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the direction's layer takes."""
        return torch.cat([hidden, self.direction], dim=1)


class _Layers:
    """A network's activations at its samples, layer by layer."""

    def __init__(self, samples: Samples, network: int) -> None:
        self._inputs = _Inputs.of(samples, samples.of(network))
        self._now = self._inputs.position

    def of_group(self, group: int) -> torch.Tensor:
        """What the layer takes, [S, in + 1]; the layers before it were advanced through."""
        return self._inputs.behind(self._now[:, :-1]) if group == _DIRECTION else self._now

    def advance(self, group: int, weights: torch.Tensor) -> None:
        """Go through a layer; the density leads nowhere."""
        if group not in (_DENSITY, _COLOR):
            self._now = _with_one(torch.relu(self.of_group(group) @ weights))


def _with_one(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)


def _chunks(count: int) -> Iterator[list[int]]:
    for begin in range(0, count, _AT_ONCE):
        yield list(range(begin, min(begin + _AT_ONCE, count)))
