"""Small text files that somebody else wrote."""

import codecs
import os
from pathlib import Path

from ..errors import KiloNeRFError
from .downloads import HEAD, broken_content


def read_text(path: str | os.PathLike[str], limit: int, error: type[KiloNeRFError]) -> str:
    """The text of a file of at most ``limit`` bytes: UTF-8 or, with its byte order mark, UTF-16 as of Windows tools.

    Raises:
        KiloNeRFError: of the type ``error``: it is missing, no file, too large, not readable, a broken download or no
            text.
    """
    file = Path(path)
    try:
        if not file.is_file():
            raise error(f"{path}: expected a file, got {'a folder' if file.is_dir() else 'nothing there'}")
        if file.stat().st_size > limit:
            raise error(f"{path}: expected at most {limit} bytes of text, got {file.stat().st_size}")
        data = file.read_bytes()
    except OSError as wrong:
        raise error(f"{path}: cannot read: {wrong.strerror or wrong}") from wrong
    broken = broken_content(data[:HEAD]) if data else None  # what an empty text means, its reader knows
    if broken is not None:
        raise error(f"{path}: expected text, got {broken}")
    wide = len(data) > 2 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise error(f"{path}: expected text, got bytes that are not UTF-8") from wrong
    return text.replace("\r\n", "\n").replace("\r", "\n")  # as a text file that is opened by open()
