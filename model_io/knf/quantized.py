"""Networks of few bits: whole numbers times a step for each network and layer, and how these numbers are coded.

The feature layer is folded into the one behind it, for it has no activation; see docs/knf.md, version 3.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SceneError
from ..scene.architecture import HIDDEN, LAYER_SHAPES
from .packing import Reader, pack, unpack
from .rans import PROBABILITY_BITS, SymbolTables, decode, encode

GROUPS: Mapping[str, tuple[int, int]] = {
    name: (inputs + 1, outputs) for name, (inputs, outputs) in LAYER_SHAPES.items() if name != "feature_linear"
}
"""Layers that are stored, with the shape of weights and biases together: the biases are the last row."""
SIZES = tuple(math.prod(shape) for shape in GROUPS.values())
NUM_WEIGHTS = sum(SIZES)
"""Numbers of a network: 5156."""
GROUP_OF = np.repeat(np.arange(len(SIZES)), SIZES)
"""The group of each number of a network, [5156]."""
NUM_CLASSES = 64
LANES = 2  # of a network
MAX_SYMBOL = 1023
_UNIT_CODE = 128  # of a step of 1
_QUARTERS = np.array([1.0, 2**0.25, 2**0.5, 2**0.75], np.float32)
_CLASSES_PER_OCTAVE = 3
_CLASS_OF_ONE = 24


@dataclass(frozen=True)
class QuantizedNetworks:
    """N networks: number p of network n, in group g, is steps[n, g] * symbols[n, p] + mean_steps[g] * mean[p].

    Attributes:
        symbols: int16 [N, 5156], from -1023 to 1023; group after group, each weight [in, out] then bias [out].
        step_codes: uint8 [N, 5], see :func:`step_size`; 0: all numbers of the group are 0, and so are its symbols.
        mean: int8 [5156], what networks have in common.
        mean_step_codes: uint8 [5].
    """

    symbols: NDArray[np.int16]
    step_codes: NDArray[np.uint8]
    mean: NDArray[np.int8]
    mean_step_codes: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.symbols)

    def values(self) -> NDArray[np.float32]:
        """The numbers, [N, 5156]; the same on every machine."""
        values = self.symbols.astype(np.float32)
        shared = self.mean.astype(np.float32) * step_size(self.mean_step_codes)[GROUP_OF]
        for group, part in enumerate(parts(values)):
            codes = self.step_codes[:, group, None]
            part *= step_size(codes)
            part += parts(shared[None])[group] * (codes > 0)
        return values


def step_size(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """2^((code - 128) / 4), and 0 for code 0."""
    exponent = codes.astype(np.int32) - _UNIT_CODE
    size = np.ldexp(_QUARTERS[exponent % 4], exponent // 4)
    return np.where(codes > 0, size, np.float32(0)).astype(np.float32)


def step_code(size: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The code of the nearest step; 1 and 255 for smaller and larger ones than there are."""
    with np.errstate(divide="ignore"):
        return np.clip(np.rint(4 * np.log2(size)) + _UNIT_CODE, 1, 255).astype(np.uint8)


def parts(numbers: NDArray[Any]) -> list[NDArray[Any]]:
    """Views of the groups in [N, 5156]."""
    return np.split(numbers, np.cumsum(SIZES)[:-1], axis=1)


def to_layers(values: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """What ``Scene.layers`` takes: the feature layer is one that changes nothing."""
    layers: dict[str, NDArray[np.float32]] = {}
    for (name, (rows, outputs)), part in zip(GROUPS.items(), parts(values), strict=True):
        group = part.reshape(-1, rows, outputs)
        layers[f"{name}.weight"] = np.ascontiguousarray(group[:, :-1])
        layers[f"{name}.bias"] = np.ascontiguousarray(group[:, -1])
    identity = np.eye(HIDDEN, dtype=np.float32)
    layers["feature_linear.weight"] = np.repeat(identity[None], len(values), axis=0)
    layers["feature_linear.bias"] = np.zeros((len(values), HIDDEN), np.float32)
    return layers


def from_layers(folded: Mapping[str, NDArray[np.floating]]) -> NDArray[np.float32]:
    """The numbers, [N, 5156], of layers without a feature layer."""
    found: list[NDArray[np.float32]] = []
    for name, size in zip(GROUPS, SIZES, strict=True):
        weight, bias = folded[f"{name}.weight"], folded[f"{name}.bias"]
        found.append(np.concatenate([weight, bias[:, None]], axis=1, dtype=np.float32).reshape(len(bias), size))
    return np.concatenate(found, axis=1)


@dataclass(frozen=True)
class Scales:
    """How large symbols are expected to be: which class, and so which table, each is coded with.

    Attributes:
        positions: uint8 [5156], in thirds of an octave.
        networks: int8 [N, 5], likewise.
    """

    positions: NDArray[np.uint8]
    networks: NDArray[np.int8]

    @classmethod
    def of(cls, symbols: NDArray[np.int16]) -> "Scales":
        """Scales that fit: a symbol's mean magnitude is a factor of its position times one of its network and group."""
        positions = np.zeros(NUM_WEIGHTS)
        networks = np.zeros((len(symbols), len(SIZES)))
        begin = 0
        for group, size in enumerate(SIZES):
            own = np.abs(symbols[:, begin : begin + size]).astype(np.float64)
            position = own.sum(axis=0) / max(1, len(own)) + 1e-3
            network = own.mean(axis=1) / position.mean()
            for _ in range(4):
                position = (own.sum(axis=0) + 0.05) / max(network.sum(), 1e-9)
                network = own.mean(axis=1) / position.mean()
            positions[begin : begin + size] = np.log2(position)
            networks[:, group] = np.log2(network + 1e-6)
            begin += size
        # Anything can be moved from one factor to the other: the positions' become numbers from 0 on.
        codes = np.rint(_CLASSES_PER_OCTAVE * positions)
        least = np.array([codes[group == GROUP_OF].min() for group in range(len(SIZES))])
        of_networks = np.rint(_CLASSES_PER_OCTAVE * networks) + least
        return cls((codes - least[GROUP_OF]).clip(0, 255).astype(np.uint8), of_networks.clip(-128, 127).astype(np.int8))

    def classes(self) -> NDArray[np.uint8]:
        """The class of each symbol, [N, 5156]."""
        both = self.positions.astype(np.int16) + np.repeat(self.networks, SIZES, axis=1)
        return np.clip(both + _CLASS_OF_ONE, 0, NUM_CLASSES - 1).astype(np.uint8)


def lanes(numbers: NDArray[Any]) -> NDArray[Any]:
    """[N, 5156] as a coder takes it: [2578, 2 N], the halves of a network side by side."""
    return np.ascontiguousarray(numbers.reshape(-1, NUM_WEIGHTS // LANES).T)


def encode_networks(
    networks: QuantizedNetworks,
    chunk_of: NDArray[np.integer],  # [N]
) -> tuple[bytes, list[bytes]]:
    """What all networks share, and a chunk for each number of ``chunk_of`` from 0 on: its networks in their order."""
    scales = Scales.of(networks.symbols)
    classes = scales.classes()
    tables = SymbolTables.of(networks.symbols, classes, NUM_CLASSES)
    shared = pack(
        scales.positions,
        networks.mean,
        networks.mean_step_codes,
        tables.first.astype("<i2"),
        tables.counts.astype("<u2"),
        (tables.frequencies - 1).astype("<u2"),
    )
    chunks: list[bytes] = []
    for chunk in range(int(chunk_of.max(initial=-1)) + 1):
        (own,) = np.nonzero(chunk_of == chunk)
        words, lengths = encode(lanes(networks.symbols[own]), lanes(classes[own]), tables)
        sides = pack(networks.step_codes[own].T, scales.networks[own].T, lengths.astype("<u2"))
        chunks.append(len(sides).to_bytes(4, "little") + sides + words.astype("<u2").tobytes())
    return shared, chunks


def decode_networks(
    shared: bytes, chunks: Mapping[str, bytes], counts: Sequence[int], field: str = "model"
) -> QuantizedNetworks:
    """The networks of all chunks, one chunk after the other.

    Args:
        shared: what all networks share.
        chunks: some of the chunks, by their names.
        counts: networks of each.
        field: what a fault of ``shared`` says it is in.

    Raises:
        SceneError: this is not what :func:`encode_networks` made.
    """
    reader = Reader(unpack(shared, _MAX_SHARED, field), field)
    positions, mean = reader.take(np.uint8, NUM_WEIGHTS), reader.take(np.int8, NUM_WEIGHTS)
    mean_step_codes = reader.take(np.uint8, len(SIZES))
    first, table_sizes = reader.take("<i2", NUM_CLASSES), reader.take("<u2", NUM_CLASSES)
    frequencies = reader.take("<u2", int(table_sizes.sum(dtype=np.int64))).astype(np.int32) + 1
    reader.end()
    tables = SymbolTables(first.astype(np.int32), table_sizes.astype(np.int32), frequencies)
    tables.check()
    last = tables.first + tables.counts - 1
    if (np.maximum(np.abs(tables.first), np.abs(last)) > MAX_SYMBOL).any():
        raise SceneError(
            f"{field}: expected symbols from -{MAX_SYMBOL} to {MAX_SYMBOL}, got {first.min()} to {last.max()}"
        )
    steps: list[NDArray[np.uint8]] = []
    scales: list[NDArray[np.int8]] = []
    lengths: list[NDArray[np.uint16]] = []
    words: list[NDArray[np.uint16]] = []
    for (name, chunk), count in zip(chunks.items(), counts, strict=True):
        size = int.from_bytes(chunk[:4], "little")
        if size > len(chunk) - 4 or (len(chunk) - 4 - size) % 2:
            raise SceneError(f"{name}: expected {size} bytes and an even number of others, got {len(chunk) - 4}")
        side = Reader(unpack(chunk[4 : 4 + size], count * (2 * len(SIZES) + 2 * LANES), name), name)
        steps.append(side.take(np.uint8, (len(SIZES), count)).T)
        scales.append(side.take(np.int8, (len(SIZES), count)).T)
        lengths.append(side.take("<u2", count * LANES))
        side.end()
        words.append(np.frombuffer(chunk, "<u2", offset=4 + size))
    step_codes = np.concatenate([np.zeros((0, len(SIZES)), np.uint8), *steps])
    classes = Scales(positions, np.concatenate([np.zeros((0, len(SIZES)), np.int8), *scales])).classes()
    decoded = decode(
        np.concatenate([np.zeros(0, np.uint16), *words]),
        np.concatenate([np.zeros(0, np.uint16), *lengths]),
        lanes(classes),
        tables,
    )
    symbols = np.ascontiguousarray(decoded.T).reshape(-1, NUM_WEIGHTS)
    return QuantizedNetworks(symbols, step_codes, mean, mean_step_codes)


_MAX_SHARED = 2 * NUM_WEIGHTS + len(SIZES) + 4 * NUM_CLASSES + 2 * NUM_CLASSES * (1 << PROBABILITY_BITS)
