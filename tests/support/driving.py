"""Drives the real program in a real window: xdotool moves mouse and keys, the test steps the loop."""

import ctypes
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kilonerf.viewer.app import ViewerApp
from kilonerf.viewer.scene_loading import LoadedScene, SceneLoader
from kilonerf.viewer.settings import ViewerSettings
from kilonerf.viewer.window import glfw  # as the program imported it: after imgui_bundle
from support.imgui_frames import open_sections

PATIENCE = 60.0  # seconds: only a hang takes so long


def wait_for(take: Callable[[], LoadedScene | None]) -> LoadedScene:
    """What a loader has, as soon as it has something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        outcome = take()
        if outcome is not None:
            return outcome
        time.sleep(0.005)
    raise AssertionError("nothing came")


class Driver:
    """One running program."""

    def __init__(self, folder, scene=None, size=(900, 940), settings=None, loader=None, **arguments):
        self.settings = settings or ViewerSettings()
        self.settings.show_cube = False  # it would lie over pictures that are compared
        self.settings.rest_samples = 1  # likewise: with those of a renderer
        self.settings.backdrop = False  # pictures are compared with what has the scene's own background
        loader = loader or SceneLoader()
        if scene is not None:
            loader.give(LoadedScene(Path("given.knf"), scene))
        self.app = ViewerApp(self.settings, size, folder, loader, **arguments)
        open_sections()
        self.id = None

    def __enter__(self):
        self.until(lambda: self.app.settled)
        found = subprocess.run(
            ["xdotool", "search", "--onlyvisible", "--class", "kilonerf-view"],
            capture_output=True,
            text=True,
            check=True,
        )
        self.id = found.stdout.split()[0]
        self.xdotool("windowfocus", self.id)
        return self

    def __exit__(self, *_):
        self.app.close()

    def xdotool(self, *arguments):
        subprocess.run(["xdotool", *map(str, arguments)], check=True, capture_output=True)

    def steps(self, count):
        for _ in range(count):
            self.app.step()

    def until(self, condition):
        """Step until ``condition`` holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "the program never got there"
            self.app.step()

    def move(self, x, y):
        self.xdotool("mousemove", "--window", self.id, x, y)
        self.steps(3)

    def click(self, x, y, button=1):
        self.move(x, y)
        self.xdotool("mousedown", button)
        self.steps(3)
        self.xdotool("mouseup", button)
        self.steps(3)

    def drag(self, start, end, button=1, parts=6):
        self.move(*start)
        self.xdotool("mousedown", button)
        self.steps(3)
        for part in range(1, parts + 1):
            self.move(*(round(a + (b - a) * part / parts) for a, b in zip(start, end, strict=True)))
        self.xdotool("mouseup", button)
        self.steps(3)

    def press(self, key):
        self.xdotool("keydown", key)
        self.steps(3)
        self.xdotool("keyup", key)
        self.steps(3)

    def pixels(self):
        """The whole window, uint8 [H, W, 3]."""
        self.app.window.capture_next_frame()
        self.app.step()
        return self.app.window.take_capture()

    def picture(self):
        """The picture's part of the window, as floats."""
        shown = self.app.view.shown
        assert shown is not None
        camera = shown.request.shot.camera
        return self.pixels()[: camera.height, : camera.width].astype(float)

    def settle(self):
        """Let what was asked for take effect, and its picture become final."""
        self.steps(2)
        self.until(lambda: self.app.settled)

    def drop_files(self, *paths):
        """Call what is registered with GLFW for dropped files, as its X11 code does: a C function, C strings."""
        module: Any = glfw  # the C library hangs on it without being part of its interface
        native, handle = module._glfw, self.app.window._handle
        names = [str(path).encode() for path in paths]
        registered = native.glfwSetDropCallback(handle, module._GLFWdropfun(0))
        native.glfwSetDropCallback(handle, registered)
        registered(handle, len(names), (ctypes.c_char_p * len(names))(*names))
