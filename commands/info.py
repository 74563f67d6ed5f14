"""``kilonerf-info``: what a ``.knf`` file or a data set holds, and what this machine can render with."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kilonerf.model_io import UsageError
from kilonerf.model_io.datasets.summary import dataset_rows, describe_dataset, is_dataset
from kilonerf.model_io.scene.facts import describe, fact_rows, index_facts
from kilonerf.model_io.streaming.address import Location

from .command_line import read_scene_and_index, run_command
from .dataset_plan import training_plan, write_plan_picture

PROGRAM = "kilonerf-info"
Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class InfoOptions:
    """Say what a .knf scene holds (sizes, grids, networks, sampling, where it comes from), or what this machine has."""

    # The .knf file, or its URL; or a data set (a folder, a transforms.json), to see what training would do with it.
    scene: Annotated[Location | None, tyro.conf.Positional, tyro.conf.arg(metavar="SCENE|URL|DATASET")] = None
    # Draw a plan of a data set, its cameras, sparse points and box from above, into this PNG.
    picture: Annotated[Path | None, tyro.conf.arg(metavar="PLAN.png")] = None
    # Say what this machine has: processor, instruction sets, code paths of the cpu backend, CUDA.
    machine: tyro.conf.FlagCreatePairsOff[bool] = False
    # Print one JSON object in place of a table.
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def main() -> None:
    """Entry point of ``kilonerf-info``."""
    run_command(PROGRAM, InfoOptions, run)


def run(options: InfoOptions) -> None:
    """Print what was asked for: the scene's or the data set's facts, the machine's, or both.

    Raises:
        UsageError: neither was asked for.
        SceneError: the file cannot be read.
        DatasetError: the data set cannot be read.
    """
    if options.scene is None and not options.machine:
        raise UsageError(f"expected a SCENE or --machine (see {PROGRAM} --help)")
    folder = options.scene if isinstance(options.scene, Path) and is_dataset(options.scene) else None
    if options.picture is not None and folder is None:
        raise UsageError("--picture: expected a data set to draw, got none")
    facts: dict[str, Any] = {}
    tables: list[tuple[str, Rows]] = []
    if folder is not None and folder.suffix.lower() != ".knf":
        facts |= describe_dataset(folder)
        rows = dataset_rows(facts)
        planned, plan = training_plan(folder, facts)
        facts |= planned
        tables.append((str(folder), rows + plan))
        if options.picture is not None:
            write_plan_picture(folder, facts, options.picture)
    elif options.scene is not None:
        scene, index = read_scene_and_index(options.scene)
        facts |= describe(scene) | index_facts(str(options.scene), index)
        tables.append((str(options.scene), fact_rows(scene, facts)))
    if options.machine:
        machine, rows = _machine()
        facts["machine"] = machine
        tables.append(("this machine", rows))
    if options.json:
        print(json.dumps(facts, indent=2, allow_nan=False))
    else:
        for title, rows in tables:
            _print_table(title, rows)


def _machine() -> tuple[dict[str, Any], Rows]:
    # A scene's facts need neither kernels nor CuPy.
    from kilonerf.kernels.measure.machine import available_backends, this_machine

    machine, backends = this_machine(), available_backends()
    paths = [f"{path.name} ({path.precision})" for path in backends.cpu_paths]
    rows = [
        ("processor", machine.cpu),
        ("usable cores", str(machine.cores)),
        ("instruction sets", ", ".join(machine.flags) or "unknown"),
        ("CPU code paths", ", ".join(paths) or str(backends.cpu_obstacle)),
        ("CUDA", backends.cuda_device or str(backends.cuda_obstacle).removeprefix("backend 'cuda': ")),
        ("auto takes", backends.taken or "nothing: no backend can run"),
        ("system", f"{machine.os}, Python {machine.python}"),
    ]
    return dataclasses.asdict(machine) | dataclasses.asdict(backends) | {"taken": backends.taken}, rows


def _print_table(title: str, rows: Rows) -> None:
    table = Table(title=Text(title), title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, text in rows:
        table.add_row(Text(name), Text(text))  # Text: what a file says is never taken as markup
    Console(highlight=False).print(table)
