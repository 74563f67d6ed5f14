"""The path that is being edited, on disk after every change: the next run of the same scene goes on with it."""

import hashlib
from contextlib import suppress
from pathlib import Path

from kilonerf.model_io import CameraPath, KiloNeRFError
from kilonerf.model_io.streaming.address import Location, location_key

INTERVAL = 0.5
"""Seconds between two writes, while a key is dragged say."""


class Autosave:
    """One file for each scene, in the folder for the program's state.

    To remember is a convenience: a disk that cannot be written is passed over.

    Args:
        folder: where; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: Path | None = None
        self._written = 0
        self._due = 0.0

    def open(self, scene: Location | None, revision: int) -> CameraPath | None:
        """Keep the path of ``scene`` from now on; the one that was left of it. None: nothing is kept."""
        self._file = None
        self._written = revision
        if scene is None:
            return None
        name = hashlib.sha256(location_key(scene).encode()).hexdigest()[:16]
        self._file = self._folder / f"{Path(scene.name).stem[:40]}-{name}.json"
        with suppress(KiloNeRFError):
            if self._file.is_file():
                return CameraPath.load(self._file)
        return None

    @property
    def keeping(self) -> bool:
        """Whether a scene's path is kept."""
        return self._file is not None

    def keep(self, path: CameraPath | None, revision: int, now: float) -> None:
        """Write the path if it has changed and the last write is a while ago."""
        if revision != self._written and now >= self._due:
            self._due = now + INTERVAL
            self.flush(path, revision)

    def flush(self, path: CameraPath | None, revision: int) -> None:
        """Write the path if it has changed."""
        if self._file is None or revision == self._written:
            return
        self._written = revision
        with suppress(OSError, KiloNeRFError):
            if path is None:
                self._file.unlink(missing_ok=True)
            else:
                self._folder.mkdir(parents=True, exist_ok=True)
                path.save(self._file)
