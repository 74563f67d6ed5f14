"""A window from Python: until it is closed, or beside a training loop or a notebook."""

import atexit
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, overload

from kilonerf.model_io import DisplayError, Scene

from .scene_loading import LoadedScene, SceneLoader
from .settings import ViewerSettings

if TYPE_CHECKING:
    from .app import ViewerApp

NAME = Path("scene.knf")
"""What a scene in memory is called."""
_LOOK_EVERY = 0.02  # seconds
_open = threading.Lock()  # GLFW and ImGui have one window at a time in a process


class LiveWindow:
    """A window in a thread of its own; every method can be called from any thread.

    As a context manager it closes the window at the end of the block. At the end of the program it is closed, too.
    """

    def __init__(self, loader: SceneLoader, run: "Callable[[Callable[[ViewerApp], None]], None]") -> None:
        self._loader, self._run_app = loader, run
        self._app: ViewerApp | None = None
        self._newest: Scene | None = None
        self._error: BaseException | None = None
        self._ready, self._over = threading.Event(), threading.Event()
        threading.Thread(target=self._run, name="kilonerf-window", daemon=True).start()
        self._ready.wait()
        if self._app is None:
            self.wait()
        atexit.register(self.close)

    @property
    def closed(self) -> bool:
        """Whether the user, or :meth:`close`, has closed it."""
        return self._over.is_set()

    def update(self, scene: Scene) -> None:
        """Show another scene from the next frame on; camera and settings stay. Nothing once the window is closed."""
        if not self.closed:
            self._newest = scene
            self._loader.give(LoadedScene(NAME, scene, again=True))
            self._loader.on_done()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the window is closed, or for so many seconds; whether it is closed.

        Raises:
            KiloNeRFError: no picture of the scene could be made.
            Exception: whatever else has ended the window, a panel's error for one.
        """
        over = self._over.wait(seconds)
        error, self._error = self._error, None
        if error is not None:
            raise error
        return over

    def wait_until_shown(self) -> bool:
        """Wait until the newest scene's picture is final on the screen; whether it is: not if the window was closed.

        Raises:
            As :meth:`wait`.
        """
        while not self.wait(_LOOK_EVERY):
            shown = None if self._app is None else self._app.view.shown
            newest = shown is not None and (self._newest is None or shown.request.shot.scene is self._newest)
            if newest and self._app is not None and self._app.settled:
                return True
        return False

    def close(self) -> None:
        """Close it; a flight that is being recorded is saved, a video that is being rendered aborted."""
        atexit.unregister(self.close)
        while not self._over.is_set() and self._app is not None:
            self._app.window.ask_to_close()  # twice, if a video is being rendered
            self._loader.on_done()
            self._over.wait(0.2)

    def _run(self) -> None:
        try:
            self._run_app(self._opened)
        except BaseException as error:  # it is raised to whoever waits
            self._error = error
        finally:
            self._over.set()
            self._ready.set()

    def _opened(self, app: "ViewerApp") -> None:
        self._app = app
        self._ready.set()

    def __enter__(self) -> "LiveWindow":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@overload
def show(
    scene: Scene | Path | str,
    settings: ViewerSettings | None = None,
    *,
    size: tuple[int, int] = ...,
    output_folder: Path | str = ...,
    exit_after: float | None = ...,
    screenshot: Path | str | None = ...,
    panel: Callable[[], None] | None = ...,
    block: Literal[True] = ...,
) -> None: ...


@overload
def show(
    scene: Scene | Path | str,
    settings: ViewerSettings | None = None,
    *,
    size: tuple[int, int] = ...,
    output_folder: Path | str = ...,
    exit_after: float | None = ...,
    screenshot: Path | str | None = ...,
    panel: Callable[[], None] | None = ...,
    block: Literal[False],
) -> LiveWindow: ...


def show(
    scene: Scene | Path | str,
    settings: ViewerSettings | None = None,
    *,
    size: tuple[int, int] = (1280, 800),
    output_folder: Path | str = ".",
    exit_after: float | None = None,
    screenshot: Path | str | None = None,
    panel: Callable[[], None] | None = None,
    block: bool = True,
) -> LiveWindow | None:
    """Open a window on a scene and return when it is closed; with ``block=False`` as soon as it is open.

    Args:
        scene: a scene in memory, or a ``.knf`` file.
        settings: what is switched on at the start.
        size: width and height of the window.
        output_folder: where screenshots, camera paths and videos go.
        exit_after: seconds after the first picture; None: when the user closes the window.
        screenshot: where to save a PNG of the window when it closes.
        panel: draws a section of the caller's own in the side panel, with ImGui, once for each frame of the window.
        block: False: the window has a thread of its own, and can be shown other scenes meanwhile.

    Returns:
        With ``block=False``, the window.

    Raises:
        DisplayError: there is no display, or no OpenGL 3.3, or a window is open already.
        KiloNeRFError: the file cannot be loaded, or no picture of the scene can be made.
    """
    loader = SceneLoader()

    def run(opened: "Callable[[ViewerApp], None]") -> None:
        if not _open.acquire(blocking=False):
            raise DisplayError("a window is open already: expected one at a time; close it, or use its update()")
        try:
            app = _make_app(loader, scene, settings, size, Path(output_folder))
            opened(app)
            _run(app, exit_after, None if screenshot is None else Path(screenshot), panel)
        finally:
            _open.release()

    if not block:
        return LiveWindow(loader, run)
    run(lambda app: None)
    return None


def _make_app(
    loader: SceneLoader,
    scene: Scene | Path | str,
    settings: ViewerSettings | None,
    size: tuple[int, int],
    output_folder: Path,
) -> "ViewerApp":
    if isinstance(scene, Scene):
        loader.give(LoadedScene(NAME, scene))
    else:
        loader.load(Path(scene))
    try:
        from .app import ViewerApp
    except ImportError as error:  # moderngl and glfw load system libraries
        raise DisplayError(f"a library for the window cannot be loaded: {error}") from error
    return ViewerApp(settings or ViewerSettings(), size, output_folder, loader)


def _run(app: "ViewerApp", exit_after: float | None, screenshot: Path | None, panel: Callable[[], None] | None) -> None:
    from .scripted_run import ScriptedRun

    if panel is not None:
        app.sections.append(panel)
    try:
        ScriptedRun(app, exit_after, screenshot).run()
    finally:
        app.close()
