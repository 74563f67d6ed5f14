"""Makes the pictures of the window in docs/images, of the scenes that come with the program.

scripts/virtual_screen.sh .venv/bin/python scripts/viewer_pictures.py [FOLDER [NAME ...]]
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PIL import Image

from kilonerf.model_io import load_scene
from kilonerf.viewer.app import ViewerApp
from kilonerf.viewer.scene_loading import LoadedScene, SceneLoader
from kilonerf.viewer.settings import ViewerSettings
from kilonerf.viewer.welcome import CHAIR as SMALL_CHAIR

ROOT = Path(__file__).resolve().parents[1]
CHAIR, GARDEN = ROOT / "assets" / "chair.knf", ROOT / "assets" / "garden.knf"
PATIENCE = 60.0  # seconds
QUIET_MS = {CHAIR: 60.0, SMALL_CHAIR: 60.0, GARDEN: 250.0}  # of a picture, at most, on two cores that do nothing else
TRIES = 25


def look_around(app: ViewerApp) -> None:
    """Grid of networks and box over the picture."""
    app.settings.overlays = replace(app.settings.overlays, network_grid=True, box=True)
    app.navigator.drag(0.12, 0.05)


def light(app: ViewerApp) -> None:
    """The light theme, with axes and ground."""
    app.settings.theme = "light"
    app.settings.overlays = replace(app.settings.overlays, axes=True, ground=True)


def depth(app: ViewerApp) -> None:
    """False colors."""
    app.settings.heat_map = "depth"


def timeline(app: ViewerApp) -> None:
    """A camera path of five keys, seen from the side."""
    for turn in range(5):
        app.add_key()
        app.navigator.drag(0.25, 0.02 * (turn - 2))
        wait(app)
    app.camera_path.following = False
    app.navigator.drag(-0.3, 0.15)
    app.navigator.wheel(-7.0, None)
    wait(app)


def garden(app: ViewerApp) -> None:
    """A capture, as it is opened."""


def welcome(app: ViewerApp) -> None:
    """What a start without a scene shows."""
    app.welcome.shown = True


PICTURES: dict[str, Callable[[ViewerApp], None]] = {
    "viewer": look_around,
    "viewer-light": light,
    "viewer-depth": depth,
    "viewer-timeline": timeline,
    "viewer-garden": garden,
    "viewer-welcome": welcome,
}
SCENES = {"viewer-garden": GARDEN, "viewer-welcome": SMALL_CHAIR}  # else the chair


def wait_for_quiet(app: ViewerApp, most: float) -> None:
    """Make the picture again while other programs take the processor: its time (ms) is part of what is shown."""
    for _ in range(TRIES):
        frame = app.statistics.frame
        if frame is None or frame.total_ms < most:
            return
        app.settings.ert_threshold = 0.01 + (1e-6 if app.settings.ert_threshold == 0.01 else 0.0)
        wait(app)


def wait(app: ViewerApp) -> None:
    """Until the picture is final."""
    end = time.monotonic() + PATIENCE
    for _ in range(3):
        app.step()
    while not app.settled:
        if time.monotonic() > end:
            raise TimeoutError("the picture is not final yet")
        app.step()


def main() -> None:
    """Make all of them."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or PICTURES:
        prepare = PICTURES[name]
        with tempfile.TemporaryDirectory() as state:
            os.environ["XDG_STATE_HOME"] = state
            scene = SCENES.get(name, CHAIR)
            loader = SceneLoader()
            loader.give(LoadedScene(scene, load_scene(scene)))
            app = ViewerApp(ViewerSettings(rest_samples=1), (1280, 800), Path(state), loader)
            try:
                wait(app)
                prepare(app)
                wait(app)
                wait_for_quiet(app, QUIET_MS[scene])
                app.settings.rest_samples = ViewerSettings().rest_samples
                wait(app)
                app.window.capture_next_frame()
                app.step()
                Image.fromarray(app.window.take_capture()).save(folder / f"{name}.webp", quality=88, method=6)
            finally:
                app.close()


if __name__ == "__main__":
    main()
