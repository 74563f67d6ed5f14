"""What can be done in the window: one table for keys, the help page, tooltips, panels and the README."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from imgui_bundle import imgui

from kilonerf.model_io.streaming.address import Location

if TYPE_CHECKING:
    from .camera_path.tool import CameraPathTool
    from .compare.tool import CompareTool
    from .inspection.detail import LevelOfDetail
    from .making.tool import SceneMaking
    from .orientation.orientation import Orientation


class Program(Protocol):
    """What commands and panels may ask the program to do."""

    @property
    def orientation(self) -> "Orientation":
        """What brings the user to other places."""
        ...

    @property
    def camera_path(self) -> "CameraPathTool":
        """The path that is edited."""
        ...

    @property
    def compare(self) -> "CompareTool":
        """What the picture is compared with."""
        ...

    @property
    def detail(self) -> "LevelOfDetail":
        """At which level of detail an octree field is shown."""
        ...

    @property
    def making(self) -> "SceneMaking":
        """Imports checkpoints and trains data sets."""
        ...

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

    def open_scene(self, path: Location) -> None:
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
        group: "program", or "place" where it brings the camera somewhere.
    """

    name: str
    keys: tuple[imgui.Key, ...]
    shown: str
    help: str
    run: Callable[[Program], None]
    group: str = "program"

    @property
    def first_key(self) -> str:
        """The first of the keys, as people read it."""
        return self.shown.partition(",")[0]

    def tooltip(self, text: str) -> str:
        """``text`` for a control that does the same, with the key."""
        return f"{text} ({self.shown})"


RESET = Command("reset", (imgui.Key.r,), "R", "reset the camera", lambda program: program.reset_camera(), "place")
TURNTABLE = Command("turntable", (imgui.Key.t,), "T", "turntable", lambda program: program.toggle_turntable())
RECORD = Command("record", (imgui.Key.f9,), "F9", "record a flight / stop", lambda program: program.toggle_recording())
SCREENSHOT = Command("screenshot", (imgui.Key.f12,), "F12", "screenshot", lambda program: program.take_screenshot())
TIMELINE = Command("timeline", (imgui.Key.j,), "J", "camera path: timeline", lambda program: program.toggle_timeline())
ADD_KEY = Command("add key", (imgui.Key.k,), "K", "camera path: add a key", lambda program: program.add_key())
PLAY = Command("play", (imgui.Key.l,), "L", "camera path: play / stop", lambda program: program.play_path())
OPEN = Command("open", (imgui.Key.o,), "O", "open a scene or a path (or drop it)", lambda program: program.browse())
PANEL = Command("panel", (imgui.Key.tab,), "Tab", "hide or show the panel", lambda program: program.toggle_panel())
HELP = Command("help", (imgui.Key.h, imgui.Key.f1), "H, F1", "this list", lambda program: program.toggle_help())


def _step_photo(program: Program, direction: int) -> None:
    if not program.camera_path.shown:  # the timeline steps through its keys
        program.orientation.step_photo(direction)


BACK = Command("back", (imgui.Key.z,), "Z", "back from a jump", lambda program: program.orientation.go_back(), "place")
PREVIOUS_PHOTO = Command(
    "previous photo",
    (imgui.Key.comma,),
    ",",
    "previous photo's camera",
    lambda program: _step_photo(program, -1),
    "place",
)
NEXT_PHOTO = Command(
    "next photo",
    (imgui.Key.period,),
    ".",
    "next photo's camera",
    lambda program: _step_photo(program, 1),
    "place",
)
CAMERAS = Command(
    "cameras",
    (imgui.Key.v,),
    "V",
    "cameras of the photos",
    lambda program: program.orientation.toggle_cameras(),
)
GROUND = Command(
    "ground", (imgui.Key.g,), "G", "ground grid and axes", lambda program: program.orientation.toggle_ground()
)
COMPARE = Command("compare", (imgui.Key.b,), "B", "compare", lambda program: program.compare.toggle())
SWAP = Command("swap", (imgui.Key.x,), "X", "compare: A or B everywhere", lambda program: program.compare.swap())
CANCEL = Command("cancel", (imgui.Key.escape,), "Esc", "close what is open", lambda program: program.cancel())

COMMANDS = (
    *(RESET, BACK, TURNTABLE, PREVIOUS_PHOTO, NEXT_PHOTO, CAMERAS, GROUND),
    *(COMPARE, SWAP, RECORD, SCREENSHOT, TIMELINE, ADD_KEY, PLAY, OPEN, PANEL, HELP, CANCEL),
)

COPY = Command(
    "copy view",
    (imgui.Key.c,),
    "Ctrl + C",
    "copy the view as JSON",
    lambda program: program.orientation.copy_view(),
)
PASTE = Command(
    "paste view", (imgui.Key.v,), "Ctrl + V", "go to a copied view", lambda program: program.orientation.paste_view()
)
CONTROL_COMMANDS = (COPY, PASTE)
"""With the Ctrl key."""
DIGITS = {digit: imgui.Key(imgui.Key._0.value + digit) for digit in range(1, 10)}
"""Keys of the bookmarks; with Ctrl they set them."""

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
PLACES: tuple[Row, ...] = (
    *((command.shown, command.help) for command in (RESET, BACK)),
    ("1 ... 9", "go to a bookmark"),
    ("Ctrl + 1 ... 9", "set a bookmark"),
    *((command.shown, command.help) for command in (PREVIOUS_PHOTO, NEXT_PHOTO, *CONTROL_COMMANDS)),
)
KEY_TABLE: tuple[tuple[str, tuple[Row, ...]], ...] = (
    ("Orbit, places", (*ORBIT, *PLACES)),
    ("Fly", FLY),
    ("Program", tuple((command.shown, command.help) for command in COMMANDS if command.group == "program")),
)
"""Everything that keys and mouse do, by group; the mouse and held keys are read by ``camera/input.py``."""


def bindings(program: Program) -> dict[imgui.Key, Callable[[], None]]:
    """What each key of :data:`COMMANDS`, and each digit, does to ``program``."""
    digits = {key: (lambda digit=digit: program.orientation.go_to_bookmark(digit)) for digit, key in DIGITS.items()}
    return digits | _bound(COMMANDS, program)


def control_bindings(program: Program) -> dict[imgui.Key, Callable[[], None]]:
    """The same with the Ctrl key."""
    digits = {key: (lambda digit=digit: program.orientation.set_bookmark(digit)) for digit, key in DIGITS.items()}
    return digits | _bound(CONTROL_COMMANDS, program)


def _bound(commands: Iterable[Command], program: Program) -> dict[imgui.Key, Callable[[], None]]:
    return {key: (lambda command=command: command.run(program)) for command in commands for key in command.keys}
