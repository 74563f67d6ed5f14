"""The GPU check's runner, judgement and table, with stand-ins for all that can go wrong on a machine with a GPU."""

import json
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
from benchmarks.gpu.sections import (
    Context,
    SectionFailed,
    SectionSkipped,
    judged,
    judged_sanitizer,
    outcome,
    sanitizer,
)
from benchmarks.gpu.table import LONGEST_LINE, MOST_LINES, table

REPOSITORY = Path(__file__).resolve().parents[2]
ANSWER = "import json, os; f = open(os.environ['KILONERF_SECTION_RESULT'], 'w')\n"
SECTIONS = {
    "good": ANSWER + "json.dump({'status': 'done', 'ms_median': 1.5}, f)",
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


def test_a_child_that_a_section_leaves_is_ended(tmp_path: Path) -> None:
    program = f"""
        import json, os, subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        json.dump({{"status": "done"}}, open(os.environ["KILONERF_SECTION_RESULT"], "w"))
    """
    results: dict[str, dict[str, Any]] = {}
    plan = Plan("leaves", [sys.executable, "-c", textwrap.dedent(program)], 30.0)
    run_plans([plan], results, lambda: None, 60.0, tmp_path)
    assert results["leaves"]["status"] == "done"
    child = int((tmp_path / "pid").read_text())
    for _ in range(500):  # until whoever inherited it has reaped it
        try:
            os.kill(child, 0)
            if Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                break
        except (ProcessLookupError, FileNotFoundError):
            break
        time.sleep(0.01)
    else:
        pytest.fail("the child lives on")


def test_nothing_is_begun_when_time_is_up(tmp_path: Path) -> None:
    results: dict[str, dict[str, Any]] = {}
    run_plans(plans(), results, lambda: None, 0.0, tmp_path)
    assert {result["status"] for result in results.values()} == {"skipped"}
    assert "--only 'good'" in results["good"]["reason"]


def test_sigterm_ends_the_section_and_the_table_is_printed(tmp_path: Path) -> None:
    program = f"""
        import sys
        from pathlib import Path
        from benchmarks.gpu.runner import Plan, run_plans
        from benchmarks.gpu.table import table
        results = {{}}
        long = [sys.executable, "-c", "print('begun', flush=True); import time; time.sleep(600)"]
        good = [sys.executable, "-c", {SECTIONS["good"]!r}]
        made = [Plan("first", good, 60), Plan("second", long, 500), Plan("third", good, 60)]
        saved = Path({str(tmp_path / "saved")!r})
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


def report(*cases: str) -> str:
    return f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"


GOOD, SKIPPED = '<testcase name="a"/>', '<testcase name="b"><skipped message="no GPU here"/></testcase>'
BAD = '<testcase name="test_c[float16]"><failure message="x"/></testcase>'
BROKEN = '<testcase name="test_d"><error message="x"/></testcase>'


def test_tests_have_passed_only_if_one_ran_and_none_failed() -> None:
    assert judged(report(GOOD, SKIPPED), 0) == {"tests": 2, "failures": 0, "skipped": 1}
    with pytest.raises(SectionSkipped, match="all 1 tests were skipped: no GPU here"):
        judged(report(SKIPPED), 0)
    with pytest.raises(SectionFailed, match="no test ran"):
        judged(report(), 5)
    with pytest.raises(SectionFailed, match="exit code 3"):
        judged(report(GOOD), 3)
    with pytest.raises(SectionFailed, match="2 of 3 tests failed") as caught:
        judged(report(GOOD, BAD, BROKEN), 1)
    assert caught.value.found["failing"] == ["test_c[float16]", "test_d"]
    sections = {"tests": outcome(lambda: judged(report(GOOD, BAD, BROKEN), 1))}
    assert "FAILED  tests: test_c[float16]" in table({"commit": "abc", "sections": sections})


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        ("echo '5 passed in 1s'; echo '========= ERROR SUMMARY: 0 errors'", "done", None),
        ("echo '5 skipped in 1s'; echo '========= ERROR SUMMARY: 0 errors'", "skipped", "no test ran under it"),
        ("echo '5 passed'; echo '========= ERROR SUMMARY: 2 errors'; exit 86", "failed", "ERROR SUMMARY: 2 errors"),
        ("echo '5 passed in 1s'", "failed", "exit code 0, and no summary"),
        ("echo '========= ERROR SUMMARY: 0 errors'", "skipped", "pytest said nothing"),
    ],
)
def test_a_sanitizer_has_passed_only_if_it_summed_up_and_tests_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, status: str, reason: str | None
) -> None:
    program = tmp_path / "compute-sanitizer"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "arguments"}\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    result = outcome(lambda: sanitizer("memcheck", Context(Path("scene.knf"), None)))
    assert result["status"] == status
    assert reason is None or reason in result["reason"]
    assert "--report-api-errors no" in (tmp_path / "arguments").read_text()


def test_a_missing_package_skips_with_its_name_and_an_error_fails_with_its_text() -> None:
    def needs() -> dict[str, Any]:
        raise ModuleNotFoundError("No module named 'moderngl'", name="moderngl")

    def breaks() -> dict[str, Any]:
        raise RuntimeError("cuLaunchKernel\nfailed")

    assert outcome(needs) == {"status": "skipped", "reason": "the package moderngl is not installed"}
    assert outcome(breaks) == {"status": "failed", "reason": "RuntimeError: cuLaunchKernel failed"}
    assert judged_sanitizer("p", "1 passed\n===== ERROR SUMMARY: 0 errors", 0)["summary"] == "ERROR SUMMARY: 0 errors"


def test_the_table_stays_short() -> None:
    sections = {f"section {k}": {"status": "done", "value": k, "inner": {"x": "y" * 300}} for k in range(40)}
    sections["broken"] = {"status": "failed", "reason": "first line\nwhat counts"}
    lines = table({"commit": "abc", "sections": sections}).splitlines()
    assert len(lines) == MOST_LINES
    assert lines[1] == "FAILED  broken: what counts"
    assert lines[-1].startswith("... and ")
    assert max(map(len, lines)) <= LONGEST_LINE


def test_without_a_device_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """The whole command; what it says of a machine without CuPy or a GPU."""
    command = [sys.executable, "-m", "benchmarks.gpu.check", "--output", str(tmp_path / "r.json"), "--commit", "abc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    if done.returncode != 2:
        assert json.loads((tmp_path / "r.json").read_text())["commit"] == "abc"
        return
    assert done.stderr.startswith("gpu_check: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "r.json").exists()
