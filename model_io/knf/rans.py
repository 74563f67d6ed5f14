"""An entropy coder for many streams of small integers at once (rANS: Duda 2013, "Asymmetric numeral systems").

Each lane has its own stream, so that any part of the lanes can be decoded without the others; one step decodes one
symbol of every lane, in NumPy. Which table a symbol is coded with is known beforehand from its class.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SceneError

PROBABILITY_BITS = 14
_TOTAL = 1 << PROBABILITY_BITS
_LOWEST = 1 << 16  # of a state between two symbols; a state has 32 bits, a word 16
STATE_WORDS = 2  # each lane begins with its last state, low word first
MAX_SYMBOLS = 4096  # of one class


@dataclass(frozen=True)
class SymbolTables:
    """How often each symbol comes in each of C classes.

    Attributes:
        first: int32 [C], the least symbol of each class.
        counts: int32 [C], how many symbols a class has, 1 to ``MAX_SYMBOLS``; 0: the class is not used.
        frequencies: int32 [sum of counts], class after class, each at least 1; those of a class add up to 2^14.
    """

    first: NDArray[np.int32]
    counts: NDArray[np.int32]
    frequencies: NDArray[np.int32]

    @classmethod
    def of(cls, symbols: NDArray[np.integer], classes: NDArray[np.integer], num_classes: int) -> "SymbolTables":
        """Tables that fit these symbols.

        Args:
            symbols: of any shape.
            classes: of the same shape, 0 to num_classes - 1.
            num_classes: C.
        """
        symbols, classes = symbols.reshape(-1).astype(np.int64), classes.reshape(-1).astype(np.int64)
        least = int(symbols.min(initial=0))
        width = int(symbols.max(initial=0)) - least + 1
        histogram = np.bincount(classes * width + symbols - least, minlength=num_classes * width)
        first, counts = np.zeros(num_classes, np.int32), np.zeros(num_classes, np.int32)
        frequencies: list[NDArray[np.int32]] = []
        for number, row in enumerate(histogram.reshape(num_classes, width)):
            (used,) = np.nonzero(row)
            if len(used):
                own = _frequencies(row[used[0] : used[-1] + 1])
                first[number], counts[number] = used[0] + least, len(own)
                frequencies.append(own)
        return cls(first, counts, np.concatenate([np.zeros(0, np.int32), *frequencies]))

    def check(self) -> None:
        """Check that these are tables.

        Raises:
            SceneError: they are not.
        """
        counts, frequencies = self.counts.astype(np.int64), self.frequencies.astype(np.int64)
        if len(counts) and not 0 <= counts.min() <= counts.max() <= MAX_SYMBOLS:
            raise SceneError(f"tables: expected 0 to {MAX_SYMBOLS} symbols of a class, got {counts.max()}")
        if counts.sum() != len(frequencies) or (len(frequencies) and frequencies.min() < 1):
            raise SceneError(f"tables: expected {counts.sum()} frequencies of at least 1, got others")
        sums = np.add.reduceat(np.append(frequencies, 0), np.append(0, counts.cumsum())[:-1])[counts > 0]
        if not (sums == _TOTAL).all():
            raise SceneError(f"tables: expected frequencies of a class that add up to {_TOTAL}, got {sums.max()}")

    def starts(self) -> NDArray[np.int64]:
        """Where each class begins in ``frequencies``, [C]."""
        return np.append(0, self.counts.astype(np.int64).cumsum())[:-1]

    def cumulative(self) -> NDArray[np.int64]:
        """For each symbol the sum of the frequencies before it in its class, [sum of counts]."""
        before = self.frequencies.astype(np.int64).cumsum() - self.frequencies
        return before - np.repeat(
            np.arange(len(before) and (self.counts > 0).sum()) * _TOTAL, self.counts[self.counts > 0]
        )

    def bits(self, symbols: NDArray[np.integer], classes: NDArray[np.integer]) -> NDArray[np.float32]:
        """What each symbol costs, of the same shape."""
        cost = (PROBABILITY_BITS - np.log2(self.frequencies)).astype(np.float32)
        return cost[self.starts()[classes] + symbols - self.first[classes]]


def _frequencies(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Frequencies of at least 1 that add up to 2^14, nearly in proportion to ``counts``; also for symbols not seen."""
    if len(counts) > MAX_SYMBOLS:
        raise SceneError(f"networks: expected at most {MAX_SYMBOLS} symbols of a class, got {len(counts)}")
    wanted = 1 + counts * (_TOTAL - len(counts)) / counts.sum()
    found = np.floor(wanted).astype(np.int32)
    most_lost = np.argsort(found - wanted, kind="stable")
    found[most_lost[: _TOTAL - found.sum()]] += 1
    return found


def encode(
    symbols: NDArray[np.integer],  # [S, L]
    classes: NDArray[np.integer],  # [S, L]
    tables: SymbolTables,
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Code S symbols of each of L lanes.

    Returns:
        words, one lane after the other, and how many words each lane has [L].
    """
    steps, lanes = symbols.shape
    place = tables.starts()[classes] + symbols - tables.first[classes]
    frequencies = tables.frequencies[place].astype(np.uint64)
    before = tables.cumulative()[place].astype(np.uint64)
    state = np.full(lanes, _LOWEST, np.uint64)
    words, written = np.zeros((steps, lanes), np.uint16), np.zeros((steps, lanes), np.bool_)
    bits = np.uint64(PROBABILITY_BITS)
    for step in range(steps - 1, -1, -1):
        frequency = frequencies[step]
        full = state >= frequency << np.uint64(32 - PROBABILITY_BITS)
        words[step], written[step] = state & np.uint64(0xFFFF), full
        state = np.where(full, state >> np.uint64(16), state)
        quotient = state // frequency
        state = (quotient << bits) + before[step] + (state - quotient * frequency)
    states = np.stack([state & np.uint64(0xFFFF), state >> np.uint64(16)]).astype(np.uint16)
    every = np.concatenate([states, words]).T
    kept = np.concatenate([np.ones((STATE_WORDS, lanes), np.bool_), written]).T
    return every[kept], kept.sum(axis=1)


def decode(
    words: NDArray[np.uint16],
    lengths: NDArray[np.integer],  # [L]
    classes: NDArray[np.uint8],  # [S, L]
    tables: SymbolTables,
) -> NDArray[np.int16]:  # [S, L]
    """What :func:`encode` coded.

    Args:
        words: of all lanes.
        lengths: words of each lane.
        classes: of each symbol.
        tables: checked ones.

    Raises:
        SceneError: these are not words that ``encode`` made with these classes and tables.
    """
    steps = len(classes)
    if lengths.min(initial=STATE_WORDS) < STATE_WORDS or int(lengths.sum()) != len(words):
        raise SceneError(f"networks: expected lanes of {len(words)} words in all, got {int(lengths.sum())}")
    if steps and (tables.counts[classes.reshape(-1)] == 0).any():
        raise SceneError("networks: expected classes that have a table, got one without")
    symbol_of, packed = _slots(tables)
    ends: NDArray[np.int64] = lengths.cumsum(dtype=np.int64)
    begins: NDArray[np.int64] = ends - lengths
    padded = np.concatenate([words, np.zeros(steps + STATE_WORDS, np.uint16)]).astype(np.uint32)
    state: NDArray[np.uint32] = padded[begins] | padded[begins + 1] << np.uint32(16)
    at: NDArray[np.int64] = begins + STATE_WORDS
    rows = np.empty(classes.shape, np.int32)
    low, bits = np.uint32(_TOTAL - 1), np.uint32(PROBABILITY_BITS)
    entry: NDArray[np.uint32]
    for step in range(steps):
        slot: NDArray[np.int32] = rows[step]
        np.add(state & low, classes[step].astype(np.uint32) << bits, out=slot, casting="unsafe")
        entry = packed.take(slot)  # frequency and, above it, the slot's place within its symbol
        state = (entry & np.uint32(0x7FFF)) * (state >> bits) + (entry >> np.uint32(15))
        empty: NDArray[np.bool_] = state < np.uint32(_LOWEST)
        which: NDArray[np.int64] = np.flatnonzero(empty)
        state[which] = state[which] << np.uint32(16) | padded[at[which]]
        at += empty
    if not (state == _LOWEST).all() or not (at == ends).all():
        raise SceneError("networks: expected symbols that end where their words do, got others: the file is damaged")
    return symbol_of.take(rows)


def _slots(tables: SymbolTables) -> tuple[NDArray[np.int16], NDArray[np.uint32]]:
    """By class and slot: the symbol, and its frequency packed with the slot's place within the symbol."""
    used = tables.counts > 0
    widths = np.where(used, _TOTAL, 0)
    symbols = np.arange(len(tables.frequencies)) - np.repeat(tables.starts() - tables.first, tables.counts)
    by_slot = np.repeat(symbols.astype(np.int16), tables.frequencies)
    frequency = np.repeat(tables.frequencies.astype(np.uint32), tables.frequencies)
    place = np.tile(np.arange(_TOTAL, dtype=np.uint32), int(used.sum()))
    place -= np.repeat(tables.cumulative().astype(np.uint32), tables.frequencies)
    entries = frequency | place << np.uint32(15)
    if widths.all():
        return by_slot, entries
    all_symbols = np.zeros((len(used), _TOTAL), np.int16)
    all_entries = np.ones((len(used), _TOTAL), np.uint32)
    all_symbols[used], all_entries[used] = by_slot.reshape(-1, _TOTAL), entries.reshape(-1, _TOTAL)
    return all_symbols.reshape(-1), all_entries.reshape(-1)
