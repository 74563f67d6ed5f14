"""Small text files that somebody else wrote."""

import os
from pathlib import Path

from ..errors import KiloNeRFError


def read_text(path: str | os.PathLike[str], limit: int, error: type[KiloNeRFError]) -> str:
    """The text of a file of at most ``limit`` bytes.

    Raises:
        KiloNeRFError: of the type ``error``: it is missing, no file, too large, not readable or not UTF-8.
    """
    file = Path(path)
    try:
        if not file.is_file():
            raise error(f"{path}: expected a file, got {'a folder' if file.is_dir() else 'nothing there'}")
        if file.stat().st_size > limit:
            raise error(f"{path}: expected at most {limit} bytes of text, got {file.stat().st_size}")
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as wrong:
        raise error(f"{path}: expected text, got bytes that are not UTF-8") from wrong
    except OSError as wrong:
        raise error(f"{path}: cannot read: {wrong.strerror or wrong}") from wrong
