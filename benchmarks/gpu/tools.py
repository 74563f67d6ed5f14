"""The sections of a GPU check that run another program: pytest, compute-sanitizer, Nsight Compute.

What such a program says is judged here. Nothing passes that did not run.
"""

import csv
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .provision import REPOSITORY
from .runner import RESULT_VARIABLE

RENDER_TESTS = "tests/kernels/cuda/test_cuda_gpu.py"
TRAINING_TESTS = "tests/trainer/ops/test_cuda_training_gpu.py"
OURS = ("kilonerf", "benchmarks", "support", "simt")
NO_EXTENSION = "the native extension does not load: No module named"
KEPT = 3000  # characters of a program's output
NCU_METRICS = {
    "gpu__time_duration.sum": "duration",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed": "sm_percent",
    "sm__inst_executed.avg.per_cycle_elapsed": "instructions_per_clock",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "occupancy_percent",
    "sm__inst_executed_pipe_tensor.sum": "tensor_instructions",
    "smsp__inst_executed.sum": "instructions",
    "smsp__issue_active.avg.pct_of_peak_sustained_active": "issue_slots_percent",
    "l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum": "bank_conflicts",
    "lts__t_sector_hit_rate.pct": "l2_hit_percent",
    "dram__bytes_read.sum": "dram_read",
    "launch__registers_per_thread": "registers",
    "launch__occupancy_limit_registers": "blocks_by_registers",
    "launch__occupancy_limit_shared_mem": "blocks_by_shared_memory",
}


class SectionSkipped(Exception):  # noqa: N818 - an outcome, not an error
    """A section cannot run here; the text says why."""


class SectionFailed(Exception):  # noqa: N818 - an outcome with what was found
    """What was to pass did not.

    Attributes:
        found: what is to be kept all the same.
    """

    def __init__(self, reason: str, **found: Any) -> None:
        super().__init__(reason)
        self.found = found


def run_tool(command: Sequence[str], environment: Mapping[str, str]) -> tuple[str, int]:
    """Run a program to its end; what it said and its exit code.

    Its output goes through a file: a child that it leaves behind would keep a pipe open. The file lies where the
    runner looks for the last words of a section that took too long.
    """
    answer = os.environ.get(RESULT_VARIABLE)
    folder = Path(answer).parent if answer else None
    with tempfile.NamedTemporaryFile("w+b", dir=folder, prefix="tool", suffix=".txt", delete=folder is None) as stream:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            check=False,
            cwd=REPOSITORY,
            env={**os.environ, **environment},
        )
        return Path(stream.name).read_text(errors="replace"), done.returncode


def find_program(name: str, *folders: str) -> str | None:
    """A program of CUDA's: of the path, or of a toolkit in its usual places, there also in ``folders``."""
    toolkits = [os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda", "/opt/cuda"]
    places = [Path(toolkit) / folder for toolkit in toolkits if toolkit for folder in ("bin", *folders)]
    places += sorted(Path("/opt/nvidia").glob("nsight-compute/*"), reverse=True)
    found = shutil.which(name)
    return found or next((str(place / name) for place in places if (place / name).is_file()), None)


def pytest_command(path: str, *more: str) -> list[str]:
    """Pytest on tests that need a GPU."""
    importlib.import_module("pytest")
    options = ["-v", "--tb=short", "-m", "gpu", "-W", "default", "-p", "no:cacheprovider", "-o", "addopts="]
    return [sys.executable, "-m", "pytest", *options, "--import-mode=importlib", path, *more]


def run_tests(path: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Tests that need a device."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        output, code = run_tool([*pytest_command(path), f"--junitxml={report}"], environment)
        if not report.exists():
            _skip_if_missing(output)
            raise SectionFailed(f"pytest wrote no report: {_last(output)}", output=output[-KEPT:])
        return judged(report.read_text(), code)


def judged(report: str, exit_code: int) -> dict[str, Any]:
    """Counts of a JUnit report. A test that failed for want of a package counts as skipped.

    Raises:
        SectionSkipped: every test was skipped, with the first one's reason.
        SectionFailed: a test failed, with the ids of those that did; or there was none.
    """
    cases = list(ElementTree.fromstring(report).iter("testcase"))  # noqa: S314 - written by pytest just now
    failing: list[str] = []
    reasons: list[str] = []
    for case in cases:
        name, skipped = case.get("name", "?"), case.find("skipped")
        found = [part for kind in ("failure", "error") if (part := case.find(kind)) is not None]
        missing = [package for part in found if (package := missing_package(_words(part)))]
        if skipped is not None:
            # Of a module that skips itself the reason is in the text: ('path', line, 'Skipped: reason').
            told = re.search(r"Skipped: (.*?)['\"]?\)?$", skipped.text or "")
            message = skipped.get("message", "")
            reasons.append(told[1] if told and message == "collection skipped" else message)
        elif found and len(missing) == len(found):
            reasons.append(f"the package {missing[0]} is not installed")
        elif found:
            message = " ".join((found[0].get("message") or "").split())
            failing.append(f"{name} {message}".strip())
    counts = {"tests": len(cases), "failures": len(failing), "skipped": len(reasons)}
    if failing:
        raise SectionFailed(f"{len(failing)} of {len(cases)} tests failed", failing=failing, **counts)
    if not cases:
        raise SectionFailed("no test ran", **counts)
    if len(reasons) == len(cases):
        raise SectionSkipped(f"all {len(cases)} tests were skipped: {reasons[0]}")
    if exit_code != 0 and not any("is not installed" in reason for reason in reasons):
        raise SectionFailed(f"pytest ended with exit code {exit_code}", **counts)
    passed = len(cases) - len(reasons)
    told = [f"{passed} passed"] + ([f"{len(reasons)} skipped ({reasons[0]})"] if reasons else [])
    return {**counts, "why_skipped": sorted(set(reasons)), "headlines": [", ".join(told)]}


def sanitize(tool: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """The small GPU tests under compute-sanitizer."""
    program = find_program("compute-sanitizer", "compute-sanitizer")
    if program is None:
        raise SectionSkipped("compute-sanitizer is not installed (it comes with the CUDA toolkit)")
    command = [program, "--tool", tool, "--target-processes", "all", "--report-api-errors", "no"]
    command += ["--error-exitcode", "86"]
    # Each array in an allocation of its own, so that a write beside it is outside of all.
    settings = {**environment, "KILONERF_GPU_TESTS_PLAIN_MEMORY": "1"}
    return judged_sanitizer(program, *run_tool([*command, *pytest_command(RENDER_TESTS, "-k", "small")], settings))


def judged_sanitizer(program: str, output: str, exit_code: int) -> dict[str, Any]:
    """What compute-sanitizer found; it has passed only if it summed up and tests ran under it.

    Raises:
        SectionFailed: it found something, or did not run to its end.
        SectionSkipped: the tests under it were skipped.
    """
    told = [line.strip("= ") for line in output.splitlines() if line.startswith("=====") and "SUMMARY" in line]
    last = next((line for line in reversed(output.splitlines()) if " passed" in line or " skipped" in line), "")
    if exit_code != 0 or not told:
        _skip_if_missing(output)
        failing = [line.removeprefix("FAILED ") for line in output.splitlines() if line.startswith("FAILED ")]
        reason = told[-1] if told else f"exit code {exit_code}, and no summary: {_last(output)}"
        found = [line.strip("= ") for line in output.splitlines() if re.match(r"=+ (Invalid|Error|Race|Barrier)", line)]
        told_more = [*dict.fromkeys(found), *(test.rpartition("::")[2] for test in failing)]
        raise SectionFailed(reason, program=program, failing=told_more, output=output[-KEPT:])
    if " passed" not in last:
        raise SectionSkipped(f"no test ran under it: {last.strip() or 'pytest said nothing'}")
    tests = last.strip("= ")
    return {"program": program, "summary": told[-1], "tests": tests, "headlines": [f"{told[-1]}; {tests}"]}


def profile(kernel: str, section: Sequence[str], report: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """One launch of a kernel under Nsight Compute.

    Args:
        kernel: its name.
        section: a command that launches it some times.
        report: the file to write for Nsight's window, ``.ncu-rep``.
        environment: for the command.
    """
    program = find_program("ncu", "nsight-compute")
    if program is None:
        raise SectionSkipped("ncu (Nsight Compute) is not installed")
    report.unlink(missing_ok=True)
    # The clocks stay as they are: the times beside these figures were measured so.
    command = [program, "--target-processes", "all", "--clock-control", "none", "--set", "full"]
    command += ["--kernel-name", kernel, "--launch-skip", "3", "--launch-count", "1"]
    with tempfile.TemporaryDirectory() as scratch:
        settings = {**environment, RESULT_VARIABLE: str(Path(scratch) / "result.json")}
        output, code = run_tool([*command, "--export", str(report), "--force-overwrite", *section], settings)
    if "ERR_NVGPUCTRPERM" in output:
        raise SectionSkipped("reading the GPU's counters is not allowed to this user (ERR_NVGPUCTRPERM)")
    if code != 0 or not report.exists():
        raise SectionFailed(f"ncu ended with exit code {code}: {_last(output)}", output=output[-KEPT:])
    pages, code = run_tool([program, "--import", str(report), "--csv", "--page", "raw"], {})
    return judged_profile(kernel, pages, code, report)


def judged_profile(kernel: str, pages: str, exit_code: int, report: Path) -> dict[str, Any]:
    """The metrics of ``ncu --csv --page raw``: names, units, then a row for each launch.

    Raises:
        SectionFailed: there is no launch of the kernel.
    """
    rows = list(csv.reader(line for line in pages.splitlines() if line.startswith('"')))
    if exit_code != 0 or len(rows) < 3 or len(rows[-1]) != len(rows[0]):
        raise SectionFailed(f"ncu --import: no launch of {kernel}: {_last(pages)}", report=report.name)
    units = dict(zip(rows[0], rows[1], strict=False))
    values = {name: value.replace(",", "") for name, value in zip(rows[0], rows[-1], strict=True)}
    metrics = {
        short: f"{values[name]} {units.get(name, '')}".strip() for name, short in NCU_METRICS.items() if name in values
    }
    stalls = {
        name.partition("issue_stalled_")[2].partition("_per")[0]: float(value)
        for name, value in values.items()
        if "average_warps_issue_stalled" in name and "not_issued" not in name and re.fullmatch(r"[\d.]+", value)
    }
    worst = dict(sorted(stalls.items(), key=lambda pair: -pair[1])[:5])
    headlines = [", ".join(f"{name.replace('_', ' ')} {value}" for name, value in metrics.items())]
    headlines += ["stalls " + ", ".join(f"{name} {value:.2f}" for name, value in worst.items())] if worst else []
    return {"report": report.name, "metrics": metrics, "stalls": worst, "headlines": headlines}


def missing_package(text: str) -> str | None:
    """The package that an error in ``text`` lacks; of our own, only the C++ extension can be."""
    if NO_EXTENSION in text:
        return "kilonerf.kernels._cpu"
    found = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", text)
    return found[1] if found and found[1].partition(".")[0] not in OURS else None


def _skip_if_missing(output: str) -> None:
    package = missing_package(output)
    if package:
        raise SectionSkipped(f"the package {package} is not installed")


def _words(element: ElementTree.Element) -> str:
    return f"{element.get('message', '')}\n{element.text or ''}"


def _last(output: str) -> str:
    return (output.strip().splitlines() or ["it said nothing"])[-1].strip()
