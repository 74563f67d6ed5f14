"""Versions 3 and 4 of the ``.knf`` file: grids and networks are coded, in chunks that can be read one by one."""

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.json_values import is_array, is_object
from ..scene.checks import fail
from .coarse import SIDES, CoarseCells
from .packing import pack, unpack
from .quantized import NUM_WEIGHTS, QuantizedNetworks, decode_networks, encode_networks, to_layers
from .safetensors_reader import is_size
from .voxel_coder import decode_voxels, encode_voxels

VERSION = 4
PACKED_VERSION = 3
"""Files whose voxels are packed, not coded; they have no coarse networks. They are read, not written."""
VERSIONS = (PACKED_VERSION, VERSION)
COARSE = "coarse"
Tensors = Mapping[str, NDArray[Any]]
Content = tuple[NDArray[np.bool_], NDArray[np.int32], dict[str, NDArray[np.float32]]]
"""Occupancy and network index of all levels, and the layers."""
Grids = tuple[NDArray[np.bool_], NDArray[np.int32], list[int]]
"""Occupancy [levels, ox, oy, oz], network index [levels, rx, ry, rz], and how many networks each chunk has."""

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
    cells = pack(chunk_of_cell.astype(np.uint8))
    return len(cells).to_bytes(4, "little") + cells + encode_voxels(occupancy, chunk_of_cell > 0)


def decode_grids(
    data: bytes, levels: int, networks: tuple[int, int, int], voxels: tuple[int, int, int], chunks: int
) -> tuple[NDArray[np.bool_], NDArray[np.int32], list[int]]:
    """Occupancy [levels, ox, oy, oz], network index [levels, rx, ry, rz], and how many networks each chunk has.

    Raises:
        SceneError: this is not what :func:`encode_grids` made.
    """
    cells, size = levels * math.prod(networks), int.from_bytes(data[:4], "little")
    if size > len(data) - 4:
        fail("grids", f"{size} bytes of cells", len(data) - 4)
    unpacked = np.frombuffer(unpack(data[4 : 4 + size], cells, "grids"), np.uint8)
    if len(unpacked) != cells:
        fail("grids", f"{cells} cells", len(unpacked))
    index, counts = _numbered(unpacked, chunks)
    kept = unpacked.reshape(levels, *networks) > 0
    return decode_voxels(data[4 + size :], voxels, kept), index.reshape(kept.shape), counts


def decode_packed_grids(
    data: bytes, levels: int, networks: tuple[int, int, int], voxels: tuple[int, int, int], chunks: int
) -> tuple[NDArray[np.bool_], NDArray[np.int32], list[int]]:
    """As :func:`decode_grids`, of version 3.

    Raises:
        SceneError: they are others.
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
    index, counts = _numbered(chunk_of_cell, chunks)
    factor = tuple(v // n for v, n in zip(voxels, networks, strict=True))
    blocks = np.zeros((cells, math.prod(factor)), np.bool_)
    blocks[kept] = np.unpackbits(unpacked[cells:].reshape(-1, size), axis=1, count=math.prod(factor)).view(np.bool_)
    occupancy = blocks.reshape(levels, *networks, *factor).transpose(0, 1, 4, 2, 5, 3, 6).reshape(levels, *voxels)
    return np.ascontiguousarray(occupancy), index.reshape(levels, *networks), counts


def _numbered(chunk_of_cell: NDArray[np.uint8], chunks: int) -> tuple[NDArray[np.int32], list[int]]:
    """The network of each cell, or -1, and how many networks each chunk has."""
    counts: list[int] = np.bincount(chunk_of_cell, minlength=chunks + 1)[1:].tolist()
    if len(counts) > chunks:
        fail("grids", f"cells in chunks 1 to {chunks}", f"one in {len(counts)}")
    index = np.full(len(chunk_of_cell), -1, np.int32)
    # Networks are numbered chunk after chunk, and within a chunk as their cells are.
    networks = sum(counts)
    index[np.argsort(chunk_of_cell, kind="stable")[len(index) - networks :]] = np.arange(networks)
    return index, counts


@dataclass(frozen=True)
class CoarseNetworks:
    """Networks of larger cells: those that :meth:`CoarseCells.of` says for ``side``, in its order.

    Attributes:
        side: cells of a coarse one along each axis.
    """

    side: int
    networks: QuantizedNetworks


def encode_coarse(networks: QuantizedNetworks) -> bytes:
    """Coarse networks as bytes, with a model of their own."""
    model, chunks = encode_networks(networks, np.zeros(len(networks), np.int64))
    return len(model).to_bytes(4, "little") + model + b"".join(chunks)


def decode_coarse(data: bytes, count: int) -> NDArray[np.float32]:
    """The numbers of ``count`` coarse networks, [count, 5156].

    Raises:
        SceneError: this is not what :func:`encode_coarse` made.
    """
    size = int.from_bytes(data[:4], "little")
    if size > len(data) - 4:
        fail(COARSE, f"{size} bytes of a model", len(data) - 4)
    return decode_networks(data[4 : 4 + size], {COARSE: data[4 + size :]}, [count], COARSE).values()


def encoded(
    document: Mapping[str, Any],
    occupancy: NDArray[np.bool_],  # [levels, ox, oy, oz]
    network_index: NDArray[np.int32],  # [levels, rx, ry, rz]
    networks: QuantizedNetworks,
    chunk_of: NDArray[np.integer],  # [N]
    others: Tensors,
    coarse: CoarseNetworks | None = None,
) -> bytes:
    """A whole file.

    Args:
        document: of version 1 or 2; what version 3 says more is added.
        occupancy: of all levels.
        network_index: of all levels.
        networks: N.
        chunk_of: the chunk of each network, from 0 on: what is read first should be in the first ones.
        others: tensors that are stored as they are.
        coarse: a level of detail for the networks that are not there yet.
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
    parts = {"grids": grids, **({COARSE: encode_coarse(coarse.networks)} if coarse else {}), "model": shared}
    parts |= {f"networks.{i}": chunk for i, chunk in enumerate(chunks)}
    said = {
        **document,
        "version": VERSION,
        "levels": len(occupancy),
        **({"coarse_side": coarse.side} if coarse else {}),
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

    Attributes:
        coarse: whether cells without their networks had coarse ones in what was decoded last.

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
        self.coarse = False
        self._packed = document["version"] == PACKED_VERSION
        self._side = _coarse_side(document) if COARSE in self._checksums else 0
        self._num_chunks = len(self._checksums) - (3 if self._side else 2)
        self._levels, self._networks, self._voxels = levels, networks, voxels
        self._grids: Grids | None = None
        self._coarse: tuple[CoarseCells, NDArray[np.float32]] | None = None
        self._decoded: dict[int, NDArray[np.float32]] = {}  # numbers of the networks, by chunk

    @property
    def num_networks(self) -> tuple[int, int]:
        """How many networks have been decoded, and how many the whole file has."""
        return sum(self._counts[chunk] for chunk in self._decoded), sum(self._counts)

    def decode(self, tensors: Tensors) -> Content:
        """Occupancy, network index and layers of a whole file.

        Raises:
            SceneError: field, expected, got.
        """
        self._decode(list(self._checksums), tensors)
        return self._content()

    def decode_part(self, tensors: Tensors) -> Content | None:
        """As :meth:`decode`, of what there is.

        Cells whose network is not among ``tensors`` have one that is made of the coarse networks; they are empty where
        the file has none.

        Returns:
            None: there is not enough yet.
        """
        names = [name for name in self._checksums if name in tensors]
        size = sum(tensors[name].nbytes for name in names)
        whole = len(names) == len(self._checksums)
        if not whole and ("grids" not in names or not (COARSE in names or self._has_networks(names))):
            return None
        if not whole and self._too_large(size):
            return None  # for these few bytes; more are to come
        self._decode(names, tensors)
        there, total = self.num_networks
        # What is made of coarse networks is bounded by the bytes that are there, as networks are.
        self.coarse = there < total and self._coarse is not None and total * _LEAST_PER_NETWORK <= size
        return None if total and not there and not self.coarse else self._content()

    def _has_networks(self, names: list[str]) -> bool:
        return "model" in names and (self._num_chunks == 0 or any(name.startswith("networks.") for name in names))

    @property
    def _counts(self) -> list[int]:
        return self._grids[2] if self._grids else []

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
            read = decode_packed_grids if self._packed else decode_grids
            self._grids = read(parts["grids"], self._levels, self._networks, self._voxels, self._num_chunks)
        counts = dict(enumerate(self._counts))
        new = [int(name.removeprefix("networks.")) for name in parts if name.startswith("networks.")]
        new = new if "model" in parts else []
        total = sum(counts[chunk] for chunk in [*self._decoded, *new])
        if total * _LEAST_PER_NETWORK > size:
            fail("networks", f"at least {_LEAST_PER_NETWORK} bytes of the file for each of {total}", f"{size} in all")
        if COARSE in parts and self._coarse is None and len(names) < len(self._checksums):
            cells = CoarseCells.of(self._grids[1], self._side)
            self._coarse = cells, decode_coarse(parts[COARSE], len(cells))
        if not new and self._num_chunks:
            return
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
        numbers = np.concatenate([none, *(self._decoded[chunk] for chunk in chunks)])
        if len(chunks) < len(counts):
            there = np.repeat(np.isin(np.arange(len(counts)), chunks), counts)
            if self.coarse and self._coarse is not None:
                cells, values = self._coarse
                whole = np.empty((len(there), NUM_WEIGHTS), np.float32)
                whole[there], whole[~there] = numbers, cells.derived(values, np.flatnonzero(~there))
                return occupancy, index, to_layers(whole)
            number = np.append(np.where(there, np.cumsum(there) - 1, -1), -1).astype(np.int32)
            index = number[index]  # of -1: the last
            occupancy = occupancy & _of_voxels(index >= 0, occupancy.shape)
        return occupancy, index, to_layers(numbers)

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
    """What a document says is the checksum of each chunk: the grids, coarse networks, the model, chunks of networks.

    Raises:
        SceneError: it does not.
    """
    entries = document.get("chunks")
    if not is_array(entries) or not 2 <= len(entries) <= MAX_CHUNKS + 3:
        fail("chunks", f"2 to {MAX_CHUNKS + 3} entries", f"{entries!r:.80}")
    has_coarse = document["version"] == VERSION and "coarse_side" in document
    names = ["grids", *([COARSE] if has_coarse else []), "model"]
    names += [f"networks.{number}" for number in range(min(len(entries) - len(names), MAX_CHUNKS))]
    if len(names) != len(entries):
        fail("chunks", f"{len(names)} entries, or no more than {MAX_CHUNKS} of networks", len(entries))
    found: dict[str, object] = {}
    for number, (name, entry) in enumerate(zip(names, entries, strict=True)):
        if not is_object(entry) or entry.get("tensor") != name:
            fail(f"chunks[{number}]", f"the tensor {name}", f"{entry!r:.80}")
        found[name] = entry.get("crc32")
    return found


def _coarse_side(document: Mapping[str, Any]) -> int:
    side: object = document.get("coarse_side")
    if not is_size(side) or side not in SIDES:
        fail("coarse_side", f"one of {', '.join(map(str, SIDES))}", f"{side!r:.80}")
    return SIDES[SIDES.index(side)]
