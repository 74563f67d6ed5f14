"""Fields of a ``.knf`` file that scenes of all kinds share, read without believing them, and written."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..camera.camera import Camera
from ..errors import SceneError
from ..files.json_values import is_array, is_object
from ..scene.base import Scene
from ..scene.checks import fail
from .safetensors_reader import is_size

Tensors = Mapping[str, NDArray[Any]]


def sizes(document: dict[str, Any], field: str) -> tuple[int, int, int]:
    """Three sizes of a document.

    Raises:
        SceneError: they are not; so do all of these.
    """
    found = document.get(field)
    if not is_array(found) or len(found) != 3 or not all(map(is_size, found)):
        fail(field, "three whole numbers", f"{found!r:.80}")
    return found[0], found[1], found[2]


def number(field: str, value: object) -> float:
    """A number, as a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        fail(field, "a number", f"{value!r:.80}")
    try:
        return float(value)
    except OverflowError:
        fail(field, "a number", "one too large for a float")


def numbers(field: str, value: object, count: int) -> list[float]:
    """Some numbers, as floats."""
    if not is_array(value) or len(value) != count:
        fail(field, f"{count} numbers", f"{value!r:.80}")
    return [number(field, one) for one in value]


def tensor(tensors: Tensors, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """A tensor of this dtype and shape."""
    array = tensors.get(name)
    if array is None:
        fail(name, "this tensor in the file", "nothing")
    if array.dtype != np.dtype(dtype) or array.shape != shape:
        fail(name, f"{np.dtype(dtype)} {list(shape)}", f"{array.dtype} {list(array.shape)}")
    return array


def camera_document(camera: Camera) -> dict[str, Any]:
    """A camera as JSON values."""
    return {
        "c2w": [list(row) for row in camera.c2w],
        "width": camera.width,
        "height": camera.height,
        **{key: getattr(camera, key) for key in ("fx", "fy", "cx", "cy")},
    }


def camera(document: object) -> Camera | None:
    """What :func:`camera_document` gave, or None."""
    if document is None:
        return None
    if not is_object(document):
        fail("start_camera", "a JSON object or null", f"{document!r:.80}")
    rows = document.get("c2w")
    if not is_array(rows) or len(rows) != 4:
        fail("start_camera.c2w", "4 rows", f"{rows!r:.80}")
    c2w = [numbers("start_camera.c2w", row, 4) for row in rows]
    for key in ("width", "height"):
        if not is_size(document.get(key)) or not 1 <= document[key] <= 2**16:
            fail(f"start_camera.{key}", "a whole number of pixels from 1 to 65536", f"{document.get(key)!r:.80}")
    lens = {key: number(f"start_camera.{key}", document.get(key)) for key in ("fx", "fy", "cx", "cy")}
    try:
        return Camera.from_matrix(c2w, document["width"], document["height"], **lens)
    except ValueError as error:
        raise SceneError(f"start_camera: {error}") from error


def shared_document(scene: Scene) -> dict[str, Any]:
    """What the document of every kind has."""
    camera = scene.start_camera
    return {
        "near": float(scene.near),
        "far": float(scene.far),
        "num_samples": int(scene.num_samples),
        "background": [float(value) for value in scene.background],
        "start_camera": None if camera is None else camera_document(camera),
        "provenance": dict(scene.provenance),
    }


def shared_tensors(scene: Scene) -> dict[str, NDArray[Any]]:
    """The optional tensors of every kind."""
    tensors: dict[str, NDArray[Any]] = {}
    if scene.training_poses is not None:
        tensors["training_poses"] = scene.training_poses
    if scene.preview is not None:
        tensors["preview_png"] = np.frombuffer(scene.preview, dtype=np.uint8)
    return tensors


def shared_fields(document: dict[str, Any], tensors: Tensors) -> dict[str, Any]:
    """Arguments of every kind of scene: box, sampling, background, camera, poses, preview, provenance."""
    aabb = document.get("aabb")
    if not is_array(aabb) or len(aabb) != 2:
        fail("aabb", "two corners", f"{aabb!r:.80}")
    box_min, box_max = (np.asarray(numbers("aabb", corner, 3), dtype=np.float32) for corner in aabb)
    background = numbers("background", document.get("background"), 3)
    provenance = document.get("provenance", {})
    if not is_object(provenance):
        fail("provenance", "a JSON object", type(provenance).__name__)
    preview = tensors.get("preview_png")
    return {
        "box_min": box_min,
        "box_max": box_max,
        "near": number("near", document.get("near")),
        "far": number("far", document.get("far")),
        "num_samples": document.get("num_samples", 0),
        "background": (background[0], background[1], background[2]),
        "start_camera": camera(document.get("start_camera")),
        "training_poses": tensors.get("training_poses"),
        "preview": None if preview is None else preview.tobytes(),
        "provenance": provenance,
    }
