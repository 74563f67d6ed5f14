"""All that only a machine with an NVIDIA GPU can tell, in some minutes: ``benchmarks/gpu_check.sh --help``.

Every section runs in a process of its own; what one of them cannot do is written down, and the next one goes on. The
results are a JSON file, written after every section, and a table of at most 30 lines, printed last, also after SIGTERM.
"""

import argparse
import datetime
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from .runner import Plan, run_plan, run_plans
from .sections import REPOSITORY, all_sections
from .table import table

SECONDS = 540.0  # in all; the shell script's limit is a little longer


def main() -> None:
    """Run the sections and write the results."""
    options = parse_options()
    names = [name for name in all_sections() if name == "environment" or not options.only or name in options.only]
    plans = [plan_of(name, options) for name in names]
    document: dict[str, Any] = {
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": options.commit or program_commit(),
        "sections": {},
    }
    results: dict[str, dict[str, Any]] = document["sections"]
    began = time.perf_counter()
    found = run_plan(plans[0], plans[0].limit, REPOSITORY)
    results["environment"] = {**found, "seconds": round(time.perf_counter() - began, 1)}
    if found["status"] != "done":
        print(f"gpu_check: {found.get('reason', 'no device')}", file=sys.stderr)
        sys.exit(2)
    document["device"] = {key: value for key, value in found.items() if key != "status"}
    name = re.sub(r"[^a-z0-9]+", "-", document["device"]["name"].lower()).strip("-")
    output = options.output or REPOSITORY / "benchmarks" / "results" / f"gpu-{name}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    print(f"gpu_check: {document['device']['name']}, results in {output}", flush=True)
    left = options.seconds - results["environment"]["seconds"]
    run_plans(plans[1:], results, lambda: save(document, output), left, REPOSITORY)
    print(table(document))
    sys.exit(1 if any(result["status"] == "failed" for result in results.values()) else 0)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="gpu_check", description=__doc__)
    parser.add_argument("--scene", type=Path, default=REPOSITORY / "assets" / "chair.knf", help="a .knf file")
    parser.add_argument("--output", type=Path, help="the JSON file (default: benchmarks/results/gpu-NAME.json)")
    parser.add_argument("--device", type=int, help="which CUDA device (default: the first)")
    parser.add_argument("--only", nargs="+", metavar="SECTION", choices=list(all_sections()), help="some sections only")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for everything; later sections are left out")
    parser.add_argument("--commit", help="of the program, where no .git tells it")
    return parser.parse_args()


def plan_of(name: str, options: argparse.Namespace) -> Plan:
    """How to run a section."""
    command = [sys.executable, "-m", "benchmarks.gpu.sections", name, "--scene", str(options.scene.absolute())]
    command += [] if options.device is None else ["--device", str(options.device)]
    return Plan(name, command, all_sections()[name].limit, {"PYTHONUNBUFFERED": "1"})


def program_commit() -> str:
    """The commit, by what the program says of itself; it may not be installed whole here."""
    try:
        from kilonerf.kernels.measure.machine import program_commit as commit
    except ImportError as error:
        return f"unknown ({error})"
    return commit()


def save(document: dict[str, Any], output: Path) -> None:
    """Write the results whole, or not at all."""
    temporary = output.with_name(f"{output.name}.part")
    temporary.write_text(json.dumps(document, indent=2) + "\n")
    temporary.replace(output)


if __name__ == "__main__":
    main()
