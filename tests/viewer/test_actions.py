"""The table of commands: complete, free of clashes, and what README says of it."""

from collections import Counter
from itertools import zip_longest
from pathlib import Path
from types import SimpleNamespace

from imgui_bundle import imgui

from kilonerf.viewer.actions import COMMANDS, HELP, KEY_TABLE, SCREENSHOT, bindings
from kilonerf.viewer.camera import input as view_input

README = Path(__file__).resolve().parents[2] / "README.md"


class Told:
    """A program that notes what it was asked to do."""

    def __init__(self):
        self.calls = []

    @property
    def orientation(self):
        return self

    @property
    def compare(self):
        return self

    @property
    def camera_path(self):
        return SimpleNamespace(shown=False)

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append(name)


def test_each_key_does_one_thing():
    counted = Counter(key for command in COMMANDS for key in command.keys)
    assert set(counted.values()) == {1}
    steering = {*view_input.FORWARD, *view_input.BACK, *view_input.LEFT, *view_input.RIGHT}
    steering |= {*view_input.UP, *view_input.DOWN, imgui.Key.f}
    assert not steering & set(counted)


def test_every_command_asks_the_program_for_something_of_its_own():
    told = Told()
    bound = bindings(told)  # type: ignore[arg-type]
    for command in COMMANDS:
        told.calls.clear()
        for key in command.keys:
            bound[key]()
        assert len(set(told.calls)) == 1
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)
    assert (SCREENSHOT.tooltip("Save it"), HELP.shown) == ("Save it (F12)", "H, F1")
    assert (SCREENSHOT.first_key, HELP.first_key) == ("F12", "H")


def test_readme_has_this_table():
    groups = [[title, ""] for title, _ in KEY_TABLE]
    lines = ["| " + " | ".join(cell for group in groups for cell in group) + " |", "|---|---|---|---|---|---|"]
    for rows in zip_longest(*(rows for _, rows in KEY_TABLE), fillvalue=("", "")):
        lines.append("| " + " | ".join(cell for row in rows for cell in row) + " |")
    assert "\n".join(lines) in README.read_text(), "README's keys: expected\n" + "\n".join(lines)


def test_the_timeline_takes_the_keys_that_step_through_photos():
    told = Told()
    told.__class__ = type("Editing", (Told,), {"camera_path": SimpleNamespace(shown=True)})
    bound = bindings(told)  # type: ignore[arg-type]
    bound[imgui.Key.comma]()
    bound[imgui.Key.period]()
    assert told.calls == []
