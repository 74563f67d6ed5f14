"""Small arrays as few bytes: LZMA, whose output is only as long as was agreed on."""

import lzma
import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import SceneError

# As the format says (docs/knf.md). lc, lp, pb suit bytes without a structure of 2 or 4.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 22, "lc": 0, "lp": 0, "pb": 0}]


def pack(*arrays: NDArray[Any]) -> bytes:
    """All bytes of the arrays, one after the other, compressed."""
    data = b"".join(array.tobytes() for array in arrays)
    return lzma.compress(data, format=lzma.FORMAT_RAW, filters=_FILTERS)


def unpack(data: bytes, most: int, field: str) -> bytes:
    """What :func:`pack` was given.

    Args:
        data: compressed.
        most: bytes that come out; no more memory than for these is taken.
        field: for what a fault says.

    Raises:
        SceneError: ``data`` is damaged, or there would be more bytes.
    """
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        found = decompressor.decompress(data, max_length=most + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise SceneError(f"{field}: expected LZMA data, got {error}") from error
    if len(found) > most or not decompressor.eof or decompressor.unused_data:
        raise SceneError(
            f"{field}: expected at most {most} bytes of LZMA data that ends where the field does, got others"
        )
    return found


class Reader:
    """Takes arrays from bytes, one after the other."""

    def __init__(self, data: bytes, field: str) -> None:
        self._data, self._field, self._at = data, field, 0

    def take(self, dtype: DTypeLike, shape: int | tuple[int, ...]) -> NDArray[Any]:
        """The next array.

        Raises:
            SceneError: there are too few bytes.
        """
        count = math.prod(shape) if isinstance(shape, tuple) else shape
        size = count * np.dtype(dtype).itemsize
        if size > len(self._data) - self._at:
            raise SceneError(f"{self._field}: expected {size} more bytes, got {len(self._data) - self._at}")
        array = np.frombuffer(self._data, dtype, count, self._at)
        self._at += size
        return array.reshape(shape)

    def end(self) -> None:
        """Everything was taken.

        Raises:
            SceneError: it was not.
        """
        if self._at != len(self._data):
            raise SceneError(f"{self._field}: expected {self._at} bytes, got {len(self._data)}")
