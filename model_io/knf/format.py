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

from ..camera.camera import Camera
from ..errors import SceneError
from ..files.atomic import AtomicFile
from ..files.json_values import is_array, is_object
from ..scene.architecture import DIRECTION_FREQUENCIES, LAYER_SHAPES, POSITION_FREQUENCIES, tensor_shapes
from ..scene.checks import check_levels, check_resolutions, fail
from ..scene.levels import OuterLevel
from ..scene.scene import Scene
from .compressed import VERSION as COMPRESSED_VERSION
from .compressed import decoded, encoded
from .quantized import QuantizedNetworks
from .safetensors_reader import is_size, parse_json, read_tensor_file

VERSION = 1  # of scenes with one level, so that older programs read them
NESTED_VERSION = 2
KIND = "kilonerf"
Tensors = Mapping[str, NDArray[Any]]

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
        if "knf" not in file.metadata:
            raise SceneError("not a scene file: expected 'knf' in the metadata of this safetensors file")
        document = parse_json(file.metadata["knf"], "knf")
        _check_version(document)
        return _scene(document, file.tensors)
    except SceneError as error:
        raise SceneError(f"{os.fspath(path)}: {error}") from error


def save_scene(scene: Scene, path: str | os.PathLike[str], dtype: DTypeLike | None = None) -> None:
    """Write a ``.knf`` file, whole or not at all.

    Args:
        scene: what to write.
        path: where to; an existing file is replaced.
        dtype: float16 or float32 for the networks; None: as they are.

    Raises:
        SceneError: a weight is too large for float16.
        OutputError: the file cannot be written.
    """
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
    scene: Scene, networks: QuantizedNetworks, chunk_of: NDArray[np.integer], path: str | os.PathLike[str]
) -> int:
    """Write a ``.knf`` file of version 3, whole or not at all.

    Args:
        scene: whose grids, camera and so on are written, but not its layers.
        networks: of the scene's cells, instead of its layers.
        chunk_of: the chunk of each network, from 0 on, [N].
        path: where to; an existing file is replaced.

    Returns:
        how many bytes it has.

    Raises:
        OutputError: the file cannot be written.
    """
    data = compressed_file(scene, networks, chunk_of)
    with AtomicFile(Path(path)) as temporary:
        temporary.write_bytes(data)
    return len(data)


def compressed_file(scene: Scene, networks: QuantizedNetworks, chunk_of: NDArray[np.integer]) -> bytes:
    """The bytes that :func:`save_compressed` writes."""
    occupancy = np.stack([cells.occupancy for cells in scene.levels])
    index = np.stack([cells.network_index for cells in scene.levels])
    return encoded(_document(scene), occupancy, index, networks, chunk_of, _extras(scene))


def version_of(scene: Scene) -> int:
    """Of the specification that a scene's file follows."""
    return NESTED_VERSION if scene.outer else VERSION


def _extras(scene: Scene) -> dict[str, NDArray[Any]]:
    """Tensors that a file may have."""
    extras: dict[str, NDArray[Any]] = {}
    if scene.sky is not None:
        extras["sky"] = scene.sky
    if scene.training_poses is not None:
        extras["training_poses"] = scene.training_poses
    if scene.preview is not None:
        extras["preview_png"] = np.frombuffer(scene.preview, dtype=np.uint8)
    return extras


def _grids(scene: Scene) -> dict[str, NDArray[Any]]:
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


def _document(scene: Scene) -> dict[str, Any]:
    camera = scene.start_camera
    return {
        "version": version_of(scene),
        "kind": KIND,
        **({"levels": 1 + len(scene.outer)} if scene.outer else {}),
        "aabb": [scene.box_min.tolist(), scene.box_max.tolist()],
        "network_resolution": list(scene.resolution),
        "occupancy_resolution": list(scene.occupancy.shape),
        **_ARCHITECTURE,
        "near": float(scene.near),
        "far": float(scene.far),
        "num_samples": int(scene.num_samples),
        "background": [float(value) for value in scene.background],
        "start_camera": None if camera is None else _camera_document(camera),
        "provenance": dict(scene.provenance),
    }


def _camera_document(camera: Camera) -> dict[str, Any]:
    return {
        "c2w": [list(row) for row in camera.c2w],
        "width": camera.width,
        "height": camera.height,
        **{key: getattr(camera, key) for key in ("fx", "fy", "cx", "cy")},
    }


def _check_version(document: object) -> None:
    if not is_object(document):
        fail("knf", "a JSON object", type(document).__name__)
    if document.get("kind") != KIND:
        fail("kind", repr(KIND), f"{document.get('kind')!r:.80}")
    version: object = document.get("version")
    if isinstance(version, bool) or version not in (VERSION, NESTED_VERSION, COMPRESSED_VERSION):
        fail("version", f"{VERSION} to {COMPRESSED_VERSION} (a newer file needs a newer program)", f"{version!r:.80}")
    for key, expected in _ARCHITECTURE.items():
        if document.get(key) != expected:
            fail(key, json.dumps(expected), f"{document.get(key)!r:.200}")


def _scene(document: dict[str, Any], tensors: Tensors) -> Scene:
    networks = _sizes(document, "network_resolution")
    voxels = _sizes(document, "occupancy_resolution")
    check_resolutions(voxels, networks)
    occupancy, index, layers = _content(document, tensors, networks, voxels)
    outer = [OuterLevel(*grids) for grids in zip(occupancy[1:], index[1:], strict=True)]
    aabb = document.get("aabb")
    if not is_array(aabb) or len(aabb) != 2:
        fail("aabb", "two corners", f"{aabb!r:.80}")
    box_min, box_max = (np.asarray(_numbers("aabb", corner, 3), dtype=np.float32) for corner in aabb)
    background = _numbers("background", document.get("background"), 3)
    provenance = document.get("provenance", {})
    if not is_object(provenance):
        fail("provenance", "a JSON object", type(provenance).__name__)
    preview = tensors.get("preview_png")
    return Scene(
        box_min=box_min,
        box_max=box_max,
        occupancy=occupancy[0],
        network_index=index[0],
        layers=layers,
        near=_number("near", document.get("near")),
        far=_number("far", document.get("far")),
        num_samples=document.get("num_samples", 0),
        background=(background[0], background[1], background[2]),
        start_camera=_camera(document.get("start_camera")),
        training_poses=tensors.get("training_poses"),
        preview=None if preview is None else preview.tobytes(),
        provenance=provenance,
        outer=tuple(outer),
        sky=tensors.get("sky"),
    )


Voxels = Sequence[NDArray[np.bool_]]


def _content(
    document: dict[str, Any], tensors: Tensors, networks: tuple[int, int, int], voxels: tuple[int, int, int]
) -> tuple[Voxels, NDArray[np.int32], dict[str, NDArray[Any]]]:
    """Occupancy of each level, the levels' network indices, and the layers."""
    levels = _levels(document, networks)
    if document["version"] == COMPRESSED_VERSION:
        occupancy, index, layers = decoded(document, tensors, levels or 1, networks, voxels)
        return list(occupancy), index, layers
    several = () if levels is None else (levels,)
    index = _tensor(tensors, "network_index", np.int32, (*several, *networks)).reshape(-1, *networks)
    size = -(-math.prod(voxels) // 8)
    packed = _tensor(tensors, "occupancy", np.uint8, (*several, size)).reshape(-1, size)
    return [_unpack(bits, voxels) for bits in packed], index, _layers(tensors)


def _levels(document: dict[str, Any], networks: tuple[int, int, int]) -> int | None:
    """How many levels a file of version 2 or 3 has; None: one of version 1."""
    if document["version"] == VERSION:
        return None
    if not is_size(document.get("levels")):
        fail("levels", "a whole number", f"{document.get('levels')!r:.80}")
    levels: int = document["levels"]
    check_levels(levels, networks)
    return levels


def _sizes(document: dict[str, Any], field: str) -> tuple[int, int, int]:
    sizes = document.get(field)
    if not is_array(sizes) or len(sizes) != 3 or not all(map(is_size, sizes)):
        fail(field, "three whole numbers", f"{sizes!r:.80}")
    return sizes[0], sizes[1], sizes[2]


def _number(field: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        fail(field, "a number", f"{value!r:.80}")
    try:
        return float(value)
    except OverflowError:
        fail(field, "a number", "one too large for a float")


def _numbers(field: str, value: object, count: int) -> list[float]:
    if not is_array(value) or len(value) != count:
        fail(field, f"{count} numbers", f"{value!r:.80}")
    return [_number(field, number) for number in value]


def _tensor(tensors: Tensors, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    array = tensors.get(name)
    if array is None:
        fail(name, "this tensor in the file", "nothing")
    if array.dtype != np.dtype(dtype) or array.shape != shape:
        fail(name, f"{np.dtype(dtype)} {list(shape)}", f"{array.dtype} {list(array.shape)}")
    return array


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


def _camera(document: object) -> Camera | None:
    if document is None:
        return None
    if not is_object(document):
        fail("start_camera", "a JSON object or null", f"{document!r:.80}")
    rows = document.get("c2w")
    if not is_array(rows) or len(rows) != 4:
        fail("start_camera.c2w", "4 rows", f"{rows!r:.80}")
    c2w = [_numbers("start_camera.c2w", row, 4) for row in rows]
    for key in ("width", "height"):
        if not is_size(document.get(key)) or not 1 <= document[key] <= 2**16:
            fail(f"start_camera.{key}", "a whole number of pixels from 1 to 65536", f"{document.get(key)!r:.80}")
    lens = {key: _number(f"start_camera.{key}", document.get(key)) for key in ("fx", "fy", "cx", "cy")}
    try:
        return Camera.from_matrix(c2w, document["width"], document["height"], **lens)
    except ValueError as error:
        raise SceneError(f"start_camera: {error}") from error
