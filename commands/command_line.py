"""What every command's ``main`` shares: tyro parses, errors become one line, exit codes are 0 and 2."""

import contextlib
import inspect
import io
import re
import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

from kilonerf.model_io.datasets import Dataset
from kilonerf.model_io.errors import DatasetError, KiloNeRFError, UsageError

Options = TypeVar("Options")


def run_command(
    program: str, options_class: type[Options], run: Callable[[Options], None], default: Options | None = None
) -> None:
    """Parse ``sys.argv`` into ``options_class`` (a dataclass whose comments are the help) and call ``run`` with it.

    What is not said is as in ``default``, if there is one, else as the class says.

    Exit codes: 0 good; 2 wrong use or bad input, with one line on standard error; 130 interrupted by the user.
    """
    try:
        run(parse(program, options_class, default))
    except KiloNeRFError as error:
        sys.exit(report(program, error))
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output (head, less) went away: nothing to say to anyone
        sys.stderr.close()
        sys.exit(0)


def parse(program: str, options_class: type[Options], default: Options | None = None) -> Options:
    """Parse ``sys.argv``.

    Raises:
        UsageError: wrong use: what tyro says in a box of several lines, in one.
        SystemExit: help was asked for and given.
    """
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            description = inspect.getdoc(options_class)
            if default is None:
                return tyro.cli(options_class, prog=program, description=description)
            return tyro.cli(options_class, prog=program, description=description, default=default)
    except SystemExit as end:
        if not end.code:
            raise
        raise UsageError(f"{_unboxed(box.getvalue())} (see {program} --help)") from end


def _unboxed(box: str) -> str:
    """The sentences of a box drawn by tyro, without its frame, its rule and the options' own help texts."""
    # The frame is of box-drawing characters, or of ASCII where the terminal has no others.
    lines = [line.strip("│|╭╮╰╯─ ").strip() for line in box.splitlines() if not re.match(r"[│|] {6,}\S", line)]
    lines = [re.sub(r"^\+-+ | -+\+$", "", line) for line in lines]
    title, *body = [line for line in lines if not re.fullmatch(r"[+-]*", line)] or ["wrong use"]
    said = [line for line in body if not line.startswith(("For full helptext", "kilonerf-"))]
    if said and said[0].startswith("Missing from"):
        return f"missing: {', '.join(said[1:])}"
    text = " ".join(said).split(" Argument helptext")[0]
    return (text if text.startswith(title) else f"{title}: {text}").replace("{None}|", "")


def print_notes(program: str, *datasets: Dataset | None) -> None:
    """Say on standard error what readers left out of data sets or changed in them, a line each."""
    for note in dict.fromkeys(note for dataset in datasets if dataset is not None for note in dataset.notes):
        print(f"{program}: note: {' '.join(note.split())}", file=sys.stderr)


def report(program: str, error: KiloNeRFError) -> int:
    """Print ``error`` on one line of standard error, below the faults of a data set; returns the exit code 2."""
    if isinstance(error, DatasetError) and error.faults:
        for fault in error.faults:
            print(f"{program}: {' '.join(fault.split())}", file=sys.stderr)
        error = KiloNeRFError(*error.args)
    print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2
