"""The entropy coder: what goes in comes out, in about as many bits as it must take, and nothing else is believed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilonerf.model_io import SceneError
from kilonerf.model_io.knf.rans import MAX_SYMBOLS, SymbolTables, decode, encode


def symbols_and_classes(seed: int, steps: int, lanes: int, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    which = rng.integers(0, classes, (steps, lanes)).astype(np.uint8)
    return np.rint(rng.laplace(0, 1, (steps, lanes)) * 3.0 ** (which - 3.0)).astype(np.int16), which


@given(seed=st.integers(0, 99), steps=st.integers(0, 40), lanes=st.integers(0, 9))
def test_what_goes_in_comes_out(seed: int, steps: int, lanes: int) -> None:
    symbols, classes = symbols_and_classes(seed, steps, lanes)
    tables = SymbolTables.of(symbols, classes, 8)
    tables.check()
    words, lengths = encode(symbols, classes, tables)
    assert np.array_equal(decode(words, lengths, classes, tables), symbols)
    for lane in range(lanes):  # each lane stands alone
        begin = int(lengths[:lane].sum())
        own = words[begin : begin + lengths[lane]]
        alone = decode(own, lengths[lane : lane + 1], classes[:, lane : lane + 1], tables)
        assert np.array_equal(alone[:, 0], symbols[:, lane])


def test_its_size_is_nearly_the_entropy() -> None:
    symbols, classes = symbols_and_classes(5, 4000, 20)
    tables = SymbolTables.of(symbols, classes, 7)
    entropy = 0.0
    for number in range(7):
        _, counts = np.unique(symbols[classes == number], return_counts=True)
        entropy -= (counts * np.log2(counts / counts.sum())).sum()
    assert tables.bits(symbols, classes).sum() < 1.002 * entropy
    words, _ = encode(symbols, classes, tables)
    assert 16 * len(words) < 1.002 * entropy + 20 * 32


def test_a_symbol_that_is_certain_costs_nothing() -> None:
    symbols, classes = np.full((1000, 3), 7, np.int16), np.zeros((1000, 3), np.uint8)
    tables = SymbolTables.of(symbols, classes, 1)
    words, lengths = encode(symbols, classes, tables)
    assert lengths.tolist() == [2, 2, 2]
    assert (decode(words, lengths, classes, tables) == 7).all()


def test_rare_and_common_symbols_have_a_place() -> None:
    symbols = np.zeros((20_000, 1), np.int16)
    symbols[-1], symbols[-2] = 1000, -1023
    classes = np.zeros_like(symbols, np.uint8)
    tables = SymbolTables.of(symbols, classes, 1)
    tables.check()
    words, lengths = encode(symbols, classes, tables)
    assert np.array_equal(decode(words, lengths, classes, tables), symbols)
    with pytest.raises(SceneError, match=f"at most {MAX_SYMBOLS} symbols of a class"):
        SymbolTables.of(np.array([[-3000], [3000]]), np.zeros((2, 1), np.uint8), 1)


def test_damaged_words_are_refused_or_give_symbols_of_the_tables() -> None:
    symbols, classes = symbols_and_classes(1, 50, 6)
    tables = SymbolTables.of(symbols, classes, 7)
    words, lengths = encode(symbols, classes, tables)
    refused = 0
    for place in range(len(words)):
        damaged = words.copy()
        damaged[place] ^= 0x40
        try:
            found = decode(damaged, lengths, classes, tables)
        except SceneError:
            refused += 1
            continue
        assert (tables.bits(found, classes) >= 0).all()
    assert refused > 0.95 * len(words)


def test_lengths_and_classes_that_do_not_fit_are_refused() -> None:
    symbols, classes = symbols_and_classes(2, 30, 4)
    tables = SymbolTables.of(symbols, classes, 9)
    words, lengths = encode(symbols, classes, tables)
    for wrong in (lengths + 1, lengths * 0, np.array([len(words), 0, 0, 0])):
        with pytest.raises(SceneError, match="expected lanes of"):
            decode(words, wrong, classes, tables)
    with pytest.raises(SceneError, match="classes that have a table"):
        decode(words, lengths, np.full_like(classes, 8), tables)
    moved = lengths + np.array([1, -1, 0, 0])
    with pytest.raises(SceneError, match="end where their words do"):
        decode(words, moved, classes, tables)


@pytest.mark.parametrize(
    ("counts", "frequencies"),
    [([2], [8192, 8191]), ([2], [16384, 0]), ([3], [8192, 8192]), ([5000], [1] * 5000), ([1, 1], [16384, 16383])],
)
def test_wrong_tables_are_refused(counts: list[int], frequencies: list[int]) -> None:
    first = np.zeros(len(counts), np.int32)
    tables = SymbolTables(first, np.array(counts, np.int32), np.array(frequencies, np.int32))
    with pytest.raises(SceneError, match="tables: expected"):
        tables.check()
