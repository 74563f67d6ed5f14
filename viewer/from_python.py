"""A window from Python."""

from collections.abc import Callable
from pathlib import Path

from kilonerf.model_io import DisplayError, Scene

from .scene_loading import LoadedScene, SceneLoader
from .settings import ViewerSettings


def show(
    scene: Scene | Path | str,
    settings: ViewerSettings | None = None,
    *,
    size: tuple[int, int] = (1280, 800),
    output_folder: Path | str = ".",
    exit_after: float | None = None,
    screenshot: Path | str | None = None,
    panel: Callable[[], None] | None = None,
) -> None:
    """Open a window on a scene and return when it is closed. To be called by the main thread.

    Args:
        scene: a scene in memory, or a ``.knf`` file.
        settings: what is switched on at the start.
        size: width and height of the window.
        output_folder: where screenshots, camera paths and videos go.
        exit_after: seconds after the first picture; None: when the user closes the window.
        screenshot: where to save a PNG of the window when it closes.
        panel: draws a section of the caller's own in the side panel, with ImGui, once for each frame of the window.

    Raises:
        DisplayError: there is no display, or no OpenGL 3.3.
        KiloNeRFError: the file cannot be loaded, or no picture of the scene can be made.
    """
    loader = SceneLoader()
    if isinstance(scene, Scene):
        loader.give(LoadedScene(Path("scene.knf"), scene))
    else:
        loader.load(Path(scene))
    try:
        from .app import ViewerApp
        from .scripted_run import ScriptedRun
    except ImportError as error:  # moderngl and glfw load system libraries
        raise DisplayError(f"a library for the window cannot be loaded: {error}") from error
    app = ViewerApp(settings or ViewerSettings(), size, Path(output_folder), loader)
    if panel is not None:
        app.sections.append(panel)
    try:
        ScriptedRun(app, exit_after, None if screenshot is None else Path(screenshot)).run()
    finally:
        app.close()
