"""JSON and numbers out of a data set's text files; each fault is one DatasetError with the file's name."""

import json
import math
from pathlib import Path
from typing import Any, TypeGuard

from ..errors import DatasetError
from ..files.text import read_text

_MAX_TEXT = 64 * 2**20  # bytes of a transforms file


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a JSON value is a finite number."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond float64
        return False


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        DatasetError: the file cannot be read or holds something else.
    """
    try:
        document = json.loads(read_text(file, _MAX_TEXT, DatasetError))
    except json.JSONDecodeError as error:
        place = f"something else at line {error.lineno}, column {error.colno}"
        raise DatasetError(f"{file}: expected JSON, got {place} (cut short, or edited by hand?)") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; lists in lists in lists
        raise DatasetError(f"{file}: expected JSON of a data set, got something else") from error
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
    rows: list[list[float]] = []
    for number, line in enumerate(read_text(file, _MAX_TEXT, DatasetError).splitlines(), 1):
        try:
            rows.append([float(word) for word in line.split()])
        except ValueError as error:
            raise DatasetError(f"{file}: expected numbers, got {line.strip()!r:.60} in line {number}") from error
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
