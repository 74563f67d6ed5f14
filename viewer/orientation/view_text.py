"""A view as JSON text, to copy and paste, to mail, to keep."""

import json
import math
from typing import Any

import numpy as np

from kilonerf.model_io import KiloNeRFError
from kilonerf.model_io.files.json_values import is_array, is_object

from ..camera.place import Place

FORMAT = "kilonerf-view"
MATRIX_KEYS = ("c2w", "transform_matrix")
SMALLEST_FOV, LARGEST_FOV = 1e-4, math.pi - 1e-4
RIGID = 1e-3


class ViewTextError(KiloNeRFError):
    """A text that is no view."""


def view_document(place: Place) -> dict[str, Any]:
    """A view as JSON values: ``c2w`` row by row, ``fov_y`` in radians, and the ``distance`` to what it looks at."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": 1,
        "c2w": place.matrix.tolist(),
        "fov_y": place.fov,
    }
    return document if place.distance is None else {**document, "distance": place.distance}


def view_text(place: Place) -> str:
    """A view as text, from which :func:`parse_view` makes the same view bit for bit."""
    return json.dumps(view_document(place))


def parse_view(text: str, fov: float) -> Place:
    """The view that a text holds: what :func:`view_text` wrote, a keyframe of a camera path, a nerfstudio frame.

    Args:
        text: JSON.
        fov: vertical field of view in radians, where the text has none.

    Raises:
        ViewTextError: it is something else.
    """
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise ViewTextError(f"view: expected JSON, got {shortened(text)}") from None
    return view_from_document(document, fov)


def view_from_document(document: object, fov: float) -> Place:
    """As :func:`parse_view`, from JSON values."""
    if not is_object(document):
        raise ViewTextError("view: expected an object with c2w, got something else")
    rows = next((document[key] for key in MATRIX_KEYS if key in document), None)
    matrix = np.eye(4)
    if not is_array(rows) or len(rows) not in (3, 4) or not all(is_array(row) and len(row) == 4 for row in rows):
        raise ViewTextError(f"view: expected c2w with 3 or 4 rows of 4 numbers, got {shortened(json.dumps(rows))}")
    numbers = [value for row in rows for value in row]
    if not all(_is_number(value) for value in numbers):
        raise ViewTextError("view: expected numbers in c2w, got something else")
    matrix[: len(rows)] = rows
    rotation = matrix[:3, :3]
    if np.abs(rotation.T @ rotation - np.eye(3)).max() > RIGID or np.linalg.det(rotation) < 0.0:
        raise ViewTextError("view: expected a rotation in c2w, got one with a scale or a mirror")
    given = document.get("fov_y", fov)
    if not _is_number(given) or not SMALLEST_FOV < given < LARGEST_FOV:
        raise ViewTextError(f"view: expected fov_y in radians, got {shortened(json.dumps(given))}")
    distance = document.get("distance")
    if distance is not None and not (_is_number(distance) and distance > 0.0):
        raise ViewTextError(f"view: expected a distance above 0, got {shortened(json.dumps(distance))}")
    return Place(matrix, float(given), None if distance is None else float(distance))


def shortened(text: str) -> str:
    """At most 40 characters of one line."""
    line = " ".join(text.split())
    return line if len(line) <= 40 else line[:37] + "..."


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12
