"""The ``.knf`` file: a Scene as a valid safetensors file. The specification is docs/knf.md."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import DTypeLike, NDArray

from ..errors import SceneError
from ..files.atomic import AtomicFile
from ..files.json_values import is_object
from ..scene.architecture import DIRECTION_FREQUENCIES, LAYER_SHAPES, POSITION_FREQUENCIES, tensor_shapes
from ..scene.checks import check_levels, check_resolutions, fail
from ..scene.levels import OuterLevel
from ..scene.octree_scene import OctreeScene
from ..scene.scene import KiloNeRFScene, Scene
from .compressed import VERSION as COMPRESSED_VERSION
from .compressed import VERSIONS as COMPRESSED_VERSIONS
from .compressed import CoarseNetworks, CompressedReader, Content, encoded
from .fields import Tensors, shared_document, shared_fields, shared_tensors, sizes, tensor
from .octree import OCTREE_KIND, octree_data, octree_scene
from .quantized import QuantizedNetworks
from .safetensors_reader import is_size, parse_json, read_tensor_file

VERSION = 1  # of scenes with one level, so that older programs read them
NESTED_VERSION = 2
KIND = "kilonerf"

_ARCHITECTURE = {
    "frequencies": {"position": POSITION_FREQUENCIES, "direction": DIRECTION_FREQUENCIES},
    "layers": {name: list(shape) for name, shape in LAYER_SHAPES.items()},
}


def load_scene(path: str | os.PathLike[str], *, mapped: bool = True) -> Scene:
    """Read a ``.knf`` file.

    Args:
        path: the file.
        mapped: the networks are read-only views of the mapped file, so loading copies nothing but the unpacked
            occupancy grid. Do not write into a file that is in use then; :func:`save_scene` replaces it, which is
            safe. False: all is read into memory, and what becomes of the file does not matter.

    Raises:
        SceneError: the file is missing or breaks a rule of docs/knf.md: file, field, expected, got.
    """
    try:
        file = read_tensor_file(path, mapped=mapped)
        document = read_document(file.metadata)
        return scene_of(document, file.tensors)
    except SceneError as error:
        raise SceneError(f"{os.fspath(path)}: {error}") from error


def read_document(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The document in a file's metadata, of a kind and version that are known.

    Raises:
        SceneError: it has none, or another.
    """
    if "knf" not in metadata:
        raise SceneError("not a scene file: expected 'knf' in the metadata of this safetensors file")
    document = parse_json(metadata["knf"], "knf")
    if not is_object(document):
        fail("knf", "a JSON object", type(document).__name__)
    if not is_octree(document):
        _check_version(document)
    return document


def is_octree(document: Mapping[str, Any]) -> bool:
    """Whether it is that of an octree field; else it is one of tiny networks."""
    return document.get("kind") == OCTREE_KIND


def is_compressed(document: Mapping[str, Any]) -> bool:
    """Whether it is of version 3 or 4."""
    return not is_octree(document) and document["version"] in COMPRESSED_VERSIONS


def scene_of(document: dict[str, Any], tensors: Tensors) -> Scene:
    """The scene that a file's document and tensors are.

    Raises:
        SceneError: field, expected, got.
    """
    return octree_scene(document, tensors) if is_octree(document) else _scene(document, tensors)


def load_kilonerf_scene(path: str | os.PathLike[str], *, mapped: bool = True) -> KiloNeRFScene:
    """As :func:`load_scene`, where only a scene of tiny networks will do.

    Raises:
        SceneError: it is a scene of another kind, or as :func:`load_scene`.
    """
    scene = load_scene(path, mapped=mapped)
    if not isinstance(scene, KiloNeRFScene):
        raise SceneError(f"{os.fspath(path)}: kind: expected {KIND!r}, which has tiny networks, got {OCTREE_KIND!r}")
    return scene


def save_scene(scene: Scene, path: str | os.PathLike[str], dtype: DTypeLike | None = None) -> None:
    """Write a ``.knf`` file, whole or not at all.

    Args:
        scene: what to write.
        path: where to; an existing file is replaced.
        dtype: float16 or float32 for the networks; None: as they are. Octree fields are written as they are.

    Raises:
        SceneError: a weight is too large for float16.
        OutputError: the file cannot be written.
    """
    if isinstance(scene, OctreeScene):
        data = octree_data(scene)
        with AtomicFile(Path(path)) as temporary:
            temporary.write_bytes(data)
        return
    assert isinstance(scene, KiloNeRFScene)  # noqa: S101 - there are two kinds
    tensors: dict[str, NDArray[Any]] = {
        **_grids(scene),
        **cast_layers(scene.layers, scene.dtype if dtype is None else dtype),
        **_extras(scene),
    }
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    document = json.dumps(_document(scene), allow_nan=False, separators=(",", ":"))
    data = safetensors.numpy.save(tensors, {"knf": document})
    with AtomicFile(Path(path)) as temporary:
        temporary.write_bytes(data)


def save_compressed(
    scene: KiloNeRFScene,
    networks: QuantizedNetworks,
    chunk_of: NDArray[np.integer],
    path: str | os.PathLike[str],
    coarse: CoarseNetworks | None = None,
) -> int:
    """Write a ``.knf`` file of version 4, whole or not at all.

    Args:
        scene: whose grids, camera and so on are written, but not its layers.
        networks: of the scene's cells, instead of its layers.
        chunk_of: the chunk of each network, from 0 on, [N].
        path: where to; an existing file is replaced.
        coarse: networks of larger cells, to show while the others come.

    Returns:
        how many bytes it has.

    Raises:
        OutputError: the file cannot be written.
    """
    data = compressed_file(scene, networks, chunk_of, coarse)
    with AtomicFile(Path(path)) as temporary:
        temporary.write_bytes(data)
    return len(data)


def compressed_file(
    scene: KiloNeRFScene,
    networks: QuantizedNetworks,
    chunk_of: NDArray[np.integer],
    coarse: CoarseNetworks | None = None,
) -> bytes:
    """The bytes that :func:`save_compressed` writes."""
    occupancy = np.stack([cells.occupancy for cells in scene.levels])
    index = np.stack([cells.network_index for cells in scene.levels])
    return encoded(_document(scene), occupancy, index, networks, chunk_of, _extras(scene), coarse)


def version_of(scene: KiloNeRFScene) -> int:
    """Of the specification that a scene's file follows."""
    return NESTED_VERSION if scene.outer else VERSION


def _extras(scene: KiloNeRFScene) -> dict[str, NDArray[Any]]:
    """Tensors that a file may have."""
    sky = {} if scene.sky is None else {"sky": scene.sky}
    return {**sky, **shared_tensors(scene)}


def _grids(scene: KiloNeRFScene) -> dict[str, NDArray[Any]]:
    packed = [np.packbits(cells.occupancy.reshape(-1), bitorder="little") for cells in scene.levels]
    index = [cells.network_index for cells in scene.levels]
    if not scene.outer:
        return {"occupancy": packed[0], "network_index": index[0]}
    return {"occupancy": np.stack(packed), "network_index": np.stack(index)}


def cast_layers(layers: Tensors, dtype: DTypeLike) -> dict[str, NDArray[Any]]:
    """The arrays of ``Scene.layers`` as float16 or float32.

    Raises:
        SceneError: ``dtype`` is another one, or a number overflows it.
    """
    wanted: np.dtype[Any] = np.dtype(dtype)
    if wanted not in (np.dtype(np.float16), np.dtype(np.float32)):
        fail("dtype", "float16 or float32", wanted)
    cast: dict[str, NDArray[Any]] = {}
    for name, array in layers.items():
        with np.errstate(over="ignore"):  # said better below
            cast[name] = array.astype(wanted, copy=False)
        if wanted.itemsize < array.dtype.itemsize and np.isinf(cast[name]).any():
            largest = float(np.abs(array).max())
            fail(name, f"numbers up to {np.finfo(wanted.type).max} for {wanted}", f"{largest:.6g} (save as float32)")
    return cast


def _document(scene: KiloNeRFScene) -> dict[str, Any]:
    return {
        "version": version_of(scene),
        "kind": KIND,
        **({"levels": 1 + len(scene.outer)} if scene.outer else {}),
        "aabb": [scene.box_min.tolist(), scene.box_max.tolist()],
        "network_resolution": list(scene.resolution),
        "occupancy_resolution": list(scene.occupancy.shape),
        **_ARCHITECTURE,
        **shared_document(scene),
    }


def _check_version(document: dict[str, Any]) -> None:
    if document.get("kind") != KIND:
        fail("kind", f"{KIND!r} or {OCTREE_KIND!r}", f"{document.get('kind')!r:.80}")
    version: object = document.get("version")
    if isinstance(version, bool) or version not in (VERSION, NESTED_VERSION, *COMPRESSED_VERSIONS):
        fail("version", f"{VERSION} to {COMPRESSED_VERSION} (a newer file needs a newer program)", f"{version!r:.80}")
    for key, expected in _ARCHITECTURE.items():
        if document.get(key) != expected:
            fail(key, json.dumps(expected), f"{document.get(key)!r:.200}")


def _scene(document: dict[str, Any], tensors: Tensors) -> KiloNeRFScene:
    if is_compressed(document):
        return compressed_scene(document, tensors, compressed_reader(document).decode(tensors))
    networks, voxels = _resolutions(document)
    levels = _levels(document, networks)
    several = () if levels is None else (levels,)
    index = tensor(tensors, "network_index", np.int32, (*several, *networks)).reshape(-1, *networks)
    size = -(-math.prod(voxels) // 8)
    packed = tensor(tensors, "occupancy", np.uint8, (*several, size)).reshape(-1, size)
    return _with_grids(document, tensors, [_unpack(bits, voxels) for bits in packed], index, _layers(tensors))


def compressed_reader(document: dict[str, Any]) -> CompressedReader:
    """What reads a file of version 3 or 4.

    Raises:
        SceneError: field, expected, got.
    """
    networks, voxels = _resolutions(document)
    return CompressedReader(document, _levels(document, networks) or 1, networks, voxels)


def compressed_scene(document: dict[str, Any], tensors: Tensors, content: Content) -> KiloNeRFScene:
    """The scene of what a :class:`CompressedReader` has decoded, and the other tensors.

    Raises:
        SceneError: field, expected, got.
    """
    occupancy, index, layers = content
    return _with_grids(document, tensors, list(occupancy), index, layers)


def _resolutions(document: dict[str, Any]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Of the grids of cells and of voxels."""
    networks = sizes(document, "network_resolution")
    voxels = sizes(document, "occupancy_resolution")
    check_resolutions(voxels, networks)
    return networks, voxels


def _with_grids(
    document: dict[str, Any],
    tensors: Tensors,
    occupancy: Sequence[NDArray[np.bool_]],
    index: NDArray[np.int32],
    layers: Mapping[str, NDArray[Any]],
) -> KiloNeRFScene:
    outer = [OuterLevel(*grids) for grids in zip(occupancy[1:], index[1:], strict=True)]
    return KiloNeRFScene(
        occupancy=occupancy[0],
        network_index=index[0],
        layers=layers,
        outer=tuple(outer),
        sky=tensors.get("sky"),
        **shared_fields(document, tensors),
    )


def _levels(document: dict[str, Any], networks: tuple[int, int, int]) -> int | None:
    """How many levels a file of version 2 to 4 has; None: one of version 1."""
    if document["version"] == VERSION:
        return None
    if not is_size(document.get("levels")):
        fail("levels", "a whole number", f"{document.get('levels')!r:.80}")
    levels: int = document["levels"]
    check_levels(levels, networks)
    return levels


def _unpack(packed: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    voxels = math.prod(shape)
    if voxels % 8 and packed[-1] >> (voxels % 8):
        fail("occupancy", "unused bits of the last byte to be 0", f"{int(packed[-1]):#04x}")
    return np.unpackbits(packed, count=voxels, bitorder="little").view(np.bool_).reshape(shape)


def _layers(tensors: Tensors) -> dict[str, NDArray[Any]]:
    for name in tensor_shapes(0):
        if name not in tensors:
            fail(name, "this tensor in the file", "nothing")
    return {name: tensors[name] for name in tensor_shapes(0)}
