"""Scenes are read in the background; the newest request wins. Their files can be watched."""

import threading
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
        again: not asked for: the file of the open scene has changed.
    """

    path: Path
    scene: Scene | None
    error: KiloNeRFError | None = None
    again: bool = False


FileState = tuple[int, int, int] | None  # inode, size, time of the last change; None: there is no file


class SceneLoader:
    """Reads one file at a time in a thread; a later :meth:`load` makes an earlier one's outcome void.

    Files are read into memory: a mapped one that somebody writes into or cuts short would end the program (SIGBUS).

    Attributes:
        on_done: called in the loading thread when an outcome is there (to wake the window).
    """

    def __init__(self) -> None:
        self.on_done: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._wanted: Path | None = None
        self._outcome: LoadedScene | None = None
        self._newest: tuple[Path, FileState] | None = None  # the file of the scene that is open
        self._again = False  # what is being read was not asked for
        self._closed = threading.Event()

    def watch(self, interval: float = 0.5) -> None:
        """From now on read the file of the newest scene again whenever it has changed, and then stayed for a moment.

        Args:
            interval: seconds between two looks at it.
        """
        threading.Thread(target=self._watch, args=(interval,), name="kilonerf-watch", daemon=True).start()

    @property
    def loading(self) -> Path | None:
        """The file that is being read, if any; one that is read again because it changed does not count."""
        return None if self._again else self._wanted

    def load(self, path: Path) -> None:
        """Begin to read ``path``."""
        with self._lock:
            self._wanted, self._again = path, False
            self._outcome = None
        threading.Thread(target=self._read, args=(path, False), name="kilonerf-load", daemon=True).start()

    def load_growing(self, file: Path, name: Path, *, again: bool) -> bool:
        """Begin to read ``file``, a state of the scene whose own file will be ``name``, and is called that already.

        Args:
            file: what is read.
            name: what it is called.
            again: an earlier state of it is open: only the scene is replaced.

        Returns:
            Whether it is read: not again while another file is.
        """
        with self._lock:
            if again and self._wanted is not None:
                return False
            self._wanted, self._again, self._newest = name, again, None
            self._outcome = None
        threading.Thread(target=self._read, args=(name, again, file), name="kilonerf-load", daemon=True).start()
        return True

    def give(self, loaded: LoadedScene) -> None:
        """Hand over a scene that is in memory already, as if it had just been read."""
        with self._lock:
            self._wanted, self._again = loaded.path, loaded.again
            self._outcome = loaded

    def take(self) -> LoadedScene | None:
        """The outcome of the newest wish, once."""
        with self._lock:
            outcome, self._outcome = self._outcome, None
            if outcome is not None:
                self._wanted, self._again = None, False
        return outcome

    def close(self) -> None:
        """Watch no more, and call :attr:`on_done` no more."""
        self._closed.set()
        self.on_done = lambda: None

    def _read(self, path: Path, again: bool, growing: Path | None = None) -> None:
        state = _state(path)
        try:
            outcome = LoadedScene(path, load_scene(growing or path, mapped=False), again=again)
        except KiloNeRFError as error:
            outcome = LoadedScene(path, None, error, again)
        except MemoryError:
            outcome = LoadedScene(path, None, KiloNeRFError(f"{path}: not enough memory to load it"), again)
        with self._lock:
            if self._wanted == path and self._again == again:
                self._outcome = outcome
                if growing is None and (
                    outcome.scene is not None or again
                ):  # after a wish that failed the old scene stays, and is watched
                    self._newest = path, state
        self.on_done()

    def _watch(self, interval: float) -> None:
        before = None
        while not self._closed.wait(interval):
            newest = self._newest
            if newest is None:
                continue
            path, known = newest
            seen = (path, _state(path))  # not under the lock: on a network's drive it may take long
            # A file that is gone may be about to come back; one that changes from look to look is being written.
            settled, before = seen == before, seen
            if not settled or seen[1] in (None, known):
                continue
            with self._lock:
                if self._wanted is not None or self._newest != newest:
                    continue
                self._wanted, self._again = path, True
            self._read(path, again=True)


def _state(path: Path) -> FileState:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
