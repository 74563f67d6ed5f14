"""Scenes are read beside the interface; the newest wish wins. Their files can be watched."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kilonerf.model_io import KiloNeRFError, Scene, load_scene


@dataclass(frozen=True)
class LoadedScene:
    """What became of a file: a scene, or an error as one line.

    Attributes:
        path: the file.
        scene: None after an error.
        error: why there is no scene.
        again: nobody asked: the file of the scene that is open has changed.
    """

    path: Path
    scene: Scene | None
    error: KiloNeRFError | None = None
    again: bool = False


FileState = tuple[int, int, int] | None  # inode, size, time of the last change


class SceneLoader:
    """Reads one file at a time in a thread; a later :meth:`load` makes an earlier one's outcome void.

    Attributes:
        on_done: called in the loading thread when an outcome is there (to wake the window).
    """

    def __init__(self) -> None:
        self.on_done: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._wanted: Path | None = None
        self._outcome: LoadedScene | None = None
        self._newest: tuple[Path, FileState] | None = None  # what was read last

    def watch(self, interval: float = 0.5) -> None:
        """From now on read the file of the newest scene again whenever it changes.

        Args:
            interval: seconds between two looks at it.
        """
        threading.Thread(target=self._watch, args=(interval,), name="kilonerf-watch", daemon=True).start()

    @property
    def loading(self) -> Path | None:
        """The file that is being read, if any."""
        return self._wanted

    def load(self, path: Path) -> None:
        """Begin to read ``path``."""
        with self._lock:
            self._wanted = path
            self._outcome = None
        threading.Thread(target=self._read, args=(path, False), name="kilonerf-load", daemon=True).start()

    def take(self) -> LoadedScene | None:
        """The outcome of the newest wish, once."""
        with self._lock:
            outcome, self._outcome = self._outcome, None
            if outcome is not None:
                self._wanted = None
        return outcome

    def _read(self, path: Path, again: bool) -> None:
        state = _state(path)
        try:
            outcome = LoadedScene(path, load_scene(path), again=again)
        except KiloNeRFError as error:
            outcome = LoadedScene(path, None, error, again)
        except MemoryError:
            outcome = LoadedScene(path, None, KiloNeRFError(f"{path}: not enough memory to load it"), again)
        with self._lock:
            if self._wanted == path:
                self._outcome, self._newest = outcome, (path, state)
        self.on_done()

    def _watch(self, interval: float) -> None:
        while True:
            time.sleep(interval)
            with self._lock:
                newest = self._newest
                # A file that is gone may be about to come back.
                changed = newest is not None and _state(newest[0]) not in (None, newest[1])
                if not changed or newest is None or self._wanted is not None:
                    continue
                self._wanted = newest[0]
            self._read(newest[0], again=True)


def _state(path: Path) -> FileState:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
