"""All that only a machine with an NVIDIA GPU can tell, in some minutes: ``benchmarks/gpu_check.sh --help``.

Sections run one after the other; what one of them cannot do is written down, and the next one goes on. The results
are a JSON file, written anew after every section, and a summary on standard output.
"""

import argparse
import dataclasses
import datetime
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kilonerf.kernels.cuda.cupy_device import CupyDevice
from kilonerf.kernels.cuda.device import CudaDevice
from kilonerf.kernels.measure.machine import program_commit, this_machine
from kilonerf.model_io import BackendError, Camera, Scene, load_scene
from kilonerf.model_io.camera.turntable import turntable_cameras
from kilonerf.model_io.files.atomic import write_text

from . import measurements
from .sorted_baseline import CupyBaselineDevice

REPOSITORY = Path(__file__).resolve().parents[2]
SIZES = ((800, 800), (1920, 1080))
BUDGET = 420.0  # seconds; with the longest section after it still under ten minutes
GPU_TESTS = "tests/kernels/cuda/test_cuda_gpu.py"
NVIDIA_SMI = (
    "driver_version",
    "clocks.sm",
    "clocks.max.sm",
    "clocks.mem",
    "power.draw",
    "power.limit",
    "temperature.gpu",
)

Section = Callable[[], dict[str, Any]]


class SectionSkipped(Exception):  # noqa: N818 - an outcome, not an error
    """A section cannot run here; the text says why."""


def main() -> None:
    """Run the sections and write the results."""
    options = parse_options()
    try:
        device = CupyDevice(options.device)
    except BackendError as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        sys.exit(2)
    document: dict[str, Any] = {"made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    document.update(commit=program_commit(), machine=dataclasses.asdict(this_machine()), device=describe(device))
    name = re.sub(r"[^a-z0-9]+", "-", device.name.lower()).strip("-")
    output = options.output or REPOSITORY / "benchmarks" / "results" / f"gpu-{name}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    print(f"gpu_check: {device.name}, results in {output}", flush=True)
    sections = all_sections(device, load_scene(options.scene), options)
    chosen = {name: run for name, run in sections.items() if not options.only or name in options.only}
    failed = run_sections(document, chosen, lambda: write_text(output, json.dumps(document, indent=2) + "\n"))
    print(summary(document))
    sys.exit(1 if failed else 0)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="gpu_check", description=__doc__)
    parser.add_argument("--scene", type=Path, default=REPOSITORY / "assets" / "chair.knf", help="a .knf file")
    parser.add_argument("--output", type=Path, help="the JSON file (default: benchmarks/results/gpu-NAME.json)")
    parser.add_argument("--device", type=int, help="which CUDA device (default: the first)")
    parser.add_argument("--only", nargs="+", metavar="SECTION", help="some sections only, by their names in the JSON")
    return parser.parse_args()


def all_sections(device: CupyDevice, scene: Scene, options: argparse.Namespace) -> dict[str, Section]:
    """Every section by name, the shortest and most telling first."""
    cupy = importlib.import_module("cupy")
    environment = {"CUDA_VISIBLE_DEVICES": str(options.device)} if options.device is not None else {}

    def views(count: int, width: int, height: int) -> list[Camera]:
        ring = turntable_cameras(scene, count, width, height)
        poses = scene.training_poses
        if poses is None or not len(poses):
            return ring
        return [ring[0].moved(poses[k * len(poses) // count]) for k in range(count)]

    def sorted_baseline(width: int, height: int) -> dict[str, Any]:
        with device.active():
            baseline = CupyBaselineDevice()
        return measurements.side_by_side(device, baseline, scene, views(3, width, height))

    sections: dict[str, Section] = {
        "tests": lambda: gpu_tests(environment),
        "agreement with reference": lambda: measurements.agreement(device, scene, views(1, 160, 160)[0], "reference"),
        "agreement with cpu": lambda: measurements.agreement(device, scene, views(1, 800, 800)[0], "cpu"),
        "networks alone": lambda: measurements.network_rate(device, scene),
        "fp16 matrix product": lambda: measurements.matrix_rate(device, cupy),
    }
    for width, height in SIZES:
        sections[f"sorted baseline {width}x{height}"] = lambda w=width, h=height: sorted_baseline(w, h)
        for precision in measurements.precisions(device):
            sections[f"bench {width}x{height} {precision}"] = lambda w=width, h=height, p=precision: bench(
                options.scene, (w, h), p, options.device
            )
    for width, height in SIZES:
        sections[f"interop {width}x{height}"] = lambda w=width, h=height: interop(device, scene, views(3, w, h))
    for tool in ("memcheck", "racecheck"):
        sections[tool] = lambda t=tool: sanitizer(t, environment)
    return sections


def run_sections(
    document: dict[str, Any], sections: Mapping[str, Section], save: Callable[[], None], budget: float = BUDGET
) -> list[str]:
    """Run each section into ``document["sections"]``, saving after each; returns the names of those that failed.

    After ``budget`` seconds no further section is begun.
    """
    results = document["sections"] = {}
    failed = []
    end = time.perf_counter() + budget
    for name, run in sections.items():
        began = time.perf_counter()
        try:
            if began > end:
                raise SectionSkipped(f"the sections before took more than {budget:.0f} s: try --only {name!r}")
            results[name] = {**run(), "status": "done"}
        except SectionSkipped as reason:
            results[name] = {"status": "skipped", "reason": str(reason)}
        except Exception as error:  # one section's failure is a result; the others go on
            results[name] = {"status": "failed", "reason": f"{type(error).__name__}: {error}"[-2000:]}
        if results[name].get("passed") is False:
            results[name]["status"] = "failed"
        if results[name]["status"] == "failed":
            failed.append(name)
        results[name]["seconds"] = round(time.perf_counter() - began, 1)
        save()
        print(f"  {name}: {results[name]['status']} ({results[name]['seconds']} s)", flush=True)
    return failed


def describe(device: CupyDevice) -> dict[str, Any]:
    """Device, driver and clocks; what cannot be found out is left out."""
    runtime = importlib.import_module("cupy").cuda.runtime
    found: dict[str, Any] = {
        "name": device.name,
        "compute_capability": device.architecture / 10,
        "multiprocessors": device.multiprocessors,
        "driver_supports_cuda": runtime.driverGetVersion(),
        "runtime_cuda": runtime.runtimeGetVersion(),
        "cupy": importlib.import_module("cupy").__version__,
    }
    smi = shutil.which("nvidia-smi")
    if smi:
        command = [smi, f"--query-gpu={','.join(NVIDIA_SMI)}", "--format=csv,noheader", "-i", str(device.index)]
        try:
            told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return found
        found.update(zip(NVIDIA_SMI, (value.strip() for value in told.split(",")), strict=False))
    return found


def run_tool(command: list[str], timeout: float, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A program's end, with what it wrote."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
    )


def pytest_command(*more: str) -> list[str]:
    """Pytest on the GPU's tests."""
    if importlib.util.find_spec("pytest") is None:
        raise SectionSkipped("pytest is not installed")
    return [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "gpu",
        "-W",
        "default",
        "-p",
        "no:cacheprovider",
        GPU_TESTS,
        *more,
    ]


def gpu_tests(environment: Mapping[str, str]) -> dict[str, Any]:
    """The tests that need a device."""
    report = REPOSITORY / "build" / "gpu_tests.xml"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    done = run_tool(pytest_command(f"--junitxml={report}"), 150, environment)
    if not report.exists():
        raise RuntimeError(f"pytest wrote no report: {(done.stdout + done.stderr)[-1500:]}")
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))  # noqa: S314 - written by pytest just now
    counts = {
        key: sum(int(suite.get(key, 0)) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
    }
    ran = counts["tests"] - counts["skipped"]
    result: dict[str, Any] = {**counts, "passed": done.returncode == 0 and ran > 0}
    return result if result["passed"] else {**result, "output": done.stdout[-3000:]}


def sanitizer(tool: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """The small GPU tests under compute-sanitizer."""
    program = find_sanitizer()
    if program is None:
        raise SectionSkipped("compute-sanitizer is not installed (it comes with the CUDA toolkit)")
    command = [program, "--tool", tool, "--target-processes", "all", "--error-exitcode", "86"]
    # Each array in an allocation of its own, so that a write beside it is outside of all.
    settings = {**environment, "KILONERF_GPU_TESTS_PLAIN_MEMORY": "1"}
    done = run_tool([*command, *pytest_command("-k", "small")], 90, settings)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("=====")]
    told = [line.strip("= ") for line in lines if "SUMMARY" in line]
    result: dict[str, Any] = {"program": program, "summary": told, "passed": done.returncode == 0 and bool(told)}
    return result if result["passed"] else {**result, "output": (done.stdout + done.stderr)[-3000:]}


def find_sanitizer() -> str | None:
    """compute-sanitizer of the path, or of a toolkit in its usual places."""
    toolkits = [os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda", "/opt/cuda"]
    places = [Path(toolkit) / folder for toolkit in toolkits if toolkit for folder in ("bin", "compute-sanitizer")]
    return shutil.which("compute-sanitizer") or next(
        (str(place / "compute-sanitizer") for place in places if (place / "compute-sanitizer").is_file()), None
    )


def bench(scene: Path, size: tuple[int, int], precision: str, device: int | None) -> dict[str, Any]:
    """``kilonerf-bench`` in all four modes."""
    command = [sys.executable, "-c", "from kilonerf.commands.bench import main; main()", str(scene)]
    command += [
        "--backend",
        "cuda",
        "--precision",
        precision,
        "--size",
        f"{size[0]}x{size[1]}",
        "--all-modes",
        "--json",
    ]
    command += ["--views", "3", "--frames", "10", "--dropped", "3", "--cooldown", "0.3"]
    if device is not None:
        command += ["--device", str(device)]
    done = run_tool(command, 90, {})
    if done.returncode != 0:
        raise RuntimeError(f"kilonerf-bench: {done.stderr[-1500:]}")
    found = json.loads(done.stdout)
    for mode in found["modes"]:
        del mode["per_pose"]
    return {key: found[key] for key in ("device", "size", "poses", "protocol", "modes")}


def interop(device: CudaDevice, scene: Scene, cameras: Sequence[Camera]) -> dict[str, Any]:
    """Frame times with and without the host between the device and an OpenGL texture."""
    try:
        from .interop import NoContextError, context_on, frames_by_way
    except ImportError as error:  # moderngl loads system libraries
        raise SectionSkipped(f"OpenGL cannot be loaded: {error}") from error
    try:
        context = context_on(device)
    except NoContextError as reason:
        raise SectionSkipped(str(reason)) from reason
    try:
        return frames_by_way(device, scene, cameras, context)
    finally:
        context.release()


def summary(document: Mapping[str, Any]) -> str:
    """The results for people."""
    lines = [f"{document['device']['name']}, commit {document['commit']}"]
    for name, result in document["sections"].items():
        if result["status"] != "done":
            reason = result.get("reason") or result.get("output", "")
            lines.append(f"{name}: {result['status']}: {reason.strip().splitlines()[-1] if reason.strip() else ''}")
        elif "modes" in result:
            for mode in result["modes"]:
                switches = " ".join(f"{key.upper()} {'on' if mode[key] else 'off'}" for key in ("ess", "ert"))
                kernel = mode["stages_ms"].get("kernel")
                lines.append(
                    f"{name}, {switches}: {mode['ms_median']} ms, kernel {kernel} ms, {mode['samples']:,} samples"
                )
        else:
            plain = {key: value for key, value in result.items() if not isinstance(value, dict)}
            lines.append(f"{name}: {numbers_in_words(plain)}")
            lines += [f"  {key}: {numbers_in_words(value)}" for key, value in result.items() if isinstance(value, dict)]
    return "\n".join(lines)


def numbers_in_words(numbers: Mapping[str, Any]) -> str:
    """``ms median 1.5, passes 7``, with sizes and inner numbers behind their names."""
    parts = []
    for name, value in numbers.items():
        if name in ("status", "seconds"):
            continue
        text = f"({numbers_in_words(value)})" if isinstance(value, dict) else value
        parts.append(f"{name.replace('_', ' ')} {'x'.join(map(str, text)) if isinstance(text, list) else text}")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
