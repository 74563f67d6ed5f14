"""Measure the CPU renderer and refresh docs/performance.md: python -m benchmarks.performance.

Sections run one after the other; after each, the results are written to benchmarks/results/performance-MACHINE.json.
What a section cannot do here is written down and the next one goes on. At the end the tables of docs/performance.md are
regenerated from the results of all machines, and the pictures in docs/images/. Some minutes; close other programs.
"""

import argparse
import dataclasses
import datetime
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from kilonerf.kernels.cpu.renderer import usable_cores
from kilonerf.kernels.measure.machine import program_commit, this_machine
from kilonerf.model_io import KiloNeRFError, load_kilonerf_scene
from kilonerf.model_io.files.atomic import write_text

from .measure import SectionSkipped, Setup
from .plot import draw
from .sections import SECTIONS
from .tables import file_name, update_page

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "benchmarks" / "results"
PAGE = REPOSITORY / "docs" / "performance.md"
IMAGES = REPOSITORY / "docs" / "images"
Section = Callable[[Setup], dict[str, Any]]


def main() -> None:
    """Run the sections, then write the page."""
    options = parse_options()
    try:
        failed = [] if options.page_only else measure(options)
        if not options.no_page:
            write_page(PAGE)
    except KiloNeRFError as error:
        print(f"performance: error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(1 if failed else 0)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="performance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scene", type=Path, default=REPOSITORY / "assets" / "chair.knf", help="a .knf file")
    parser.add_argument("--output", type=Path, help="the JSON file (default: benchmarks/results/performance-MACHINE)")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=f"some of {', '.join(SECTIONS)}")
    parser.add_argument("--resume", action="store_true", help="leave out sections that this commit has done already")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="threads of a frame (default: all cores)")
    parser.add_argument("--views", type=int, default=5, help="poses (default: 5)")
    parser.add_argument("--rounds", type=int, default=7, help="frames of each that count (default: 7)")
    parser.add_argument("--no-page", action="store_true", help="measure only; leave docs/ as it is")
    parser.add_argument("--page-only", action="store_true", help="measure nothing; make the page from the results")
    options = parser.parse_args()
    for name, highest in (("threads", 1024), ("views", 1000), ("rounds", 1000)):
        if not 1 <= getattr(options, name) <= highest:
            parser.error(f"--{name}: expected 1 to {highest}, got {getattr(options, name)}")
    return options


def measure(options: argparse.Namespace) -> list[str]:
    """Run what was asked for; returns the sections that failed.

    Raises:
        KiloNeRFError: the scene cannot be read, or the results not be written.
    """
    scene = load_kilonerf_scene(options.scene)
    machine = machine_facts()
    output = options.output or RESULTS / f"{file_name(machine)}.json"
    document = {"machine": machine, "sections": read_sections(output, machine)}
    chosen = {name: SECTIONS[name] for name in options.only or SECTIONS}
    commit = program_commit()
    if options.resume:
        chosen = {name: run for name, run in chosen.items() if not is_done(document["sections"].get(name), commit)}
    print(f"performance: {machine['cpu']}, {options.threads} threads, results in {output}", flush=True)

    def save() -> None:
        write_text(output, json.dumps(document, indent=2, allow_nan=False) + "\n")

    setup = Setup(options.scene, scene, options.threads, options.views, options.rounds)
    return run_sections(document["sections"], chosen, setup, commit, save)


def machine_facts() -> dict[str, Any]:
    """This machine as it stands in a file of results."""
    facts = dataclasses.asdict(this_machine())
    return {**facts, "flags": list(facts["flags"])}


def read_sections(output: Path, machine: Mapping[str, Any]) -> dict[str, Any]:
    """The sections in a file of results, so that one can be measured again alone; none if it is of another machine."""
    try:
        document = json.loads(output.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet
        return {}
    same = all(document["machine"][name] == machine[name] for name in ("cpu", "cores", "flags"))
    return dict(document["sections"]) if same else {}


def is_done(section: Mapping[str, Any] | None, commit: str) -> bool:
    """Whether the program of this commit measured the section (results are files that change the checkout)."""
    if section is None or section["status"] != "done":
        return False
    return section["commit"].removesuffix("-dirty") == commit.removesuffix("-dirty")


def run_sections(
    results: dict[str, Any],
    sections: Mapping[str, Section],
    setup: Setup,
    commit: str,
    save: Callable[[], None],
) -> list[str]:
    """Run each section into ``results``, saving after each; returns the names of those that failed."""
    failed = []
    console = Console(stderr=True)
    for name, run in sections.items():
        began = time.perf_counter()
        made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        about = {"commit": commit, "made": made}
        with console.status(f"{name}") as status:
            counter = _Counter(lambda count, name=name: status.update(f"{name}: {count} measurements"))
            try:
                results[name] = {"status": "done", **about, **run(dataclasses.replace(setup, progress=counter.step))}
            except SectionSkipped as reason:
                results[name] = {"status": "skipped", **about, "reason": str(reason)}
            except Exception as error:  # one section's failure is a result; the others go on
                text = " ".join(f"{type(error).__name__}: {error}".split())
                results[name] = {"status": "failed", **about, "reason": text[:500]}
                failed.append(name)
        results[name]["seconds"] = round(time.perf_counter() - began, 1)
        save()
        reason = f": {results[name]['reason']}" if "reason" in results[name] else ""
        print(f"  {name}: {results[name]['status']} ({results[name]['seconds']} s){reason}", flush=True)
    return failed


class _Counter:
    def __init__(self, show: Callable[[int], None]) -> None:
        self._count, self._show = 0, show

    def step(self) -> None:
        self._count += 1
        self._show(self._count)


def write_page(page: Path) -> None:
    """Regenerate the page's tables from all results, and the pictures where matplotlib is installed.

    Raises:
        KiloNeRFError: the page has unknown markers or cannot be written.
    """
    documents = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("performance-*.json"))}
    write_text(page, update_page(page.read_text(encoding="utf-8"), list(documents.values())))
    print(f"performance: {page}")
    try:
        for name, document in documents.items():
            draw(document, IMAGES / f"{name}.svg")
            print(f"performance: {IMAGES / name}.svg")
    except ImportError as error:
        print(f"performance: no picture: {error}: pip install 'kilonerf-view[bench]'", file=sys.stderr)


if __name__ == "__main__":
    main()
