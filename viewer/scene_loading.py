"""Scenes are read in the background; the newest request wins. Their files can be watched, those of servers grow."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kilonerf.model_io import KiloNeRFError, Scene, load_partial_scene
from kilonerf.model_io.streaming.address import Location, SceneUrl
from kilonerf.model_io.streaming.options import StreamOptions

from .notices import Notices
from .streamed_scene import StreamedScene


@dataclass(frozen=True)
class LoadedScene:
    """What became of a file: a scene, or an error as one line.

    Attributes:
        path: the file, or the URL.
        scene: None after an error, or where there is only something to be said.
        error: why there is no scene, or no more of it.
        again: not asked for: the file of the open scene has changed, or more of it has come.
        note: what else is to be said, of a file that was cut short say.
    """

    path: Location
    scene: Scene | None
    error: KiloNeRFError | None = None
    again: bool = False
    note: str = ""

    def say(self, notices: Notices, now: float) -> None:
        """Tell the user what there is to say beside the scene."""
        if self.error is not None:
            what = "Cannot load the rest" if self.again and isinstance(self.path, SceneUrl) else "Cannot open"
            notices.add(f"{what}: {self.error}", "error", now)
        if self.note:
            notices.add(self.note, "info", now)


FileState = tuple[int, int, int] | None  # inode, size, time of the last change; None: there is no file


class SceneLoader:
    """Reads one file at a time in a thread; a later :meth:`load` makes an earlier one's outcome void.

    Files are read into memory: a mapped one that somebody writes into or cuts short would end the program (SIGBUS).

    Args:
        stream_options: how scenes of servers are fetched; None: as a rule.

    Attributes:
        on_done: called in the loading thread when an outcome is there (to wake the window).
        streamed: how far the scene of a server is that was asked for last.
    """

    def __init__(self, stream_options: StreamOptions | None = None) -> None:
        self.on_done: Callable[[], None] = lambda: None
        self._stream_options = stream_options
        self.streamed: StreamedScene | None = None
        self._lock = threading.Lock()
        self._wanted: Location | None = None
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
    def loading(self) -> Location | None:
        """What is being read, if anything; a file that is read again because it changed does not count."""
        streamed = self.streamed
        if streamed is not None and (streamed.running or self._outcome is not None):
            return streamed.url
        return None if self._again else self._wanted

    @property
    def progress(self) -> str:
        """How far the scene of a server is, for the status bar; "" for nothing."""
        return "" if self.streamed is None else self.streamed.progress

    def load(self, path: Location) -> None:
        """Begin to read ``path``."""
        with self._lock:
            self._ask_for(path, again=False)
            if isinstance(path, SceneUrl):
                from kilonerf.model_io.streaming.stream import SceneStream  # it loads a web client, which few need

                self._newest = None
                self.streamed = StreamedScene(SceneStream(path, self._stream_options))
                arguments: tuple[object, ...] = (self.streamed,)
            else:
                arguments = (path, False)
        read = self._fetch if isinstance(path, SceneUrl) else self._read
        threading.Thread(target=read, args=arguments, name="kilonerf-load", daemon=True).start()

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
            self._ask_for(name, again=again)
            self._newest = None
        threading.Thread(target=self._read, args=(name, again, file), name="kilonerf-load", daemon=True).start()
        return True

    def give(self, loaded: LoadedScene) -> None:
        """Hand over a scene that is in memory already, as if it had just been read."""
        with self._lock:
            self._ask_for(loaded.path, again=loaded.again)
            self._outcome = loaded

    def take(self, *, ready: bool = True) -> LoadedScene | None:
        """The outcome of the newest wish, once; a state of a server's scene is followed by the next one.

        Args:
            ready: whether the last state has been seen; the next one waits for it.
        """
        with self._lock:
            outcome = self._outcome
            if outcome is None or (self.streamed is not None and outcome.again and not ready):
                return None
            self._outcome = None
            self._wanted, self._again = None, False
            if self.streamed is not None:
                self.streamed.taken.set()
        return outcome

    def close(self) -> None:
        """Watch no more, and call :attr:`on_done` no more."""
        self._closed.set()
        self.on_done = lambda: None
        if self.streamed is not None:
            self.streamed.stop()

    def _ask_for(self, path: Location, *, again: bool) -> None:
        """What is wanted from now on, and nothing else."""
        self._wanted, self._again, self._outcome = path, again, None
        if self.streamed is not None:
            self.streamed.stop()
            self.streamed = None

    def _fetch(self, streamed: StreamedScene) -> None:
        """Hand over what a server has, as it comes."""
        url, again = streamed.url, False
        try:
            for part in streamed.stream.parts():
                streamed.part = part
                streamed.taken.clear()
                self._hand_over(streamed, LoadedScene(url, part.scene, again=again))
                streamed.taken.wait()  # what comes meanwhile is in the next state
                again = True
        except KiloNeRFError as error:
            streamed.error = error
        except MemoryError:
            streamed.error = KiloNeRFError(f"{url}: not enough memory to load it")
        streamed.running = False
        self._hand_over(streamed, LoadedScene(url, None, streamed.error, again, streamed.said))

    def _hand_over(self, streamed: StreamedScene, outcome: LoadedScene) -> None:
        with self._lock:
            if self.streamed is not streamed:
                return
            waiting = self._outcome
            if waiting is not None and outcome.scene is None:
                outcome = replace(waiting, error=outcome.error, note=outcome.note)
            elif waiting is not None:
                outcome = replace(outcome, again=waiting.again)
            self._outcome = outcome
        self.on_done()

    def _read(self, path: Path, again: bool, growing: Path | None = None) -> None:
        state = _state(path)
        try:
            part = load_partial_scene(growing or path, mapped=False)
            note = "" if part.whole else f"{path.name} is cut short: {part} are in the file"
            outcome = LoadedScene(path, part.scene, again=again, note=note)
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
