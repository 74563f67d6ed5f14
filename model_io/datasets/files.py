"""JSON, numbers and matrices out of a data set's text files; each fault is one DatasetError with the file's name."""

import json
import math
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..files.text import read_text

_MAX_TEXT = 64 * 2**20  # bytes of a transforms file


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def pose_matrix(field: str, value: Any) -> NDArray[np.float64]:
    """A camera-to-world matrix [4, 4] from rows of numbers, 3x4 or 4x4.

    Raises:
        DatasetError: it is no such matrix, not finite, or its axes do not span space.
    """
    try:
        matrix = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.empty(0)
    if matrix.shape not in ((4, 4), (3, 4)):
        raise DatasetError(f"{field}: expected a matrix of 4x4 numbers, got {value!r:.60}")
    if not np.isfinite(matrix).all():
        raise DatasetError(f"{field}: expected finite numbers, got {matrix.tolist()}")
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
        raise DatasetError(f"{field}: expected axes that span space, got {matrix[:3, :3].tolist()}")
    return np.concatenate([matrix[:3], [[0.0, 0.0, 0.0, 1.0]]])


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        DatasetError: the file cannot be read or holds something else.
    """
    try:
        document = json.loads(read_text(file, _MAX_TEXT, DatasetError))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: expected JSON, got {str(error)[:120]}") from error
    if not isinstance(document, dict):
        raise DatasetError(f"{file}: expected a JSON object, got {type(document).__name__}")
    return document


def json_frames(file: Path, document: dict[str, Any]) -> list[Any]:
    """The list "frames" of a transforms file.

    Raises:
        DatasetError: there is none, or it is empty.
    """
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames:
        raise DatasetError(f"{file}: frames: expected a list of at least one frame")
    return frames


def read_rows(file: Path) -> list[list[float]]:
    """The numbers of a text file, line by line; empty lines are left out.

    Raises:
        DatasetError: the file cannot be read, or holds other than finite numbers.
    """
    try:
        lines = read_text(file, _MAX_TEXT, DatasetError).splitlines()
        rows = [[float(word) for word in line.split()] for line in lines]
    except ValueError as error:
        raise DatasetError(f"{file}: expected numbers, got {error}") from error
    if not all(math.isfinite(number) for row in rows for number in row):
        raise DatasetError(f"{file}: expected finite numbers")
    return [row for row in rows if row]


def read_numbers(file: Path, count: int) -> list[float]:
    """The first ``count`` numbers of a text file.

    Raises:
        DatasetError: as :func:`read_rows`, or there are fewer.
    """
    numbers = [number for row in read_rows(file) for number in row]
    if len(numbers) < count:
        raise DatasetError(f"{file}: expected {count} numbers, got {len(numbers)}")
    return numbers[:count]
