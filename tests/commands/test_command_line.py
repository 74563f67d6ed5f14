"""Wrong use of any command is one line on standard error and exit code 2; help is help."""

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
import tyro

from kilonerf.commands.command_line import run_command
from kilonerf.model_io.errors import SceneError


@dataclass
class Options:
    """Do something."""

    # What to do it to.
    thing: tyro.conf.Positional[str]
    # How near, in metres, with a help text that is so long that it takes more than one line of any terminal.
    near: float | None = None
    # The way.
    way: Annotated[Literal["this", "that"], tyro.conf.arg(aliases=["-w"])] = "this"


def wrong_use(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", ["kilonerf-test", *arguments])
    with pytest.raises(SystemExit) as end:
        run_command("kilonerf-test", Options, lambda options: pytest.fail(f"ran with {options}"))
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    line, rest = err.split("\n", 1)
    assert rest == ""
    assert line.startswith("kilonerf-test: error: ")
    assert line.endswith("(see kilonerf-test --help)")
    return line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "missing: STR"),
        (["a", "--nearr", "1"], "--nearr"),
        (["a", "--near", "soon"], "could not convert string to float: 'soon'"),
        (["a", "--way", "other"], "'other'"),
        (["a", "--way"], "--way"),
        (["a", "b"], "b"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected.lower() in wrong_use(arguments, monkeypatch, capsys).lower()


def test_help_goes_to_standard_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["kilonerf-test", "--help"])
    with pytest.raises(SystemExit) as end:
        run_command("kilonerf-test", Options, lambda options: None)
    assert not end.value.code
    assert "How near" in capsys.readouterr().out


def test_errors_of_the_library_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(options: Options) -> None:
        raise SceneError(f"{options.thing}: expected\nsomething,   got nothing")

    monkeypatch.setattr("sys.argv", ["kilonerf-test", "a.knf"])
    with pytest.raises(SystemExit) as end:
        run_command("kilonerf-test", Options, run)
    assert end.value.code == 2
    assert capsys.readouterr().err == "kilonerf-test: error: a.knf: expected something, got nothing\n"
