"""The occupancy grid in few bytes: voxel after voxel, by an adaptive binary range coder (Martin 1979; Schindler 1998).

How probable it is that a voxel is occupied is learnt while it goes on, for each state of the 16 voxels around it that
came before. docs/knf.md is the specification; ``voxel_coder.cpp`` is the native twin, which takes 0.06 s for the 2.2
million voxels of the chair where this one takes seconds.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import SceneError

try:
    from .. import _codec
except ImportError:  # pragma: no cover - every installation has it
    _codec = None

_REACH = 2
NEIGHBOURS = (
    *((-1, 0, 0), (0, -1, 0), (0, 0, -1)),
    *((-1, -1, 0), (-1, 0, -1), (-1, 0, 1), (-1, 1, 0), (0, -1, -1), (0, -1, 1)),
    *((-1, -1, -1), (-1, -1, 1), (-1, 1, -1), (-1, 1, 1)),
    *((-2, 0, 0), (0, -2, 0), (0, 0, -2)),
)
"""Bit i of a voxel's context is the voxel this far from it: all that came before within 1, and 2 along each axis."""
_MOST_SEEN, _LEAST, _LOWEST_RANGE = 255, 32, 1 << 24
_RATES = [131072 // (2 * seen + 3) for seen in range(_MOST_SEEN + 1)]

Levels = NDArray[np.bool_]  # [levels, x, y, z]


def encode_voxels(occupancy: Levels, cells: Levels) -> bytes:
    """The voxels as bytes.

    Args:
        occupancy: of cells that have a network; others have none.
        cells: which cells have one.
    """
    if _codec is None:
        return encode_voxels_in_python(occupancy, cells)
    return _codec.encode_voxels(list(occupancy.astype(np.uint8)), list(cells.astype(np.uint8)))


def decode_voxels(data: bytes, voxels: tuple[int, int, int], cells: Levels) -> Levels:
    """What :func:`encode_voxels` was given, [levels, *voxels].

    Raises:
        SceneError: ``data`` does not end where the voxels do.
    """
    if _codec is None:
        return decode_voxels_in_python(data, voxels, cells)
    occupancy = np.zeros((len(cells), *voxels), np.uint8)
    if not _codec.decode_voxels(data, list(occupancy), list(cells.astype(np.uint8))):
        _fail(data)
    return occupancy.view(np.bool_)


def encode_voxels_in_python(occupancy: Levels, cells: Levels) -> bytes:
    """The plain twin of the native encoder."""
    model, encoder = _Model(), _Encoder()
    for level, own in zip(occupancy, cells, strict=True):

        def coded(at: tuple[int, int, int], context: int, level: NDArray[np.bool_] = level) -> bool:
            occupied = bool(level[at])
            encoder.bit(model.probability[context], occupied)
            model.learn(context, occupied)
            return occupied

        _each(level.shape, own, coded)
    return encoder.finish()


def decode_voxels_in_python(data: bytes, voxels: tuple[int, int, int], cells: Levels) -> Levels:
    """The plain twin of the native decoder."""
    model, decoder = _Model(), _Decoder(data)
    occupancy = np.zeros((len(cells), *voxels), np.bool_)
    for level, own in zip(occupancy, cells, strict=True):

        def coded(at: tuple[int, int, int], context: int, level: NDArray[np.bool_] = level) -> bool:
            occupied = decoder.bit(model.probability[context])
            model.learn(context, occupied)
            level[at] = occupied
            return occupied

        _each(voxels, own, coded)
    if not decoder.at_end():
        _fail(data)
    return occupancy


def _fail(data: bytes) -> None:
    raise SceneError(f"grids: expected {len(data)} bytes of voxels that end where the occupancy grid does, got others")


def _each(
    voxels: tuple[int, ...], cells: NDArray[np.bool_], coded: Callable[[tuple[int, int, int], int], bool]
) -> None:
    """Go through a level's voxels in C order, without those of cells that have no network; these are empty."""
    around = np.zeros([size + 2 * _REACH for size in voxels], np.uint8)
    for at in _places(voxels, cells):
        x, y, z = (place + _REACH for place in at)
        context = sum(int(around[x + i, y + j, z + k]) << bit for bit, (i, j, k) in enumerate(NEIGHBOURS))
        around[x, y, z] = coded(at, context)


def _places(voxels: tuple[int, ...], cells: NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    for axis, size in enumerate(voxels):
        cells = np.repeat(cells, size // cells.shape[axis], axis=axis)
    for place in np.argwhere(cells):
        yield int(place[0]), int(place[1]), int(place[2])


class _Model:
    """How probable it is that a voxel is occupied, in 65536ths, by its context."""

    def __init__(self) -> None:
        self.probability = [32768] * (1 << len(NEIGHBOURS))
        self._seen = [0] * (1 << len(NEIGHBOURS))

    def learn(self, context: int, occupied: bool) -> None:
        now, seen = self.probability[context], self._seen[context]
        missing = (65536 if occupied else 0) - now
        self.probability[context] = min(max(now + (missing * _RATES[seen] >> 16), _LEAST), 65536 - _LEAST)
        self._seen[context] = min(seen + 1, _MOST_SEEN)


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._range: int = 0xFFFFFFFF
        self._code: int = 0
        for _ in range(4):
            self._code = self._code << 8 | self._next()

    def bit(self, probability: int) -> bool:
        bound = (self._range >> 16) * probability
        occupied = self._code < bound
        if occupied:
            self._range = bound
        else:
            self._code -= bound
            self._range -= bound
        while self._range < _LOWEST_RANGE:
            self._range <<= 8
            self._code = (self._code << 8 | self._next()) & 0xFFFFFFFF
        return occupied

    def at_end(self) -> bool:
        return self._at == len(self._data) and self._code == 0

    def _next(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0


class _Encoder:
    def __init__(self) -> None:
        self._low: int = 0
        self._range: int = 0xFFFFFFFF
        self._shifts = 0

    def bit(self, probability: int, occupied: bool) -> None:
        bound = (self._range >> 16) * probability
        if occupied:
            self._range = bound
        else:
            self._low += bound
            self._range -= bound
        while self._range < _LOWEST_RANGE:
            self._range <<= 8
            self._low <<= 8  # Python's integers have room for all of it, so nothing is ever carried
            self._shifts += 1

    def finish(self) -> bytes:
        return self._low.to_bytes(4 + self._shifts, "big")
