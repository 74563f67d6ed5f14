"""Scenes are read beside the interface; the newest wish wins."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kilonerf.model_io import KiloNeRFError, Scene, load_scene


@dataclass(frozen=True)
class LoadedScene:
    """What became of a file: a scene, or an error as one line."""

    path: Path
    scene: Scene | None
    error: KiloNeRFError | None = None


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

    @property
    def loading(self) -> Path | None:
        """The file that is being read, if any."""
        return self._wanted

    def load(self, path: Path) -> None:
        """Begin to read ``path``."""
        with self._lock:
            self._wanted = path
            self._outcome = None
        threading.Thread(target=self._read, args=(path,), name="kilonerf-load", daemon=True).start()

    def take(self) -> LoadedScene | None:
        """The outcome of the newest wish, once."""
        with self._lock:
            outcome, self._outcome = self._outcome, None
            if outcome is not None:
                self._wanted = None
        return outcome

    def _read(self, path: Path) -> None:
        try:
            outcome = LoadedScene(path, load_scene(path))
        except KiloNeRFError as error:
            outcome = LoadedScene(path, None, error)
        except MemoryError:
            outcome = LoadedScene(path, None, KiloNeRFError(f"{path}: not enough memory to load it"))
        with self._lock:
            if self._wanted == path:
                self._outcome = outcome
        self.on_done()
