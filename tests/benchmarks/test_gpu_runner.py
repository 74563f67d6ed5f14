"""The GPU check's runner and table, with stand-ins for all that can go wrong on a machine with a GPU."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.runner import Plan, run_plans
from benchmarks.gpu.table import LONGEST_LINE, MOST_LINES, MOST_TESTS, table

REPOSITORY = Path(__file__).resolve().parents[2]
ANSWER = "import json, os; f = open(os.environ['KILONERF_SECTION_RESULT'], 'w')\n"
SECTIONS = {
    "good": ANSWER + "json.dump({'status': 'done', 'headlines': ['ms median 1.5'], 'ms_median': 1.5}, f)",
    "crash": "import os, signal; print('about to', flush=True); os.kill(os.getpid(), signal.SIGSEGV)",
    "hang": "import time; time.sleep(600)",
    "raise": "raise RuntimeError('CUDA_ERROR_ILLEGAL_ADDRESS')",
    "half a result": ANSWER + 'f.write(\'{"status": "do\')',
    "silent": "pass",
    "skip": ANSWER + "json.dump({'status': 'skipped', 'reason': 'no such tool'}, f)",
    "done, then dead": ANSWER + "json.dump({'status': 'done'}, f); f.close(); raise SystemExit(3)",
    "last": ANSWER + "json.dump({'status': 'done'}, f)",
}


def plans(limit: float = 20.0) -> list[Plan]:
    return [
        Plan(name, [sys.executable, "-c", text], 1.0 if name == "hang" else limit) for name, text in SECTIONS.items()
    ]


def test_whatever_a_section_does_the_others_run_and_all_is_saved(tmp_path: Path) -> None:
    results: dict[str, dict[str, Any]] = {}
    saved: list[int] = []
    run_plans(plans(), results, lambda: saved.append(len(results)), 120.0, tmp_path)
    assert saved == list(range(1, len(SECTIONS) + 1))
    status = {name: result["status"] for name, result in results.items()}
    assert [name for name in status if status[name] == "done"] == ["good", "last"]
    assert [name for name in status if status[name] == "skipped"] == ["skip"]
    assert results["good"]["ms_median"] == 1.5
    assert results["crash"]["reason"] == "ended by SIGSEGV: about to"
    assert results["hang"]["reason"].startswith("took more than 1 s")
    assert results["raise"]["reason"] == "exit code 1, no result: RuntimeError: CUDA_ERROR_ILLEGAL_ADDRESS"
    assert results["half a result"]["reason"] == "exit code 0, no result"
    assert results["silent"]["reason"] == "exit code 0, no result"
    assert results["done, then dead"]["reason"] == "exit code 3"
    text = table({"commit": "abc", "device": {"name": "H200"}, "sections": results})
    assert text.splitlines()[0] == "H200, commit abc: 6 failed, 1 skipped, 2 done"
    assert "FAILED  crash: ended by SIGSEGV: about to" in text
    assert "skipped skip: no such tool" in text
    assert "done    good: ms median 1.5" in text


def ended(pid: int) -> bool:
    """Whether a process is gone; waits for whoever inherited it to reap it."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("own_session", [False, True])
def test_a_child_that_a_section_leaves_is_ended(tmp_path: Path, own_session: bool) -> None:
    if own_session and not Path("/proc/self/environ").exists():
        pytest.skip("needs Linux's /proc")
    program = f"""
        import json, os, subprocess, sys
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = subprocess.Popen(sleep, start_new_session={own_session})
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        json.dump({{"status": "done"}}, open(os.environ["KILONERF_SECTION_RESULT"], "w"))
    """
    results: dict[str, dict[str, Any]] = {}
    plan = Plan("leaves", [sys.executable, "-c", textwrap.dedent(program)], 30.0)
    run_plans([plan], results, lambda: None, 60.0, tmp_path)
    assert results["leaves"]["status"] == "done"
    assert ended(int((tmp_path / "pid").read_text()))


def test_nothing_is_begun_when_time_is_up(tmp_path: Path) -> None:
    results: dict[str, dict[str, Any]] = {}
    run_plans(plans(), results, lambda: None, 0.0, tmp_path)
    assert {result["status"] for result in results.values()} == {"skipped"}
    assert "--only 'good'" in results["good"]["reason"]


def test_sigterm_ends_the_section_and_the_table_is_printed(tmp_path: Path) -> None:
    program = f"""
        import sys
        from contextlib import suppress
        from pathlib import Path
        from benchmarks.gpu.runner import Plan, Stopped, run_plans, stoppable
        from benchmarks.gpu.table import table
        results = {{"third": {{"status": "done", "headlines": ["of an earlier run"]}}}}
        long = [sys.executable, "-c", "print('begun', flush=True); import time; time.sleep(600)"]
        good = [sys.executable, "-c", {SECTIONS["good"]!r}]
        made = [Plan("first", good, 60), Plan("second", long, 500), Plan("third", good, 60)]
        saved = Path({str(tmp_path / "saved")!r})
        with suppress(Stopped), stoppable():
            run_plans(made, results, lambda: saved.write_text(repr(list(results))), 900, Path("."))
        print(table({{"commit": "abc", "sections": results}}))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    while not (tmp_path / "saved").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert "no device, commit abc: 0 failed, 2 skipped, 1 done" in printed
    assert "skipped third: the check was stopped" in printed


@pytest.mark.slow
def test_a_tool_that_outlasts_its_section_leaves_its_last_words(tmp_path: Path) -> None:
    """For pytest these are the test that hangs."""
    tool = "print('test_x[float32]', flush=True); import time; time.sleep(600)"
    program = f"import sys; from benchmarks.gpu.tools import run_tool; run_tool([sys.executable, '-c', {tool!r}], {{}})"
    results: dict[str, dict[str, Any]] = {}
    # The limit is long enough for any machine to start two interpreters.
    run_plans([Plan("tests", [sys.executable, "-c", program], 5.0)], results, lambda: None, 60.0, REPOSITORY)
    assert results["tests"]["reason"] == "took more than 5 s and was ended: test_x[float32]"


def test_the_table_stays_short() -> None:
    sections: dict[str, Any] = {f"section {k}": {"status": "done", "headlines": ["y" * 300]} for k in range(40)}
    sections["broken"] = {"status": "failed", "reason": "first line\nwhat counts"}
    lines = table({"commit": "abc", "sections": sections}).splitlines()
    assert len(lines) == MOST_LINES
    assert lines[1] == "FAILED  broken: what counts"
    assert lines[-1].startswith("... and ")
    assert max(map(len, lines)) <= LONGEST_LINE


def test_many_failing_tests_leave_room_for_the_figures() -> None:
    failing = [f"test_{k}" for k in range(50)]
    sections = {
        "tests": {"status": "failed", "reason": "50 of 60 tests failed", "failing": failing},
        "fused": {"status": "done", "headlines": ["kernel 0.1 ms", "800x800"]},
        "other": {"status": "done", "headlines": ["of another part"]},
    }
    lines = table({"commit": "abc", "sections": sections}, ["tests", "fused", "not run"]).splitlines()
    assert lines == [
        "no device, commit abc: 1 failed, 0 skipped, 1 done",
        "FAILED  tests: 50 of 60 tests failed",
        *(f"FAILED  tests: test_{k}" for k in range(MOST_TESTS)),
        "FAILED  tests: and 44 more tests",
        "done    fused: kernel 0.1 ms",
        "done    fused: 800x800",
    ]
