"""Runs the sections of a GPU check: each in a process of its own, with a time limit of its own.

A section that crashes, hangs or leaves the device in an error takes nothing else with it. Its process writes one JSON
object to the file that ``RESULT_VARIABLE`` names: ``status`` ("done", "skipped", "failed"), ``reason`` unless done, and
what it measured.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULT_VARIABLE = "KILONERF_SECTION_RESULT"
SHORTEST = 5.0  # seconds: nothing is begun with less left
TAIL = 2000  # characters of a section's output that are kept if it failed


class Stopped(BaseException):
    """SIGTERM or Ctrl-C: the sections end, what was found is kept."""


@dataclass(frozen=True)
class Plan:
    """A section to run.

    Attributes:
        name: as in the results.
        command: the process.
        limit: seconds that it may take.
        environment: variables for it.
    """

    name: str
    command: Sequence[str]
    limit: float
    environment: dict[str, str] = field(default_factory=dict)


def run_plans(
    plans: Sequence[Plan], results: dict[str, dict[str, Any]], save: Callable[[], None], seconds: float, folder: Path
) -> None:
    """Run each plan into ``results``, saving after each.

    Args:
        plans: in this order.
        results: by the sections' names.
        save: writes them.
        seconds: for all of them together; no section outlasts it.
        folder: the sections' current folder.
    """
    end = time.perf_counter() + seconds
    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for plan in plans:
            left = end - time.perf_counter()
            began = time.perf_counter()
            if left < SHORTEST:
                result = {"status": "skipped", "reason": f"the {seconds:.0f} s were up: try --only {plan.name!r}"}
            else:
                result = run_plan(plan, min(plan.limit, left), folder)
            results[plan.name] = {**result, "seconds": round(time.perf_counter() - began, 1)}
            save()
            print(f"  {plan.name}: {result['status']} ({results[plan.name]['seconds']} s)", flush=True)
    except Stopped:
        for plan in plans:
            results.setdefault(plan.name, {"status": "skipped", "reason": "the check was stopped", "seconds": 0.0})
        save()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_plan(plan: Plan, limit: float, folder: Path) -> dict[str, Any]:
    """One section's result, whatever becomes of its process; all processes that it started are ended."""
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as scratch:
        answer, output = Path(scratch) / "result.json", Path(scratch) / "output.txt"
        environment = {**os.environ, **plan.environment, RESULT_VARIABLE: str(answer)}
        with output.open("wb") as stream:
            process = subprocess.Popen(
                plan.command, stdout=stream, stderr=stream, cwd=folder, env=environment, start_new_session=True
            )
            late = False
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                late = True
            finally:
                _end_group(process)
        text = output.read_text(errors="replace").strip()
        if late:
            return _failed(f"took more than {limit:.0f} s and was ended", text)
        if process.returncode < 0:
            return _failed(f"ended by {signal.Signals(-process.returncode).name}", text)
        try:
            result = json.loads(answer.read_text())
            status = result["status"]
        except (OSError, ValueError, KeyError, TypeError):
            return _failed(f"exit code {process.returncode}, no result", text)
        if status == "done" and process.returncode != 0:
            return {**result, **_failed(f"exit code {process.returncode}", text)}
        if status not in ("done", "skipped", "failed"):
            return _failed(f"unknown status {status!r}", text)
        return result


def write_result(result: dict[str, Any]) -> None:
    """Called in the section's process."""
    Path(os.environ[RESULT_VARIABLE]).write_text(json.dumps(result))


def _failed(reason: str, output: str) -> dict[str, Any]:
    last = output.splitlines()[-1] if output else ""
    return {"status": "failed", "reason": f"{reason}: {last}" if last else reason, "output": output[-TAIL:]}


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it left running."""
    with suppress(ProcessLookupError):  # nothing is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _stop(number: int, frame: object) -> None:
    raise Stopped
