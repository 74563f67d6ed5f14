"""The ``.knf`` file of an octree field. Its tensors lie level after level: what a file begins with is a scene too."""

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..files.json_values import is_array, is_object
from ..scene.architecture import DIRECTION_FREQUENCIES
from ..scene.checks import fail
from ..scene.octree import MAX_DEPTH, Octree
from ..scene.octree_scene import (
    CODINGS,
    DECODER_SHAPES,
    FEATURES,
    MAX_CODE_BITS,
    LevelFeatures,
    OctreeScene,
    decoder_shapes,
)
from .fields import Tensors, shared_document, shared_fields, shared_tensors
from .safetensors_reader import DTYPES, is_size

OCTREE_KIND = "octree"
OCTREE_VERSION = 1

_ARCHITECTURE = {
    "features": FEATURES,
    "frequencies": {"direction": DIRECTION_FREQUENCIES},
    "layers": {name: list(shape) for name, shape in DECODER_SHAPES.items()},
}
_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def octree_data(scene: OctreeScene) -> bytes:
    """The bytes of a file."""
    tensors = octree_tensors(scene)
    checksums = {name: zlib.crc32(np.ascontiguousarray(array).data) for name, array in tensors.items()}
    document = _document(scene) | {"checksums": checksums}
    return _in_order(tensors, {"knf": json.dumps(document, allow_nan=False, separators=(",", ":"))})


def octree_tensors(scene: OctreeScene) -> dict[str, NDArray[Any]]:
    """The tensors of a file, in their order in it."""
    tensors: dict[str, NDArray[Any]] = {f"decoder.{name}": scene.decoder[name] for name in decoder_shapes()}
    first = scene.first_level
    for level, own in enumerate(scene.features, start=first):
        inner = range(level) if level == first else (level - 1,)
        tensors[f"octree.{level}"] = np.concatenate([scene.octree.children(above) for above in inner])
        tensors[f"table.{level}"] = own.table
        if own.coefficients is not None:
            tensors[f"coefficients.{level}"] = own.coefficients
        if own.codes is not None:
            tensors[f"codes.{level}"] = pack_codes(own.codes, own.bits)
    return tensors | shared_tensors(scene)


def octree_scene(document: dict[str, Any], tensors: Tensors) -> OctreeScene:
    """The scene that a file's document and tensors are.

    Raises:
        SceneError: field, expected, got.
    """
    first, codings = _first_level(document), _codings(document.get("codings"))
    for name, checksum in octree_checksums(document).items():
        found = zlib.crc32(tensors[name].data) if name in tensors else checksum
        if found != checksum:
            fail(name, f"checksum {checksum!r:.80}", f"{found}: the file is damaged")
    octree = _octree(tensors, first, len(codings))
    features = [_features(tensors, octree, level, coding) for level, coding in enumerate(codings, start=first)]
    return OctreeScene(
        octree=octree,
        features=tuple(features),
        decoder={name: _floats(tensors, f"decoder.{name}") for name in decoder_shapes()},
        **shared_fields(document, tensors),
    )


def octree_levels(document: dict[str, Any]) -> list[list[str]]:
    """The tensors of each feature level, the coarsest first.

    Raises:
        SceneError: the document is not one of an octree field.
    """
    first = _first_level(document)
    more = {"codes": ["codes"], "low-rank": ["coefficients"]}
    codings = _codings(document.get("codings"))
    return [
        [f"{name}.{level}" for name in ("octree", "table", *more.get(coding, []))]
        for level, coding in enumerate(codings, start=first)
    ]


def octree_checksums(document: dict[str, Any]) -> dict[str, object]:
    """CRC-32 by tensor, as far as the file has any.

    Raises:
        SceneError: it is not an object.
    """
    checksums = document.get("checksums", {})
    if not is_object(checksums):
        fail("checksums", "a JSON object", type(checksums).__name__)
    return checksums


def _first_level(document: dict[str, Any]) -> int:
    """The first feature level of a document that this program can read."""
    version: object = document.get("version")
    if isinstance(version, bool) or version != OCTREE_VERSION:
        fail("version", f"{OCTREE_VERSION} (a newer file needs a newer program)", f"{version!r:.80}")
    for key, expected in _ARCHITECTURE.items():
        if document.get(key) != expected:
            fail(key, json.dumps(expected), f"{document.get(key)!r:.200}")
    codings = _codings(document.get("codings"))
    first: Any = document.get("first_level")
    if not is_size(first) or not 1 <= first <= MAX_DEPTH + 1 - len(codings):
        fail("first_level", f"1 to {MAX_DEPTH + 1 - len(codings)}", f"{first!r:.80}")
    return first


def pack_codes(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Codes as bits one after the other, those of a code from its least significant one on, uint8 [ceil(C b / 8)]."""
    each = np.unpackbits(codes[:, None], axis=1, count=bits, bitorder="little")
    return np.packbits(each.reshape(-1), bitorder="little")


def unpack_codes(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    """What :func:`pack_codes` was given, uint8 [count]; there are enough bits."""
    each = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(count, bits)
    return np.packbits(each, axis=1, bitorder="little")[:, 0]


def _document(scene: OctreeScene) -> dict[str, Any]:
    return {
        "version": OCTREE_VERSION,
        "kind": OCTREE_KIND,
        "aabb": [scene.box_min.tolist(), scene.box_max.tolist()],
        "first_level": scene.first_level,
        "codings": [own.coding for own in scene.features],
        **_ARCHITECTURE,
        **shared_document(scene),
    }


def _codings(value: object) -> Sequence[Any]:
    if not is_array(value) or not 1 <= len(value) <= MAX_DEPTH or any(coding not in CODINGS for coding in value):
        fail("codings", f"one of {', '.join(CODINGS)} for each of 1 to {MAX_DEPTH} levels", f"{value!r:.80}")
    return cast("Sequence[Any]", value)


def _octree(tensors: Tensors, first: int, levels: int) -> Octree:
    """The octree; its bytes are cut into levels by what each says of the next."""
    stored = _array(tensors, f"octree.{first}", np.uint8, 1)
    children: list[NDArray[np.uint8]] = []
    begin, voxels = 0, 1
    for _ in range(first):
        own = stored[begin : begin + voxels]
        children.append(own)
        begin, voxels = begin + len(own), int(np.unpackbits(own).sum())
    if begin != len(stored):
        fail(f"octree.{first}", f"{begin} bytes", len(stored))
    children += [_array(tensors, f"octree.{level}", np.uint8, 1) for level in range(first + 1, first + levels)]
    return Octree.of_children(children)


def _features(tensors: Tensors, octree: Octree, level: int, coding: Any) -> LevelFeatures:
    table = _floats(tensors, f"table.{level}")
    if table.ndim != 2:
        fail(f"table.{level}", "2 dimensions", f"shape {list(table.shape)}")
    codes = coefficients = None
    if coding == "low-rank":
        coefficients = _floats(tensors, f"coefficients.{level}")
    if coding == "codes":
        bits, corners = (len(table) - 1).bit_length(), octree.num_corners(level)
        if not 1 <= bits <= MAX_CODE_BITS:
            fail(f"table.{level}", f"2 to {1 << MAX_CODE_BITS} rows", len(table))
        packed = _array(tensors, f"codes.{level}", np.uint8, 1)
        size = -(-corners * bits // 8)
        if len(packed) != size:
            fail(f"codes.{level}", f"{size} bytes for {corners} codes of {bits} bits", len(packed))
        if corners * bits % 8 and packed[-1] >> (corners * bits % 8):
            fail(f"codes.{level}", "unused bits of the last byte to be 0", f"{int(packed[-1]):#04x}")
        codes = unpack_codes(packed, bits, corners)
    return LevelFeatures(coding, table, codes, coefficients)


def _array(tensors: Tensors, name: str, dtype: Any, ndim: int) -> NDArray[Any]:
    array = tensors.get(name)
    if array is None:
        fail(name, "this tensor in the file", "nothing")
    if array.dtype != np.dtype(dtype) or array.ndim != ndim:
        fail(name, f"{np.dtype(dtype)}, {ndim} dimension(s)", f"{array.dtype} {list(array.shape)}")
    return array


def _floats(tensors: Tensors, name: str) -> NDArray[Any]:
    if name not in tensors:
        fail(name, "this tensor in the file", "nothing")
    return tensors[name]


def _in_order(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file with its tensors in this order; the library's own writer sorts them."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts: list[bytes] = []
    begin = 0
    for name, array in tensors.items():
        parts.append(np.ascontiguousarray(array).tobytes())
        end = begin + len(parts[-1])
        dtype = _DTYPE_NAMES[array.dtype.newbyteorder("<")]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])
