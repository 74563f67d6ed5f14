"""All that only a machine with an NVIDIA GPU can tell, in three commands of less than ten minutes each.

``benchmarks/gpu_check.sh --part tests``, then ``times``, then ``profile --again``. Every section runs in a process of
its own; what one of them cannot do is written down, and the next one goes on. The results are a JSON file, written
after every section and continued by the next part, and a table of at most 30 lines, printed last, also after SIGTERM.

This module and those that it imports need nothing but Python: the first section finds or unpacks the rest.
"""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .provision import KIT, REPOSITORY, search_path
from .runner import Plan, Stopped, run_plans, stoppable
from .sections import FIRST, PARTS, all_sections
from .table import table

SECONDS = 540.0  # in all


def main() -> None:
    """Run the sections, write the results, print the table."""
    began = time.perf_counter()
    options = parse_options()
    try:
        with stoppable():
            first = run_first(options)
            found = first["environment"]
            device = {key: value for key, value in found.items() if key not in ("status", "headlines", "seconds")}
            output = options.output or default_output(device["name"])
            document = begin_document(output, options.commit or program_commit(), device)
            names = chosen(options, document["sections"])
            document["sections"].update(first)
            print(f"gpu_check: {device['name']}, results in {output}", flush=True)
            try:
                left = options.seconds - (time.perf_counter() - began)
                plans = [plan_of(name, options) for name in names]
                run_plans(plans, document["sections"], lambda: save(document, output), left, REPOSITORY, say)
            finally:
                print(table(document, [*FIRST, *names]), flush=True)
    except Stopped:
        print("gpu_check: stopped", file=sys.stderr)
        sys.exit(1)
    sys.exit(exit_code([document["sections"][name] for name in names]))


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="gpu_check", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=PARTS, help="the sections of one part (default: all parts)")
    parser.add_argument("--only", nargs="+", metavar="SECTION", choices=list(all_sections()), help="these sections")
    parser.add_argument("--again", action="store_true", help="also those that are not done in the results so far")
    parser.add_argument("--scene", type=Path, default=REPOSITORY / "assets" / "chair.knf", help="a .knf file")
    parser.add_argument("--output", type=Path, help="the JSON file (default: benchmarks/results/gpu-NAME.json)")
    parser.add_argument("--device", type=int, help="which CUDA device (default: the first)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for everything; later sections are left out")
    parser.add_argument("--commit", help="of the program, where no .git tells it")
    return parser.parse_args()


def run_first(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Set-up and device; without one the program ends with one line and exit code 2."""
    first: dict[str, dict[str, Any]] = {}
    plans = [plan_of(name, options) for name in FIRST]
    run_plans(plans, first, lambda: None, options.seconds, REPOSITORY, lambda line: None)
    if first["environment"]["status"] != "done":
        told = [first["environment"].get("reason", "no device")]
        told += [f"set-up: {first['set-up'].get('reason')}"] if first["set-up"]["status"] != "done" else []
        print(f"gpu_check: {'; '.join(told)}", file=sys.stderr)
        sys.exit(2)
    return first


def say(line: str) -> None:
    """Print at once: whoever waits sees how far it is."""
    print(line, flush=True)


def chosen(options: argparse.Namespace, before: dict[str, dict[str, Any]]) -> list[str]:
    """The sections to run after the first ones, in the table's order, then what failed before."""
    sections = {name: section for name, section in all_sections().items() if name not in FIRST}
    if options.only:
        names = [name for name in sections if name in options.only]
    else:
        parts = PARTS if options.part is None else (options.part,)
        names = [name for name, section in sections.items() if section.part in parts]
    if options.again:
        names += [name for name in sections if before.get(name, {}).get("status", "done") != "done"]
    return list(dict.fromkeys(names))


def plan_of(name: str, options: argparse.Namespace) -> Plan:
    """How to run a section."""
    command = [sys.executable, "-m", "benchmarks.gpu.sections", name, "--scene", str(options.scene.absolute())]
    command += [] if options.device is None else ["--device", str(options.device)]
    paths = [str(search_path()), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return Plan(name, command, all_sections()[name].limit, environment)


def exit_code(results: Sequence[dict[str, Any]]) -> int:
    """0 if nothing failed and something ran."""
    status = {result["status"] for result in results}
    return 1 if "failed" in status or "done" not in status else 0


def default_output(device: str) -> Path:
    """Where the results of a device belong."""
    name = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    return REPOSITORY / "benchmarks" / "results" / f"gpu-{name}.json"


def begin_document(output: Path, commit: str, device: dict[str, Any]) -> dict[str, Any]:
    """The results so far if they are of this program on this device; else without sections."""
    sections: dict[str, Any] = {}
    try:
        before = json.loads(output.read_text())
        if before["commit"] == commit and before["device"]["name"] == device["name"]:
            sections = dict(before["sections"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # there are none, or somebody cut them off
    made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    output.parent.mkdir(parents=True, exist_ok=True)
    return {"made": made, "commit": commit, "device": device, "sections": sections}


def program_commit() -> str:
    """The commit that git tells, or else what was written down when the kit was made."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    if (REPOSITORY / ".git").exists():
        with suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    with suppress(OSError):
        return (KIT / "commit").read_text().strip()
    return "unknown"


def save(document: dict[str, Any], output: Path) -> None:
    """Write the results whole, or not at all; the check goes on without."""
    temporary = output.with_name(f"{output.name}.part")
    try:
        temporary.write_text(json.dumps(document, indent=2) + "\n")
        temporary.replace(output)
    except OSError as error:
        print(f"gpu_check: results not written: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
