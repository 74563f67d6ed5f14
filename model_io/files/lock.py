"""A file that one program at a time holds: a second one learns which process that is."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from ..errors import OutputError


class FileLock:
    """Held from :meth:`take` until :meth:`release`, at the latest until the process ends, however it does."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path, self._file = path, file

    @classmethod
    def take(cls, path: Path) -> "FileLock | None":
        """Hold ``path``, made if need be; None: another process holds it.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            while True:
                file = path.open("a+", encoding="utf-8")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.close()
                    return None
                if _is_at(file, path):
                    break
                file.close()  # its last holder has removed it since it was opened
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        except OSError as error:
            raise OutputError(f"{path}: cannot write: {error.strerror}") from error
        return cls(path, file)

    def release(self) -> None:
        """Let go of it; the file is removed."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._file.close()


def lock_holder(path: Path) -> int | None:
    """The process that holds ``path``, 0 if it has not said its number; None: nobody does."""
    try:
        with path.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdecimal() else 0
    except OSError:
        pass
    return None


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
