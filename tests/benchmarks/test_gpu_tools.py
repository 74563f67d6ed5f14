"""What the GPU check makes of what pytest, compute-sanitizer and Nsight Compute say; stand-ins for all three."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import tools
from benchmarks.gpu.sections import Context, outcome, run_tests, sanitizer
from benchmarks.gpu.table import table
from benchmarks.gpu.tools import SectionFailed, SectionSkipped, judged, judged_profile, judged_sanitizer, profile

CONTEXT = Context(Path("scene.knf"), None)


def report(*cases: str) -> str:
    return f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"


GOOD, SKIPPED = '<testcase name="a"/>', '<testcase name="b"><skipped message="no GPU here"/></testcase>'
MODULE = (
    '<testcase name="m"><skipped message="collection skipped">'
    "('/tests/test_m.py', 8, 'Skipped: training needs torch')</skipped></testcase>"
)
BAD = '<testcase name="test_c[float16]"><failure message="assert 1 == 2&#10;more">E</failure></testcase>'
BROKEN = '<testcase name="test_d"><error message="x"/></testcase>'
LACKS = (
    '<testcase name="test_e"><failure message="ModuleNotFoundError: No module named &apos;moderngl&apos;"/></testcase>'
)
OURS = "<testcase name='f'><failure message=\"ModuleNotFoundError: No module named 'kilonerf.viewer.x'\"/></testcase>"
NO_EXTENSION = (
    '<testcase name="g"><failure message="BackendError: the native extension does not load: No module named x"/>'
    "</testcase>"
)


def test_tests_have_passed_only_if_one_ran_and_none_failed() -> None:
    assert {**judged(report(GOOD, SKIPPED), 0)}.items() >= {"tests": 2, "failures": 0, "skipped": 1}.items()
    with pytest.raises(SectionSkipped, match="all 1 tests were skipped: no GPU here"):
        judged(report(SKIPPED), 0)
    with pytest.raises(SectionSkipped, match=r"all 1 tests were skipped: training needs torch$"):
        judged(report(MODULE), 0)
    with pytest.raises(SectionFailed, match="no test ran"):
        judged(report(), 5)
    with pytest.raises(SectionFailed, match="exit code 3"):
        judged(report(GOOD), 3)
    with pytest.raises(SectionFailed, match="2 of 3 tests failed") as caught:
        judged(report(GOOD, BAD, BROKEN), 1)
    assert caught.value.found["failing"] == ["test_c[float16] assert 1 == 2 more", "test_d x"]
    sections = {"tests": outcome(lambda: judged(report(GOOD, BAD, BROKEN), 1))}
    assert "FAILED  tests: test_c[float16]" in table({"commit": "abc", "sections": sections})


def test_a_test_that_lacks_a_package_is_skipped_and_not_failed() -> None:
    found = judged(report(GOOD, LACKS, NO_EXTENSION), 1)
    assert found["skipped"] == 2
    assert found["why_skipped"] == [
        "the package kilonerf.kernels._cpu is not installed",
        "the package moderngl is not installed",
    ]
    assert found["headlines"] == ["1 passed, 2 skipped (the package moderngl is not installed)"]
    with pytest.raises(SectionSkipped, match="moderngl"):
        judged(report(LACKS), 1)
    with pytest.raises(SectionFailed, match="1 of 2 tests failed"):
        judged(report(GOOD, OURS), 1)


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        ("echo '5 passed in 1s'; echo '========= ERROR SUMMARY: 0 errors'", "done", None),
        ("echo '5 skipped in 1s'; echo '========= ERROR SUMMARY: 0 errors'", "skipped", "no test ran under it"),
        ("echo '5 passed'; echo '========= ERROR SUMMARY: 2 errors'; exit 86", "failed", "ERROR SUMMARY: 2 errors"),
        ("echo '5 passed in 1s'", "failed", "exit code 0, and no summary"),
        ("echo '========= Error: Device not supported'; exit 1", "failed", "no summary: ========= Error: Device not"),
        ("echo '========= ERROR SUMMARY: 0 errors'", "skipped", "pytest said nothing"),
        ("sleep 600 & echo '5 passed in 1s'; echo '========= ERROR SUMMARY: 0 errors'", "done", None),
    ],
)
def test_a_sanitizer_has_passed_only_if_it_summed_up_and_tests_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, status: str, reason: str | None
) -> None:
    program = tmp_path / "compute-sanitizer"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "arguments"}\n{script}\necho $! > {tmp_path / "child"}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    result = outcome(lambda: sanitizer("memcheck", CONTEXT))
    assert result["status"] == status
    assert reason is None or reason in result["reason"]
    assert "--report-api-errors no" in (tmp_path / "arguments").read_text()
    if "sleep" in script:  # it was not waited for; the section's runner ends it
        os.kill(int((tmp_path / "child").read_text()), 9)


def test_what_a_sanitizer_found_is_named() -> None:
    output = """
========= Invalid __shared__ write of size 4 bytes
=========     at render+0x120 in render.cu:200
FAILED tests/kernels/cuda/test_cuda_gpu.py::test_small_query_is_the_reference[float32] - AssertionError
1 failed, 4 passed in 3s
========= ERROR SUMMARY: 1 error
"""
    with pytest.raises(SectionFailed, match="ERROR SUMMARY: 1 error") as caught:
        judged_sanitizer("p", output, 86)
    assert caught.value.found["failing"] == [
        "Invalid __shared__ write of size 4 bytes",
        "test_small_query_is_the_reference[float32] - AssertionError",
    ]


def test_without_a_sanitizer_its_sections_are_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)
    monkeypatch.setattr(tools.Path, "is_file", lambda path: False)
    assert outcome(lambda: sanitizer("memcheck", CONTEXT))["status"] == "skipped"
    assert "not installed" in outcome(lambda: profile("render", [], tmp_path / "r", {}))["reason"]


def test_a_missing_package_skips_with_its_name_and_an_error_fails_with_its_text() -> None:
    def needs(name: str) -> dict[str, Any]:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    def breaks() -> dict[str, Any]:
        raise RuntimeError("cuLaunchKernel\nfailed")

    skipped = {"status": "skipped", "reason": "the package moderngl is not installed"}
    assert outcome(lambda: needs("moderngl")) == skipped
    assert outcome(lambda: needs("kilonerf.kernels._cpu"))["status"] == "skipped"
    assert outcome(lambda: needs("kilonerf.kernels.renamed"))["status"] == "failed"
    assert outcome(breaks) == {"status": "failed", "reason": "RuntimeError: cuLaunchKernel failed"}
    assert judged_sanitizer("p", "1 passed\n===== ERROR SUMMARY: 0 errors", 0)["summary"] == "ERROR SUMMARY: 0 errors"


def test_tests_whose_conftest_lacks_a_package_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "ImportError while loading conftest\nE   ModuleNotFoundError: No module named 'hypothesis'"
    monkeypatch.setattr(tools, "run_tool", lambda *arguments: (said, 4))
    assert outcome(lambda: run_tests("t.py", CONTEXT)) == {
        "status": "skipped",
        "reason": "the package hypothesis is not installed",
    }
    monkeypatch.setattr(tools, "run_tool", lambda *arguments: ("INTERNALERROR", 3))
    result = outcome(lambda: run_tests("t.py", CONTEXT))
    assert (result["status"], result["reason"]) == ("failed", "pytest wrote no report: INTERNALERROR")


PAGES = """==PROF== Connected
"ID","Kernel Name","gpu__time_duration.sum","smsp__average_warps_issue_stalled_barrier_per_issue_active.ratio"
"","","us",""
"0","render","1,121.5","3.25"
"""


def test_a_profile_is_of_the_kernel_or_has_failed() -> None:
    found = judged_profile("render", PAGES, 0, Path("render.ncu-rep"))
    assert found["metrics"] == {"duration": "1121.5 us"}
    assert found["stalls"] == {"barrier": 3.25}
    assert found["headlines"] == ["duration 1121.5 us", "stalls barrier 3.25"]
    with pytest.raises(SectionFailed, match="no launch of render: ==ERROR=="):
        judged_profile("render", "==ERROR== nothing", 0, Path("render.ncu-rep"))


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        (f"touch report; cat <<'X'\n{PAGES}X\n", "done", ""),
        ("echo '==ERROR== ERR_NVGPUCTRPERM'; exit 1", "skipped", "not allowed"),
        ("echo '==WARNING== No kernels were profiled.'", "failed", "No kernels were profiled"),
        ("echo 'Failed to initialize the profiler'; exit 9", "failed", "exit code 9: Failed to initialize"),
    ],
)
def test_a_profiler_that_cannot_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, status: str, reason: str
) -> None:
    program = tmp_path / "ncu"
    program.write_text(f'#!/bin/sh\ncd {tmp_path}\necho "$@" >> arguments\n{script}')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    result = outcome(lambda: profile("render", [sys.executable, "-c", ""], tmp_path / "report", {}))
    assert result["status"] == status
    assert reason in result.get("reason", "")
    assert "--clock-control none" in (tmp_path / "arguments").read_text()
