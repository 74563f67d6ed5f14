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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULT_VARIABLE = "KILONERF_SECTION_RESULT"
SHORTEST = 5.0  # seconds: nothing is begun with less left
PATIENCE = 5.0  # seconds for a killed process to go; one that waits for a dead device never does
TAIL = 2000  # characters of a section's output that are kept if it failed
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PROCESSES = Path("/proc")


class Stopped(BaseException):
    """SIGTERM, Ctrl-C or a lost terminal: the sections end, what was found is kept."""


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
    plans: Sequence[Plan],
    results: dict[str, dict[str, Any]],
    save: Callable[[], None],
    seconds: float,
    folder: Path,
    say: Callable[[str], object] = print,
) -> None:
    """Run each plan into ``results``, saving after each.

    Args:
        plans: in this order.
        results: by the sections' names.
        save: writes them.
        seconds: for all of them together; no section outlasts it.
        folder: the sections' current folder.
        say: takes a line about each section when it is done.

    Raises:
        Stopped: a signal came; every plan has a result.
    """
    end = time.perf_counter() + seconds
    done: set[str] = set()
    try:
        for plan in plans:
            left = end - time.perf_counter()
            began = time.perf_counter()
            if left < SHORTEST:
                reason = f"the {seconds:.0f} s were up: try --only {plan.name!r}"
                result = {"status": "skipped", "reason": reason}
            else:
                result = run_plan(plan, min(plan.limit, left), folder)
            results[plan.name] = {**result, "seconds": round(time.perf_counter() - began, 1)}
            done.add(plan.name)
            save()
            say(f"  {plan.name}: {result['status']} ({results[plan.name]['seconds']} s)")
    except Stopped:
        for plan in plans:
            if plan.name not in done:
                results[plan.name] = {"status": "skipped", "reason": "the check was stopped", "seconds": 0.0}
        save()
        raise


@contextmanager
def stoppable() -> Iterator[None]:
    """Within it the first signal to stop raises :class:`Stopped`, and later ones do nothing."""

    def stop(number: int, frame: object) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped

    # What is ignored stays so: nohup.
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_plan(plan: Plan, limit: float, folder: Path) -> dict[str, Any]:
    """One section's result, whatever becomes of its process; all processes that it started are ended."""
    with tempfile.TemporaryDirectory(prefix="gpu-check-", ignore_cleanup_errors=True) as scratch:
        answer, output = Path(scratch) / "result.json", Path(scratch) / "0.txt"
        mark = {RESULT_VARIABLE: str(answer)}
        with output.open("wb") as stream:
            process = subprocess.Popen(
                plan.command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=folder,
                env={**os.environ, **plan.environment, **mark},
                start_new_session=True,
            )
            late = False
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                late = True
            finally:
                _end_all(process, f"{RESULT_VARIABLE}={answer}")
        # Of the section itself, then of the tools that it ran (tools.py).
        text = "\n".join(path.read_text(errors="replace").strip() for path in sorted(Path(scratch).glob("*.txt")))
        return _result(process.returncode, None if late else answer, limit, text.strip())


def _result(code: int | None, answer: Path | None, limit: float, text: str) -> dict[str, Any]:
    """What became of a section whose process ended so; ``answer`` is None if it was late."""
    if answer is None or code is None:
        return _failed(f"took more than {limit:.0f} s and was ended", text)
    if code < 0:
        return _failed(f"ended by {signal.Signals(-code).name}", text)
    try:
        result = json.loads(answer.read_text())
        status = result["status"]
    except (OSError, ValueError, KeyError, TypeError):
        return _failed(f"exit code {code}, no result", text)
    if status == "done" and code != 0:
        return {**result, **_failed(f"exit code {code}", text)}
    if status not in ("done", "skipped", "failed"):
        return _failed(f"unknown status {status!r}", text)
    return result


def write_result(result: dict[str, Any]) -> None:
    """Called in the section's process."""
    Path(os.environ[RESULT_VARIABLE]).write_text(json.dumps(result))


def _failed(reason: str, output: str) -> dict[str, Any]:
    last = output.splitlines()[-1].strip() if output else ""
    return {"status": "failed", "reason": f"{reason}: {last}" if last else reason, "output": output[-TAIL:]}


def _end_all(process: subprocess.Popen[bytes], mark: str) -> None:
    """End the process and all that it left running: its group, and what has ``mark`` in its environment."""
    with suppress(ProcessLookupError, PermissionError):  # nothing is left
        os.killpg(process.pid, signal.SIGKILL)
    for entry in PROCESSES.glob("[0-9]*/environ"):  # a profiler's children may have left the group
        with suppress(OSError):
            if mark.encode() in entry.read_bytes().split(b"\0"):
                os.kill(int(entry.parent.name), signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
