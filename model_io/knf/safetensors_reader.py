"""Reading a safetensors file without believing it: every number of the header is checked before it is used.

The tensors are views of the mapped file; nothing is copied unless that is asked for (https://github.com/huggingface/safetensors#format).
The header is an index of the rest: what of a file is there, of a download say, can be read before the rest is.
"""

import json
import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SceneError
from ..files.downloads import broken_download
from ..files.json_values import is_array, is_object

MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors library
DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
"""The dtypes that NumPy has; a tensor of another one is passed over."""


@dataclass(frozen=True)
class TensorSpan:
    """Where a tensor lies in a file, and what it is.

    Attributes:
        name: of the tensor.
        dtype: None: one that NumPy does not have.
        shape: of the array.
        begin: its first byte, counted from the file's beginning.
        end: behind its last byte.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    begin: int
    end: int

    def array(self, data: memoryview | bytes) -> NDArray[Any]:
        """The tensor as a read-only view of its bytes (a copy, if they are at an address that does not suit its dtype).

        Raises:
            SceneError: the shape is one that no memory could address.
        """
        assert self.dtype is not None  # noqa: S101 - callers pass such tensors over
        try:
            array = (
                np.frombuffer(data, self.dtype).reshape(self.shape) if len(data) else np.empty(self.shape, self.dtype)
            )
        except ValueError as error:  # no bytes, but a shape that no memory could address
            shape = list(self.shape)
            raise SceneError(f"tensor {self.name[:80]!r}: expected a shape that fits in memory, got {shape}") from error
        return array if array.flags.aligned else array.copy()  # another writer may have put it at an odd byte


@dataclass(frozen=True)
class TensorIndex:
    """What a safetensors file's header says.

    Attributes:
        metadata: the strings of ``__metadata__``.
        spans: every tensor, in the order in which they lie in the file.
        begin: where the tensors begin: behind the header.
        end: how many bytes the whole file has.
    """

    metadata: Mapping[str, str]
    spans: tuple[TensorSpan, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class TensorFile:
    """What a safetensors file holds.

    Attributes:
        metadata: the strings of ``__metadata__``.
        tensors: name to read-only array, a view of the file (a copy, where the file has it at an address
            that does not suit its dtype). Tensors of a dtype that NumPy does not have are left out.
        index: where they lie.
    """

    metadata: Mapping[str, str]
    tensors: Mapping[str, NDArray[Any]]
    index: TensorIndex


def read_tensor_file(path: str | os.PathLike[str], *, mapped: bool = True, partial: bool = False) -> TensorFile:
    """Read a safetensors file.

    Args:
        path: the file.
        mapped: map it; else it is read into memory.
        partial: it may be cut short anywhere behind its header; it has the tensors then that are whole.

    Raises:
        SceneError: the file is missing, is no file, or its header says something that cannot be true. The text
            does not name the file: :func:`~kilonerf.model_io.load_scene` does.
    """
    buffer = _open(Path(path), mapped)
    index = read_index(buffer, len(buffer), partial=partial)
    tensors = {
        span.name: span.array(buffer[span.begin : span.end])
        for span in index.spans
        if span.dtype is not None and span.end <= len(buffer)
    }
    return TensorFile(index.metadata, tensors, index)


def header_end(head: memoryview | bytes, size: int) -> int:
    """Where the header of a file of ``size`` bytes ends; ``head`` are at least its first 9 bytes.

    Raises:
        SceneError: it is no safetensors file.
    """
    length = int.from_bytes(head[:8], "little")
    start = bytes(head[8:9])
    if start != b"{":
        raise SceneError(f"not a scene file: expected a header that begins with '{{' at byte 8, got {start!r}")
    if length > min(MAX_HEADER, size - 8):
        limit = min(MAX_HEADER, size - 8)
        raise SceneError(f"cut short, or not a scene file: expected a header of at most {limit} bytes, got {length}")
    return 8 + length


def read_index(head: memoryview | bytes, size: int, *, partial: bool = False) -> TensorIndex:
    """The header of a file.

    Args:
        head: at least the first bytes of the file, up to the end of its header.
        size: bytes of the file.
        partial: these may be fewer than the header says.

    Raises:
        SceneError: it says something that cannot be true.
    """
    begin = header_end(head, size)
    header = parse_json(bytes(head[8:begin]), "header")
    if not is_object(header):
        raise SceneError(f"header: expected a JSON object, got {type(header).__name__}")
    metadata = _metadata(header.pop("__metadata__", {}))
    available = size - begin
    spans = sorted(
        (_span(name, entry, begin, 2**63 if partial else available) for name, entry in header.items()),
        key=lambda span: (span.begin, span.end, span.name),
    )
    return TensorIndex(metadata, tuple(spans), begin, _end_of(spans, begin, size, partial=partial))


def _open(path: Path, mapped: bool) -> memoryview:
    if path.is_dir():
        raise SceneError("expected a file, got a folder")
    broken = broken_download(path)
    if broken is not None:
        raise SceneError(f"not a scene file: expected at least 8 bytes of one, got {broken}")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 8:
                raise SceneError(f"not a scene file: expected at least 8 bytes, got {size}")
            if not mapped:
                return memoryview(file.read(size))
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise SceneError(f"cannot read: {error.strerror or error}") from error


def parse_json(text: bytes | str, field: str) -> Any:
    """Parse JSON strictly: UTF-8, no key twice in one object, no NaN or infinity.

    Raises:
        SceneError: ``field`` is not such JSON.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise SceneError(f"{field}: expected every key once, got {key[:80]!r} twice")
            found[key] = value
        return found

    def refuse(constant: str) -> None:
        raise SceneError(f"{field}: expected finite numbers, got {constant}")

    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise SceneError(f"{field}: expected JSON, got {str(error)[:120]}") from error


def _metadata(entry: object) -> dict[str, str]:
    if not is_object(entry) or not all(isinstance(value, str) for value in entry.values()):
        raise SceneError("__metadata__: expected an object of strings")
    return entry


def is_size(value: object) -> bool:
    """Whether ``value`` is a whole number >= 0 that fits in 63 bits (a bool is none)."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _span(name: str, entry: object, data_begin: int, available: int) -> TensorSpan:
    if not is_object(entry) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise SceneError(f"tensor {name[:80]!r}: expected dtype, shape and data_offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(entry["dtype"], str):
        raise SceneError(f"tensor {name[:80]!r}: expected a dtype name, got {entry['dtype']!r:.80}")
    if not is_array(shape) or len(shape) > 32 or not all(map(is_size, shape)):
        raise SceneError(f"tensor {name[:80]!r}: expected a shape of at most 32 sizes, got {shape!r:.80}")
    if not is_array(offsets) or len(offsets) != 2 or not all(map(is_size, offsets)):
        raise SceneError(f"tensor {name[:80]!r}: expected two data_offsets, got {offsets!r:.80}")
    begin, end = offsets
    if not begin <= end <= available:
        raise SceneError(
            f"tensor {name[:80]!r}: expected data_offsets within the {available} bytes of data, "
            f"got {begin}..{end} (file cut short?)"
        )
    dtype = DTYPES.get(entry["dtype"])
    size = end - begin if dtype is None else math.prod(shape) * dtype.itemsize
    if size != end - begin:
        raise SceneError(
            f"tensor {name[:80]!r}: expected {size} bytes for {dtype} with shape {shape}, got {end - begin}"
        )
    return TensorSpan(name, dtype, tuple(shape), data_begin + begin, data_begin + end)


def _end_of(spans: list[TensorSpan], begin: int, size: int, *, partial: bool) -> int:
    """Where the last tensor ends; nothing is between two tensors, or behind them."""
    position = begin
    for span in spans:
        if span.begin != position:
            raise SceneError(
                f"tensor {span.name[:80]!r}: expected to begin at byte {position - begin} of the data, "
                f"got {span.begin - begin}"
            )
        position = span.end
    if position < size if partial else position != size:
        raise SceneError(f"data: expected {position - begin} bytes, got {size - begin}")
    return position
