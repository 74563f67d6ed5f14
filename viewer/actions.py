"""What can be done in the window: one table for keys, the help page, tooltips, panels and the README."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imgui_bundle import imgui


class Program(Protocol):
    """What commands and panels may ask the program to do."""

    def reset_camera(self) -> None:
        """Back to the scene's start camera."""
        ...

    def toggle_turntable(self) -> None:
        """Start or stop the turntable."""
        ...

    def toggle_recording(self) -> None:
        """Begin to record the flight, or end it and render the video."""
        ...

    def abort_video(self) -> None:
        """Stop rendering the video."""
        ...

    def take_screenshot(self) -> None:
        """Save the picture at full size."""
        ...

    def browse(self) -> None:
        """Open the file dialog."""
        ...

    def choose_folder(self) -> None:
        """Open the file dialog to choose where flights and screenshots go."""
        ...

    def open_scene(self, path: Path) -> None:
        """Load a scene in the background."""
        ...

    def toggle_timeline(self) -> None:
        """Show or hide the timeline of the camera path."""
        ...

    def add_key(self) -> None:
        """Add a key of the current view to the camera path."""
        ...

    def play_path(self) -> None:
        """Play the camera path, or stop."""
        ...

    def toggle_panel(self) -> None:
        """Hide or show the side panel."""
        ...

    def toggle_help(self) -> None:
        """Hide or show the list of keys."""
        ...

    def cancel(self) -> None:
        """Close the list of keys; give up a screenshot that is being rendered."""
        ...


@dataclass(frozen=True)
class Command:
    """Something that a single key does.

    Attributes:
        name: for programs.
        keys: any of them runs it; held, it runs once.
        shown: the keys as people read them.
        help: what it does, in a few words.
        run: does it.
    """

    name: str
    keys: tuple[imgui.Key, ...]
    shown: str
    help: str
    run: Callable[[Program], None]

    @property
    def first_key(self) -> str:
        """The first of the keys, as people read it."""
        return self.shown.partition(",")[0]

    def tooltip(self, text: str) -> str:
        """``text`` for a control that does the same, with the key."""
        return f"{text} ({self.shown})"


RESET = Command("reset", (imgui.Key.r,), "R", "reset the camera", lambda program: program.reset_camera())
TURNTABLE = Command("turntable", (imgui.Key.t,), "T", "turntable", lambda program: program.toggle_turntable())
RECORD = Command("record", (imgui.Key.f9,), "F9", "record a flight / stop", lambda program: program.toggle_recording())
SCREENSHOT = Command("screenshot", (imgui.Key.f12,), "F12", "screenshot", lambda program: program.take_screenshot())
TIMELINE = Command("timeline", (imgui.Key.j,), "J", "camera path: timeline", lambda program: program.toggle_timeline())
ADD_KEY = Command("add key", (imgui.Key.k,), "K", "camera path: add a key", lambda program: program.add_key())
PLAY = Command("play", (imgui.Key.l,), "L", "camera path: play / stop", lambda program: program.play_path())
OPEN = Command("open", (imgui.Key.o,), "O", "open a scene or a path (or drop it)", lambda program: program.browse())
PANEL = Command("panel", (imgui.Key.tab,), "Tab", "hide or show the panel", lambda program: program.toggle_panel())
HELP = Command("help", (imgui.Key.h, imgui.Key.f1), "H, F1", "this list", lambda program: program.toggle_help())
CANCEL = Command("cancel", (imgui.Key.escape,), "Esc", "close what is open", lambda program: program.cancel())

COMMANDS = (RESET, TURNTABLE, RECORD, SCREENSHOT, TIMELINE, ADD_KEY, PLAY, OPEN, PANEL, HELP, CANCEL)

Row = tuple[str, str]  # keys or mouse, and what they do

ORBIT: tuple[Row, ...] = (
    ("Left drag", "turn around the target"),
    ("Right or middle drag", "move the target"),
    ("Wheel", "zoom towards the cursor"),
    ("Double click, F", "focus on the point under the cursor"),
)
FLY: tuple[Row, ...] = (
    ("W A S D, arrows", "forward, left, back, right"),
    ("E, Space / Q, C", "up / down"),
    ("Left drag", "look around"),
    ("Shift / Alt", "fast / slow"),
    ("Wheel", "change the speed"),
)
KEY_TABLE: tuple[tuple[str, tuple[Row, ...]], ...] = (
    ("Orbit", ORBIT),
    ("Fly", FLY),
    ("Program", tuple((command.shown, command.help) for command in COMMANDS)),
)
"""Everything that keys and mouse do, by group; the mouse and held keys are read by ``camera/input.py``."""


def bindings(program: Program) -> dict[imgui.Key, Callable[[], None]]:
    """What each key of :data:`COMMANDS` does to ``program``."""
    return {key: (lambda command=command: command.run(program)) for command in COMMANDS for key in command.keys}
