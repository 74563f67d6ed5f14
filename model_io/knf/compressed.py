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
from .quantized import NUM_WEIGHTS, QuantizedNetworks, decode_networks, encode_networks, to_layers

VERSION = 3
Tensors = Mapping[str, NDArray[Any]]
Content = tuple[NDArray[np.bool_], NDArray[np.int32], dict[str, NDArray[np.float32]]]
"""Occupancy and network index of all levels, and the layers."""
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
    counts: list[int] = np.bincount(chunk_of_cell, minlength=chunks + 1)[1:].tolist()
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


class CompressedReader:
    """Decodes a file's networks, all at once or as their chunks come: each chunk once.

    Args:
        document: of the file.
        levels: of the scene.
        networks: cells of each level along each axis.
        voxels: of each level's occupancy grid along each axis.

    Raises:
        SceneError: field, expected, got.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        levels: int,
        networks: tuple[int, int, int],
        voxels: tuple[int, int, int],
    ) -> None:
        self._checksums = chunk_checksums(document)
        self._levels, self._networks, self._voxels = levels, networks, voxels
        self._grids: tuple[NDArray[np.bool_], NDArray[np.int32], list[int]] | None = None
        self._decoded: dict[int, NDArray[np.float32]] = {}  # numbers of the networks, by chunk

    @property
    def num_networks(self) -> tuple[int, int]:
        """How many networks have been decoded, and how many the whole file has."""
        counts = self._grids[2] if self._grids else []
        return sum(counts[chunk] for chunk in self._decoded), sum(counts)

    def decode(self, tensors: Tensors) -> Content:
        """Occupancy, network index and layers of a whole file.

        Raises:
            SceneError: field, expected, got.
        """
        self._decode(list(self._checksums), tensors)
        return self._content()

    def decode_part(self, tensors: Tensors) -> Content | None:
        """As :meth:`decode`, of what there is: cells whose network is not among ``tensors`` are empty.

        Returns:
            None: there is no network yet.
        """
        names = [name for name in self._checksums if name in tensors]
        if names[:2] != list(self._checksums)[:2] or len(names) < min(3, len(self._checksums)):
            return None
        if len(names) < len(self._checksums) and self._too_large(sum(tensors[name].nbytes for name in names)):
            return None  # for these few bytes; more are to come
        self._decode(names, tensors)
        return self._content()

    def _decode(self, names: list[str], tensors: Tensors) -> None:
        """Read what is new among these parts."""
        known = {f"networks.{chunk}" for chunk in self._decoded}
        parts = {name: self._checked(name, tensors) for name in names if name not in known}
        size = sum(tensors[name].nbytes for name in names)
        excess = self._too_large(size)
        if excess is not None:
            field, unit, got = excess
            fail(field, f"at most {_MOST_VOXELS_PER_BYTE} {unit} a byte of the file", list(got))
        if self._grids is None:
            chunks = len(self._checksums) - 2
            self._grids = decode_grids(parts["grids"], self._levels, self._networks, self._voxels, chunks)
        counts = self._grids[2]
        new = [int(name.removeprefix("networks.")) for name in parts if name not in ("grids", "model")]
        total = sum(counts[chunk] for chunk in [*self._decoded, *new])
        if total * _LEAST_PER_NETWORK > size:
            fail("networks", f"at least {_LEAST_PER_NETWORK} bytes of the file for each of {total}", f"{size} in all")
        fields = [f"networks.{chunk}" for chunk in new]
        own = decode_networks(parts["model"], {name: parts[name] for name in fields}, [counts[chunk] for chunk in new])
        ends = np.cumsum([0, *(counts[chunk] for chunk in new)]).tolist()
        values = own.values()
        self._decoded |= {chunk: values[ends[i] : ends[i + 1]] for i, chunk in enumerate(new)}

    def _too_large(self, size: int) -> tuple[str, str, tuple[int, int, int]] | None:
        """Which grid takes more memory than a file of ``size`` bytes may: field, unit, resolution."""
        for field, unit, grid, any_file in (
            ("occupancy_resolution", "voxels", self._voxels, _VOXELS_OF_ANY_FILE),
            ("network_resolution", "cells", self._networks, _VOXELS_OF_ANY_FILE // 64),
        ):
            if self._levels * math.prod(grid) > max(any_file, _MOST_VOXELS_PER_BYTE * size):
                return field, unit, grid
        return None

    def _content(self) -> Content:
        assert self._grids is not None  # noqa: S101 - callers have read it
        occupancy, index, counts = self._grids
        chunks = sorted(self._decoded)
        none = np.zeros((0, NUM_WEIGHTS), np.float32)
        layers = to_layers(np.concatenate([none, *(self._decoded[chunk] for chunk in chunks)]))
        if len(chunks) < len(counts):
            there = np.repeat(np.isin(np.arange(len(counts)), chunks), counts)
            number = np.append(np.where(there, np.cumsum(there) - 1, -1), -1).astype(np.int32)
            index = number[index]  # of -1: the last
            occupancy = occupancy & _of_voxels(index >= 0, occupancy.shape)
        return occupancy, index, layers

    def _checked(self, name: str, tensors: Tensors) -> bytes:
        """A part of the file, which is as it was written."""
        array = tensors.get(name)
        if array is None:
            fail(name, "this tensor in the file", "nothing")
        if array.dtype != np.dtype(np.uint8) or array.ndim != 1:
            fail(name, "uint8 of one dimension", f"{array.dtype} {list(array.shape)}")
        data = array.tobytes()
        if self._checksums[name] != zlib.crc32(data):
            fail(name, f"checksum {self._checksums[name]!r:.80}", f"{zlib.crc32(data)}: the file is damaged")
        return data


def _of_voxels(cells: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """What is said of cells, [levels, rx, ry, rz], said of their voxels."""
    for axis in (1, 2, 3):
        cells = np.repeat(cells, shape[axis] // cells.shape[axis], axis=axis)
    return cells


def chunk_checksums(document: Mapping[str, Any]) -> dict[str, object]:
    """What a document says is the checksum of each chunk: those of the grids, the model, and chunks of networks.

    Raises:
        SceneError: it does not.
    """
    entries = document.get("chunks")
    if not is_array(entries) or not 2 <= len(entries) <= MAX_CHUNKS + 2:
        fail("chunks", f"2 to {MAX_CHUNKS + 2} entries", f"{entries!r:.80}")
    found: dict[str, object] = {}
    for number, entry in enumerate(entries):
        name = ("grids", "model")[number] if number < 2 else f"networks.{number - 2}"
        if not is_object(entry) or entry.get("tensor") != name:
            fail(f"chunks[{number}]", f"the tensor {name}", f"{entry!r:.80}")
        found[name] = entry.get("crc32")
    return found
