"""What every command's ``main`` shares: tyro parses, errors become one line, exit codes are 0, 1 and 2."""

import contextlib
import importlib.metadata
import inspect
import io
import json
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args

import tyro
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from kilonerf.model_io import Scene, StreamError, load_scene
from kilonerf.model_io.datasets import Dataset
from kilonerf.model_io.errors import DatasetError, KiloNeRFError, UsageError
from kilonerf.model_io.knf.safetensors_reader import TensorIndex, read_tensor_file
from kilonerf.model_io.streaming.address import Location, SceneUrl, parse_location

Options = TypeVar("Options")


def run_command(
    program: str, options_class: type[Options], run: Callable[[Options], None], default: Options | None = None
) -> None:
    """Parse ``sys.argv`` into ``options_class`` (a dataclass whose comments are the help) and call ``run`` with it.

    What is not said is as in ``default``, if there is one, else as the class says.

    Exit codes: 0 good; 1 a fault of the program, with one line that says where its log is; 2 wrong use or bad input,
    with one line on standard error; 130 interrupted by the user.
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
    except MemoryError:
        print(f"{program}: error: not enough memory for this", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        sys.exit(report_unforeseen(program, error))


_RULES = ConstructorRegistry()


@_RULES.primitive_rule
def _left_out_or_given(what: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """An option that may be None is left out or given as what else it can be: nobody types ``None``."""
    kinds = get_args(what.type) if what.type_origin in (Union, UnionType) else ()
    if len(kinds) != 2 or NoneType not in kinds:
        return None
    (kind,) = (kind for kind in kinds if kind is not NoneType)
    given = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kind, what.markers))
    if not isinstance(given, PrimitiveConstructorSpec):
        return None
    return replace(
        given,
        is_instance=lambda value: value is None or given.is_instance(value),
        str_from_instance=lambda value: ["none"] if value is None else given.str_from_instance(value),
    )


@_RULES.primitive_rule
def _file_or_url(what: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """A scene as a person types it."""
    kinds = set(get_args(what.type)) if what.type_origin in (Union, UnionType) else set()
    if kinds - {NoneType} != {Path, SceneUrl}:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="SCENE",
        instance_from_str=lambda words: parse_location(words[0]),
        is_instance=lambda value: isinstance(value, Path | SceneUrl) or (value is None and NoneType in kinds),
        str_from_instance=lambda location: ["none" if location is None else str(location)],
    )


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
                return tyro.cli(options_class, prog=program, description=description, registry=_RULES)
            return tyro.cli(options_class, prog=program, description=description, default=default, registry=_RULES)
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
    return text if text.startswith(title) else f"{title}: {text}"


def print_notes(program: str, *datasets: Dataset | None) -> None:
    """Say on standard error what readers left out of data sets or changed in them, a line each."""
    for note in dict.fromkeys(note for dataset in datasets if dataset is not None for note in dataset.notes):
        print(f"{program}: note: {' '.join(note.split())}", file=sys.stderr)


def read_scene(location: Location) -> Scene:
    """The scene of a file or, with a progress bar on a terminal, of a URL.

    Raises:
        SceneError: it is no scene.
        StreamError: it cannot be fetched as a whole.
    """
    return load_scene(location) if isinstance(location, Path) else _fetched(location)[0]


def read_scene_and_index(location: Location) -> tuple[Scene, TensorIndex]:
    """As :func:`read_scene`, and where its file has what.

    Raises:
        SceneError: it is no scene.
        StreamError: it cannot be fetched as a whole.
    """
    if isinstance(location, Path):
        return load_scene(location), read_tensor_file(location).index
    return _fetched(location)


def _fetched(location: SceneUrl) -> tuple[Scene, TensorIndex]:
    from kilonerf.model_io.streaming.stream import fetch_scene  # few need a network

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(location.name, total=None)
        part, download = fetch_scene(
            location, progress=lambda now: progress.update(bar, completed=now.done, total=now.total or None)
        )
    if not part.whole or download.index is None:
        raise StreamError(f"{location}: expected all of its {part.total:,} {part.unit}, got {part}: {download.note}")
    return part.scene, download.index


def parse_bytes(text: str, option: str = "--size") -> int:
    """Bytes of a size such as "1MB", "500 kB" or "1048576", as typed for ``option``.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*([a-zA-Z]*)", text.strip())
    if match is None or match[2].upper() not in _UNITS:
        raise UsageError(f"{option}: expected a size such as 1MB or 500kB, got {text!r}")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def print_event(event: str, **values: Any) -> None:
    """Print a JSON object on a line of its own, for a program that follows this one."""
    print(json.dumps({"event": event, **values}), flush=True)


def report(program: str, error: KiloNeRFError) -> int:
    """Print ``error`` on one line of standard error, below the faults of a data set; returns the exit code 2."""
    if isinstance(error, DatasetError) and error.faults:
        for fault in error.faults:
            print(f"{program}: {' '.join(fault.split())}", file=sys.stderr)
        error = KiloNeRFError(*error.args)
    print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def report_unforeseen(program: str, error: Exception) -> int:
    """Keep the traceback of what nobody foresaw in a log, say where it is in one line; returns the exit code 1."""
    what = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix=f"{program}-", suffix=".log", delete=False
        ) as log:
            log.write(f"{program} {importlib.metadata.version('kilonerf-view')}, {platform.platform()}, ")
            log.write(f"Python {platform.python_version()}\n{' '.join(map(repr, sys.argv))}\n\n")
            log.write("".join(traceback.format_exception(error)))
        where = f"its log is {log.name}; please report it with that file and the command (CONTRIBUTING.md)"
    except (OSError, importlib.metadata.PackageNotFoundError):
        where = "no log could be written; please report it with the command (CONTRIBUTING.md)"
    print(f"{program}: error: a fault of this program ({what}): {where}", file=sys.stderr)
    return 1


_LONGEST_REASON = 200
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
