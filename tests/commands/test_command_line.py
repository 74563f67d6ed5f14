"""Wrong use of any command is one line on standard error and exit code 2; help is help."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from kilonerf.commands.command_line import report_unforeseen, run_command
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
    out = capsys.readouterr().out
    assert "How near" in out
    assert "--near FLOAT" in out  # not {None}|FLOAT: nobody types None
    assert "(default: none)" in out


@pytest.mark.parametrize(("arguments", "near"), [([], None), (["--near", "2.5"], 2.5)])
def test_what_may_be_left_out(arguments: list[str], near: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["kilonerf-test", "a", *arguments])
    got: list[Options] = []
    run_command("kilonerf-test", Options, got.append)
    assert got == [Options("a", near)]


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


def test_what_nobody_foresaw_is_one_line_and_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run(options: Options) -> None:
        raise IndexError(f"of\n{options.thing}")

    monkeypatch.setattr("sys.argv", ["kilonerf-test", "this"])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as end:
        run_command("kilonerf-test", Options, run)
    assert end.value.code == 1
    line, rest = capsys.readouterr().err.split("\n", 1)
    assert rest == ""
    (log,) = tmp_path.iterdir()
    assert line.startswith("kilonerf-test: error: a fault of this program (IndexError: of this): ")
    assert str(log) in line
    assert "report it" in line
    written = log.read_text()
    assert "Traceback" in written
    assert "'this'" in written
    assert "Python" in written


def test_a_log_that_cannot_be_written_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert report_unforeseen("kilonerf-test", ValueError("why")) == 1
    assert "no log could be written" in capsys.readouterr().err


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(options: Options) -> None:
        raise MemoryError

    monkeypatch.setattr("sys.argv", ["kilonerf-test", "this"])
    with pytest.raises(SystemExit) as end:
        run_command("kilonerf-test", Options, run)
    assert end.value.code == 2
    assert capsys.readouterr().err == "kilonerf-test: error: not enough memory for this\n"
