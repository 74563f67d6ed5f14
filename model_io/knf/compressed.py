"""Version 3 of the ``.knf`` file: a scene whose grids and networks are coded, in chunks that can be read one by one."""

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.json_values import is_array, is_object
from ..scene.checks import fail
from .packing import pack, unpack
from .quantized import QuantizedNetworks, decode_networks, encode_networks, to_layers

VERSION = 3
Tensors = Mapping[str, NDArray[Any]]
Grids = tuple[NDArray[np.bool_], NDArray[np.int32]]  # [levels, ox, oy, oz], [levels, rx, ry, rz]

MAX_CHUNKS = 255
_LEAST_PER_NETWORK = 16  # bytes of the file: what its networks take in memory is bounded by its size
_MOST_VOXELS_PER_BYTE, _VOXELS_OF_ANY_FILE = 1024, 2**25


def encode_grids(
    occupancy: NDArray[np.bool_],  # [levels, ox, oy, oz]
    chunk_of_cell: NDArray[np.integer],  # [levels, rx, ry, rz]
) -> bytes:
    """Both grids as bytes.

    Args:
        occupancy: of cells that have a network; others have none.
        chunk_of_cell: the chunk of the cell's network, from 1 on; 0: none.
    """
    bits = np.packbits(_by_cell(occupancy, chunk_of_cell.shape[1:])[chunk_of_cell.reshape(-1) > 0], axis=1)
    return pack(chunk_of_cell.astype(np.uint8), bits)


def decode_grids(
    data: bytes, levels: int, networks: tuple[int, int, int], voxels: tuple[int, int, int], chunks: int
) -> tuple[NDArray[np.bool_], NDArray[np.int32], list[int]]:
    """Occupancy [levels, ox, oy, oz], network index [levels, rx, ry, rz], and how many networks each chunk has.

    Raises:
        SceneError: this is not what :func:`encode_grids` made.
    """
    cells = levels * math.prod(networks)
    size = -(-math.prod(voxels) // math.prod(networks) // 8)
    unpacked = np.frombuffer(unpack(data, cells * (1 + size), "grids"), np.uint8)
    if len(unpacked) < cells:
        fail("grids", f"at least {cells} bytes", len(unpacked))
    chunk_of_cell = unpacked[:cells]
    kept = chunk_of_cell > 0
    if len(unpacked) != cells + int(kept.sum()) * size:
        fail("grids", f"{cells + int(kept.sum()) * size} bytes", len(unpacked))
    counts = np.bincount(chunk_of_cell, minlength=chunks + 1)[1:].tolist()
    if len(counts) > chunks:
        fail("grids", f"cells in chunks 1 to {chunks}", f"one in {len(counts)}")
    index = np.full(cells, -1, np.int32)
    # Networks are numbered chunk after chunk, and within a chunk as their cells are.
    index[np.argsort(chunk_of_cell, kind="stable")[cells - int(kept.sum()) :]] = np.arange(int(kept.sum()))
    factor = tuple(v // n for v, n in zip(voxels, networks, strict=True))
    blocks = np.zeros((cells, math.prod(factor)), np.bool_)
    blocks[kept] = np.unpackbits(unpacked[cells:].reshape(-1, size), axis=1, count=math.prod(factor)).view(np.bool_)
    occupancy = blocks.reshape(levels, *networks, *factor).transpose(0, 1, 4, 2, 5, 3, 6).reshape(levels, *voxels)
    return np.ascontiguousarray(occupancy), index.reshape(levels, *networks), counts


def _by_cell(occupancy: NDArray[np.bool_], networks: tuple[int, ...]) -> NDArray[np.bool_]:
    """[cells of all levels, voxels of a cell]."""
    levels, (rx, ry, rz) = len(occupancy), networks
    fx, fy, fz = (v // n for v, n in zip(occupancy.shape[1:], networks, strict=True))
    blocks = occupancy.reshape(levels, rx, fx, ry, fy, rz, fz).transpose(0, 1, 3, 5, 2, 4, 6)
    return blocks.reshape(levels * rx * ry * rz, fx * fy * fz)


def encoded(
    document: Mapping[str, Any],
    occupancy: NDArray[np.bool_],  # [levels, ox, oy, oz]
    network_index: NDArray[np.int32],  # [levels, rx, ry, rz]
    networks: QuantizedNetworks,
    chunk_of: NDArray[np.integer],  # [N]
    others: Tensors,
) -> bytes:
    """A whole file.

    Args:
        document: of version 1 or 2; what version 3 says more is added.
        occupancy: of all levels.
        network_index: of all levels.
        networks: N.
        chunk_of: the chunk of each network, from 0 on: what is read first should be in the first ones.
        others: tensors that are stored as they are.
    """
    flat = network_index.reshape(-1)
    order = np.argsort(np.where(flat >= 0, 0, 1), kind="stable")[: int((flat >= 0).sum())]
    in_cell_order = flat[order]
    chunk_of_cell = np.zeros(network_index.size, np.int64)
    chunk_of_cell[order] = chunk_of[in_cell_order] + 1
    networks = QuantizedNetworks(
        networks.symbols[in_cell_order], networks.step_codes[in_cell_order], networks.mean, networks.mean_step_codes
    )
    shared, chunks = encode_networks(networks, chunk_of[in_cell_order])
    grids = encode_grids(occupancy, chunk_of_cell.reshape(network_index.shape))
    parts = {"grids": grids, "model": shared, **{f"networks.{i}": chunk for i, chunk in enumerate(chunks)}}
    said = {
        **document,
        "version": VERSION,
        "levels": len(occupancy),
        "chunks": [{"tensor": name, "crc32": zlib.crc32(data)} for name, data in parts.items()],
    }
    text = json.dumps(said, allow_nan=False, separators=(",", ":"))
    tensors = {name: np.frombuffer(data, np.uint8) for name, data in parts.items()} | dict(others)
    return _file({"knf": text}, tensors)


_NAMES = {np.dtype(np.uint8): "U8", np.dtype("<f4"): "F32"}


def _file(metadata: dict[str, str], tensors: Tensors) -> bytes:
    """A safetensors file whose tensors lie in their order: safetensors' own writer sorts them."""
    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in tensors.values())


def decoded(
    document: Mapping[str, Any],
    tensors: Tensors,
    levels: int,
    networks: tuple[int, int, int],
    voxels: tuple[int, int, int],
) -> tuple[NDArray[np.bool_], NDArray[np.int32], dict[str, NDArray[np.float32]]]:
    """Occupancy, network index and layers of a file.

    Raises:
        SceneError: field, expected, got.
    """
    parts = _checked_parts(document, tensors)
    size = sum(map(len, parts))
    if levels * math.prod(voxels) > max(_VOXELS_OF_ANY_FILE, _MOST_VOXELS_PER_BYTE * size):
        fail("occupancy_resolution", f"at most {_MOST_VOXELS_PER_BYTE} voxels a byte of the file", list(voxels))
    if levels * math.prod(networks) > max(_VOXELS_OF_ANY_FILE // 64, _MOST_VOXELS_PER_BYTE * size):
        fail("network_resolution", f"at most {_MOST_VOXELS_PER_BYTE} cells a byte of the file", list(networks))
    grids, shared, *chunks = parts
    occupancy, index, counts = decode_grids(grids, levels, networks, voxels, len(chunks))
    if sum(counts) * _LEAST_PER_NETWORK > size:
        fail("networks", f"at least {_LEAST_PER_NETWORK} bytes of the file for each of {sum(counts)}", f"{size} in all")
    return occupancy, index, to_layers(decode_networks(shared, chunks, counts).values())


def _checked_parts(document: Mapping[str, Any], tensors: Tensors) -> list[bytes]:
    """Grids, model and chunks of networks, which are as they were written."""
    entries = document.get("chunks")
    if not is_array(entries) or not 2 <= len(entries) <= MAX_CHUNKS + 2:
        fail("chunks", f"2 to {MAX_CHUNKS + 2} entries", f"{entries!r:.80}")
    parts: list[bytes] = []
    for number, entry in enumerate(entries):
        name = ("grids", "model")[number] if number < 2 else f"networks.{number - 2}"
        if not is_object(entry) or entry.get("tensor") != name:
            fail(f"chunks[{number}]", f"the tensor {name}", f"{entry!r:.80}")
        array = tensors.get(name)
        if array is None:
            fail(name, "this tensor in the file", "nothing")
        if array.dtype != np.dtype(np.uint8) or array.ndim != 1:
            fail(name, "uint8 of one dimension", f"{array.dtype} {list(array.shape)}")
        data = array.tobytes()
        if entry.get("crc32") != zlib.crc32(data):
            fail(name, f"checksum {entry.get('crc32')!r:.80}", f"{zlib.crc32(data)}: the file is damaged")
        parts.append(data)
    return parts
