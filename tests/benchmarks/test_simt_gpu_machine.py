"""The whole GPU check on a machine that is made of stand-ins.

The device is the SIMT host under a small scene; CuPy is a module with the few functions that describe a device; a shell
script is compute-sanitizer; packages are taken away by an import hook; and sections crash or break off by name.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kilonerf.model_io import save_scene
from support.scenes import random_scene

REPOSITORY = Path(__file__).resolve().parents[2]
STAND_INS = f"""
import os, signal, sys, time
from pathlib import Path

here = Path(__file__).parent
words = sys.orig_argv
section = words[3] if words[1:3] == ["-m", "benchmarks.gpu.sections"] else ""
missing = (here / "missing").read_text().split() if (here / "missing").exists() else []


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Missing())
if section and (here / section).exists():
    todo = (here / section).read_text()
    answer = Path(os.environ["KILONERF_SECTION_RESULT"])
    if todo == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if todo == "hang":
        (here / "begun").touch()
        time.sleep(600)
    if todo == "half":
        answer.write_text('{{"status": "do')
        os._exit(0)
if section:
    sys.path[:0] = [str(here / "sections"), {str(REPOSITORY)!r}, {str(REPOSITORY / "tests")!r}]
if section and "numpy" not in missing and not (here / "no device").exists():
    from kilonerf.kernels.cuda import cupy_device
    from simt.simt_device import SimtDevice

    cupy_device.CupyDevice = lambda index=None: SimtDevice(80)
    if (here / section).exists() and todo == "poison":
        def poisoned(self, *arguments, **more):
            raise RuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")

        SimtDevice.kernel = SimtDevice.download = SimtDevice.milliseconds = poisoned
"""
CUPY = """
from types import SimpleNamespace

__version__ = "14.2.0"
cuda = SimpleNamespace(runtime=SimpleNamespace(driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 13000))
"""
SANITIZER = """#!/bin/sh
case "$*" in
  *memcheck*)
    sleep 600 & echo $! >"$0.child"
    echo '========= Invalid __global__ write of size 4 bytes'
    echo '1 failed, 4 passed in 3s'
    echo '========= ERROR SUMMARY: 1 error'
    exit 86 ;;
  *racecheck*)
    echo '9 skipped in 1s'
    echo '========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)' ;;
  *)
    echo '9 passed in 1s'
    echo '========= ERROR SUMMARY: 0 errors' ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> SimpleNamespace:
    """Folders of stand-ins, and the command on them."""
    site, programs = tmp_path / "site", tmp_path / "bin"
    (site / "sections").mkdir(parents=True)
    programs.mkdir()
    (site / "sections" / "cupy.py").write_text(CUPY)
    (site / "sitecustomize.py").write_text(STAND_INS)
    (programs / "compute-sanitizer").write_text(SANITIZER)
    (programs / "compute-sanitizer").chmod(0o755)
    save_scene(random_scene(), tmp_path / "toy.knf")
    command = [str(REPOSITORY / "benchmarks" / "gpu_check.sh"), "--scene", str(tmp_path / "toy.knf")]
    command += ["--output", str(tmp_path / "result.json"), "--commit", "0123456789abcdef"]
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(site)}
    environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"

    def start(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def check(*more: str) -> tuple[int, str, str]:
        process = start(*more)
        printed, said = process.communicate()
        return process.returncode, printed, said

    def results() -> dict:
        return json.loads((tmp_path / "result.json").read_text())["sections"]

    return SimpleNamespace(site=site, programs=programs, start=start, check=check, results=results)


@pytest.mark.slow
def test_simt_gpu_machine_where_everything_goes_wrong(machine: SimpleNamespace) -> None:
    (machine.site / "missing").write_text("moderngl tyro")
    (machine.site / "networks alone").write_text("crash")
    (machine.site / "fused 800x800 float16").write_text("half")
    (machine.site / "kernel resources").write_text("poison")
    names = ["smoke", "kernel resources", "memcheck", "racecheck", "synccheck", "tests", "networks alone"]
    names += ["fused 800x800 float16", "interop 800x800", "bench 800x800 float16", "agreement with reference"]
    code, printed, said = machine.check("--only", *names)
    assert (code, said) == (1, "")
    results = machine.results()
    lines = printed[printed.index("SIMT host, commit") :].splitlines()
    assert lines[0] == "SIMT host, commit 0123456789ab: 4 failed, 4 skipped, 5 done"
    told = {line[8:].partition(":")[0]: line for line in reversed(lines[1:])}
    assert told["kernel resources"].startswith("FAILED  kernel resources: RuntimeError: cudaErrorIllegalAddress")
    assert told["memcheck"] == "FAILED  memcheck: ERROR SUMMARY: 1 error"
    assert "FAILED  memcheck: Invalid __global__ write of size 4 bytes" in lines
    assert told["networks alone"].startswith("FAILED  networks alone: ended by SIGSEGV")
    assert told["fused 800x800 float16"] == "FAILED  fused 800x800 float16: exit code 0, no result"
    assert told["racecheck"] == "skipped racecheck: no test ran under it: 9 skipped in 1s"
    assert told["interop 800x800"] == "skipped interop 800x800: the package moderngl is not installed"
    assert told["bench 800x800 float16"] == "skipped bench 800x800 float16: the package tyro is not installed"
    assert told["tests"].startswith("skipped tests: all ")  # CuPy is a stand-in for the sections only
    assert told["synccheck"] == "done    synccheck: ERROR SUMMARY: 0 errors; 9 passed in 1s"
    assert told["smoke"].startswith("done    smoke: float16 ")
    assert told["agreement with reference"].startswith("done    agreement with reference: float16 ")
    assert results["smoke"]["float32"]["psnr"] > 60
    assert not Path(f"/proc/{(machine.programs / 'compute-sanitizer.child').read_text().strip()}/exe").exists()


@pytest.mark.slow
def test_simt_gpu_machine_is_asked_again_for_what_failed(machine: SimpleNamespace) -> None:
    (machine.site / "smoke").write_text("crash")
    names = ["smoke", "synccheck"]
    assert machine.check("--only", *names)[0] == 1
    (machine.site / "smoke").unlink()
    code, printed, _ = machine.check("--only", "racecheck", "--again")
    assert code == 0
    assert "2 skipped" not in printed
    assert "done    smoke" in printed
    assert "synccheck" not in printed  # it had passed; it stays in the file
    status = {name: result["status"] for name, result in machine.results().items()}
    assert (status["smoke"], status["synccheck"], status["racecheck"]) == ("done", "done", "skipped")


def test_simt_gpu_machine_where_nothing_ran_has_not_passed(machine: SimpleNamespace) -> None:
    assert machine.check("--only", "racecheck")[0] == 1


def test_simt_gpu_machine_is_stopped_with_its_table(machine: SimpleNamespace) -> None:
    (machine.site / "synccheck").write_text("hang")
    process = machine.start("--only", "racecheck", "synccheck", "tests")
    while not (machine.site / "begun").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    printed, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "gpu_check: stopped\n")
    assert "skipped synccheck: the check was stopped" in printed
    assert "skipped tests: the check was stopped" in printed
    assert machine.results()["racecheck"]["status"] == "skipped"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("numpy is missing", "the package numpy is not installed"),
        ("no libcuda", "backend 'cuda': CuPy does not load: libcuda.so.1: cannot open: pip install"),
        ("the driver crashes", "ended by SIGSEGV"),
    ],
)
def test_simt_gpu_machine_without_a_device_is_told_in_one_line(
    machine: SimpleNamespace, trouble: str, reason: str
) -> None:
    (machine.site / "no device").touch()
    (machine.site / "sections" / "cupy.py").write_text("raise ImportError('libcuda.so.1: cannot open')")
    (machine.site / "missing").write_text("numpy" if "numpy" in trouble else "")
    if "crashes" in trouble:
        (machine.site / "environment").write_text("crash")
    code, printed, said = machine.check()
    assert (code, printed) == (2, "")
    assert said.startswith(f"gpu_check: {reason}")
    assert said.count("\n") == 1
