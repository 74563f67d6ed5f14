"""A coarse level of detail: networks of larger cells, from which each cell's own network is derived exactly.

A coarse network is that of a cell whose coordinate runs on through its neighbours: in the cells that it covers it is
evaluated at x + shift, with x from -1 to 1 in each of them and odd whole numbers as shifts. A frequency 2^k of
x + shift is the same frequency of x with a phase, so the shift can be moved into the first layer's weights by the angle
addition theorems. What is derived is an ordinary network, and a scene of such networks an ordinary scene.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..scene.architecture import HIDDEN, POSITION_FREQUENCIES
from .quantized import GROUPS

SIDES = (2, 4, 8)
"""How many cells a coarse one may have along each side."""
CHANNELS = 1 + 2 * POSITION_FREQUENCIES
"""Of the encoding of an axis: itself, cosines, sines."""
_AT_ONCE = 256  # networks: bounds the memory of their turns


@dataclass(frozen=True)
class CoarseCells:
    """Which coarse network each of N networks is derived from, and where it lies in it.

    Attributes:
        side: cells of a coarse one along each axis, a power of two.
        of_network: int64 [N], from 0 to the number of coarse networks - 1; 0 for those that no cell has.
        shifts: int64 [N, 3], odd, from 1 - side to side - 1.
        num_coarse: how many coarse networks there are.
    """

    side: int
    of_network: NDArray[np.int64]
    shifts: NDArray[np.int64]
    num_coarse: int

    @classmethod
    def of(cls, network_index: NDArray[np.integer], side: int, num_networks: int | None = None) -> "CoarseCells":
        """Those of the grids of networks of all levels, [levels, rx, ry, rz].

        The first coarse cell begins where the grid does, the last may reach beyond it. There is a coarse network for
        each one in which any cell has a network, level after level, in C order.

        Args:
            network_index: the network of each cell, or -1.
            side: cells of a coarse one along each axis.
            num_networks: N; as many as have a cell if left out.
        """
        levels, *resolution = network_index.shape
        places = np.argwhere(network_index >= 0)
        numbers = network_index[tuple(places.T)]
        cells = places[:, 1:] // side
        coarse = [-(-size // side) for size in resolution]
        flat = np.ravel_multi_index((places[:, 0], *cells.T), (levels, *coarse)) if len(places) else places[:, 0]
        found, which = np.unique(flat, return_inverse=True)
        count = len(places) if num_networks is None else num_networks
        of_network, shifts = np.zeros(count, np.int64), np.zeros((count, 3), np.int64)
        of_network[numbers] = which.reshape(-1)
        shifts[numbers] = 2 * (places[:, 1:] - cells * side) + 1 - side
        return cls(side, of_network, shifts, len(found))

    def __len__(self) -> int:
        return self.num_coarse

    def derived(self, numbers: NDArray[np.float32], networks: NDArray[np.integer]) -> NDArray[np.float32]:
        """The networks of some cells.

        Args:
            numbers: of the coarse networks, [C, 5156].
            networks: which, [M].

        Returns:
            their numbers, [M, 5156], computed in float64.
        """
        rows, _ = GROUPS["pts_linears.0"]
        first = numbers[:, : rows * HIDDEN].reshape(-1, rows, HIDDEN).astype(np.float64)
        weights = first[:, :-1].reshape(len(first), 3, CHANNELS, HIDDEN)
        made = numbers[self.of_network[networks]]
        for begin in range(0, len(networks), _AT_ONCE):
            own = networks[begin : begin + _AT_ONCE]
            coarse = self.of_network[own]
            turned = turns(self.shifts[own]) @ weights[coarse]  # [M, 3, 22, 32]
            bias = first[coarse, -1] + turned[:, :, CHANNELS].sum(axis=1)
            layer = np.concatenate([turned[:, :, :CHANNELS].reshape(len(own), -1), bias], axis=1)
            made[begin : begin + _AT_ONCE, : rows * HIDDEN] = layer
        return made


def turns(shifts: NDArray[np.integer]) -> NDArray[np.float64]:
    """What makes first layers of coarse ones, [N, 3, 22, 21].

    For each axis: the weights of its 21 channels, and what is added to the bias, from the coarse network's weights.

    Args:
        shifts: [N, 3].
    """
    phase = shifts[..., None] * 2.0 ** np.arange(POSITION_FREQUENCIES)
    found = np.zeros((*shifts.shape, CHANNELS + 1, CHANNELS))
    cosines = 1 + np.arange(POSITION_FREQUENCIES)
    sines = cosines + POSITION_FREQUENCIES
    found[..., 0, 0] = 1.0
    found[..., CHANNELS, 0] = shifts  # w (x + shift) = w x + w shift
    # cos(a + p) = cos(a) cos(p) - sin(a) sin(p); sin(a + p) = sin(a) cos(p) + cos(a) sin(p)
    found[..., cosines, cosines] = found[..., sines, sines] = np.cos(phase)
    found[..., sines, cosines] = -np.sin(phase)
    found[..., cosines, sines] = np.sin(phase)
    return found
