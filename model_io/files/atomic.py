"""Files that appear whole or not at all: written under a temporary name in the same folder, then renamed."""

import os
import secrets
from pathlib import Path
from types import TracebackType

from ..errors import OutputError


class AtomicFile:
    """A file to write at ``temporary``, which becomes ``path`` by :meth:`commit` and vanishes by :meth:`discard`.

    As a context manager it commits where the block ended well and discards where it raised. The temporary file
    is made at once, so a folder that is missing or not writable is found before any work is done.

    Args:
        path: the final name; an existing file is replaced only at the commit.

    Raises:
        OutputError: the folder is missing or not writable, or ``path`` is a folder or a device.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise OutputError(f"{path}: expected a file to write, got a folder")
        if path.exists() and not path.is_file():  # renaming would put a plain file in the place of /dev/null
            raise OutputError(f"{path}: expected a file to write, got a device or pipe")
        self.temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            # os.open, not tempfile: the file shall have the permissions that the user's umask gives any file.
            os.close(os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except OSError as error:
            raise OutputError(f"{path}: cannot write: {error.strerror}") from error

    def commit(self) -> None:
        """Give the file its final name.

        Raises:
            OutputError: it cannot be renamed; the temporary file is removed.
        """
        try:
            self.temporary.replace(self.path)
        except OSError as error:
            self.discard()
            raise OutputError(f"{self.path}: cannot write: {error.strerror}") from error

    def discard(self) -> None:
        """Remove what was written; nothing if it is gone already."""
        self.temporary.unlink(missing_ok=True)

    def __enter__(self) -> Path:
        return self.temporary

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.commit()
            return
        self.discard()
        if isinstance(error, OSError):  # a full disk, for one
            raise OutputError(f"{self.path}: cannot write: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with AtomicFile(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
