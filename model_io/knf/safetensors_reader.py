"""Reading a safetensors file without believing it: every number of the header is checked before it is used.

The tensors are views of the mapped file; nothing is copied unless that is asked for (https://github.com/huggingface/safetensors#format).
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
class TensorFile:
    """What a safetensors file holds.

    Attributes:
        metadata: the strings of ``__metadata__``.
        tensors: name to read-only array, a view of the file (a copy, where the file has it at an address
            that does not suit its dtype). Tensors of a dtype that NumPy does not have are left out.
    """

    metadata: Mapping[str, str]
    tensors: Mapping[str, NDArray[Any]]


def read_tensor_file(path: str | os.PathLike[str], *, mapped: bool = True) -> TensorFile:
    """Read a safetensors file.

    Args:
        path: the file.
        mapped: map it; else it is read into memory.

    Raises:
        SceneError: the file is missing, is no file, or its header says something that cannot be true. The text
            does not name the file: :func:`~kilonerf.model_io.load_scene` does.
    """
    buffer = _open(Path(path), mapped)
    header, data = _header(buffer)
    metadata = _metadata(header.pop("__metadata__", {}))
    spans: list[tuple[int, int, str]] = []
    tensors: dict[str, NDArray[Any]] = {}
    for name, entry in header.items():
        begin, end = _span(name, entry, len(data))
        spans.append((begin, end, name))
        dtype = DTYPES.get(entry["dtype"])
        if dtype is not None:
            tensors[name] = _tensor(name, entry["shape"], dtype, data[begin:end])
    _check_contiguous(spans, len(data))
    return TensorFile(metadata, tensors)


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


def _header(buffer: memoryview) -> tuple[dict[str, Any], memoryview]:
    length = int.from_bytes(buffer[:8], "little")
    start = bytes(buffer[8:9])
    if start != b"{":
        raise SceneError(f"not a scene file: expected a header that begins with '{{' at byte 8, got {start!r}")
    if length > min(MAX_HEADER, len(buffer) - 8):
        limit = min(MAX_HEADER, len(buffer) - 8)
        raise SceneError(f"cut short, or not a scene file: expected a header of at most {limit} bytes, got {length}")
    text = bytes(buffer[8 : 8 + length])
    header = parse_json(text, "header")
    if not is_object(header):
        raise SceneError(f"header: expected a JSON object, got {type(header).__name__}")
    return header, buffer[8 + length :]


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


def _span(name: str, entry: object, available: int) -> tuple[int, int]:
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
    return begin, end


def _tensor(name: str, shape: list[int], dtype: np.dtype[Any], data: memoryview) -> NDArray[Any]:
    size = math.prod(shape) * dtype.itemsize
    if size != len(data):
        raise SceneError(f"tensor {name[:80]!r}: expected {size} bytes for {dtype} with shape {shape}, got {len(data)}")
    try:
        array = np.frombuffer(data, dtype=dtype).reshape(shape) if size else np.empty(shape, dtype=dtype)
    except ValueError as error:  # no bytes, but a shape that no memory could address
        raise SceneError(f"tensor {name[:80]!r}: expected a shape that fits in memory, got {shape}") from error
    return array if array.flags.aligned else array.copy()  # another writer may have put it at an odd byte


def _check_contiguous(spans: list[tuple[int, int, str]], available: int) -> None:
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            raise SceneError(f"tensor {name[:80]!r}: expected to begin at byte {position} of the data, got {begin}")
        position = end
    if position != available:
        raise SceneError(f"data: expected {position} bytes, got {available}")
