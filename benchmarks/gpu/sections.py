"""The sections of a GPU check: what each measures or tests, in what order, and how long it may take.

Each runs in a process of its own (``python -m benchmarks.gpu.sections NAME --scene ...``, started by ``check.py``) and
says itself what became of it. A package that is missing skips the sections that need it; tests that did not run have
not passed.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .runner import write_result

if TYPE_CHECKING:
    from kilonerf.kernels.cuda.cupy_device import CupyDevice
    from kilonerf.model_io import Camera, Scene

REPOSITORY = Path(__file__).resolve().parents[2]
RENDER_TESTS = "tests/kernels/cuda/test_cuda_gpu.py"
TRAINING_TESTS = "tests/trainer/ops/test_cuda_training_gpu.py"
SIZES = ((800, 800), (1920, 1080))
PRECISIONS = ("float16", "float32")


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


@dataclass(frozen=True)
class Context:
    """What sections share: which scene and device."""

    scene_path: Path
    device_index: int | None

    @property
    def environment(self) -> dict[str, str]:
        """For processes that are to use the same device."""
        return {} if self.device_index is None else {"CUDA_VISIBLE_DEVICES": str(self.device_index)}

    def device(self) -> "CupyDevice":
        """The device."""
        from kilonerf.kernels.cuda.cupy_device import CupyDevice

        return CupyDevice(self.device_index)

    def scene(self) -> "Scene":
        """The scene."""
        from kilonerf.model_io import load_scene

        return load_scene(self.scene_path)

    def views(self, scene: "Scene", count: int, width: int, height: int) -> "list[Camera]":
        """Training poses, evenly chosen, of a size; a turntable's without any."""
        from kilonerf.model_io.camera.turntable import turntable_cameras

        ring, poses = turntable_cameras(scene, count, width, height), scene.training_poses
        if poses is None or not len(poses):
            return ring
        return [ring[0].moved(poses[k * len(poses) // count]) for k in range(count)]


@dataclass(frozen=True)
class Section:
    """A section.

    Attributes:
        run: returns what it found, plain values.
        limit: seconds that it may take.
    """

    run: Callable[[Context], dict[str, Any]]
    limit: float


def environment(context: Context) -> dict[str, Any]:
    """Device, driver, clocks."""
    from .environment import describe

    return describe(context.device())


def smoke(context: Context) -> dict[str, Any]:
    """One picture of 17x15 in each precision that the device has, against the reference."""
    from . import measurements

    scene = context.scene()
    found = measurements.agreement(context.device(), scene, context.views(scene, 1, 17, 15)[0], "reference")
    wrong = [name for name, value in found.items() if isinstance(value, dict) and value["psnr"] < 35]
    if wrong:
        raise SectionFailed(f"{', '.join(wrong)}: less than 35 dB from the reference", **found)
    return found


def pytest_section(path: str, context: Context) -> dict[str, Any]:
    """Tests that need a device."""
    report = REPOSITORY / "build" / f"{Path(path).stem}.xml"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [*pytest_command(path), f"--junitxml={report}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, **context.environment},
    )
    if not report.exists():
        raise SectionFailed("pytest wrote no report", output=(done.stdout + done.stderr)[-1500:])
    return judged(report.read_text(), done.returncode)


def judged(report: str, exit_code: int) -> dict[str, Any]:
    """Counts of a JUnit report.

    Raises:
        SectionSkipped: every test was skipped, with the first one's reason.
        SectionFailed: a test failed, with the ids of those that did; or there was none.
    """
    cases = list(ElementTree.fromstring(report).iter("testcase"))  # noqa: S314 - written by pytest just now
    wrong = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    failing = [case.get("name", "?") for case in wrong]
    skipped = [case.find("skipped") for case in cases]
    reasons = [reason.get("message", "") for reason in skipped if reason is not None]
    counts = {"tests": len(cases), "failures": len(failing), "skipped": len(reasons)}
    if failing:
        raise SectionFailed(f"{len(failing)} of {len(cases)} tests failed", failing=failing, **counts)
    if not cases:
        raise SectionFailed("no test ran", **counts)
    if len(reasons) == len(cases):
        raise SectionSkipped(f"all {len(cases)} tests were skipped: {reasons[0]}")
    if exit_code != 0:
        raise SectionFailed(f"pytest ended with exit code {exit_code}", **counts)
    return counts


def pytest_command(path: str, *more: str) -> list[str]:
    """Pytest on tests that need a GPU."""
    importlib.import_module("pytest")
    options = ["-q", "-m", "gpu", "-W", "default", "-p", "no:cacheprovider", "-o", "addopts="]
    return [sys.executable, "-m", "pytest", *options, "--import-mode=importlib", path, *more]


def sanitizer(tool: str, context: Context) -> dict[str, Any]:
    """The small GPU tests under compute-sanitizer."""
    from .environment import find_sanitizer

    program = find_sanitizer()
    if program is None:
        raise SectionSkipped("compute-sanitizer is not installed (it comes with the CUDA toolkit)")
    command = [program, "--tool", tool, "--target-processes", "all", "--report-api-errors", "no"]
    command += ["--error-exitcode", "86"]
    # Each array in an allocation of its own, so that a write beside it is outside of all.
    settings = {**context.environment, "KILONERF_GPU_TESTS_PLAIN_MEMORY": "1"}
    done = subprocess.run(
        [*command, *pytest_command(RENDER_TESTS, "-k", "small")],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, **settings},
    )
    return judged_sanitizer(program, done.stdout + done.stderr, done.returncode)


def judged_sanitizer(program: str, output: str, exit_code: int) -> dict[str, Any]:
    """What compute-sanitizer found; it has passed only if it summed up and tests ran under it.

    Raises:
        SectionFailed: it found something, or did not run to its end.
        SectionSkipped: the tests under it were skipped.
    """
    told = [line.strip("= ") for line in output.splitlines() if line.startswith("=====") and "SUMMARY" in line]
    last = next((line for line in reversed(output.splitlines()) if " passed" in line or " skipped" in line), "")
    if exit_code != 0 or not told:
        reason = told[-1] if told else f"exit code {exit_code}, and no summary"
        raise SectionFailed(reason, program=program, output=output[-3000:])
    if " passed" not in last:
        raise SectionSkipped(f"no test ran under it: {last.strip() or 'pytest said nothing'}")
    return {"program": program, "summary": told[-1], "tests": last.strip("= ")}


def bench(size: tuple[int, int], precision: str, context: Context) -> dict[str, Any]:
    """``kilonerf-bench`` in all four modes."""
    words = ["--backend", "cuda", "--precision", precision, "--size", f"{size[0]}x{size[1]}", "--all-modes", "--json"]
    words += ["--views", "3", "--frames", "10", "--dropped", "3", "--cooldown", "0.3"]
    if context.device_index is not None:
        words += ["--device", str(context.device_index)]
    program = "from kilonerf.commands.bench import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, str(context.scene_path), *words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SectionFailed(f"kilonerf-bench: {(done.stderr.strip().splitlines() or ['said nothing'])[-1]}")
    found = json.loads(done.stdout)
    for mode in found["modes"]:
        del mode["per_pose"]
    return {key: found[key] for key in ("device", "size", "poses", "protocol", "modes")}


def sorted_baseline(size: tuple[int, int], context: Context) -> dict[str, Any]:
    """The fused kernel beside the paper's pipeline."""
    from . import measurements
    from .sorted_baseline import CupyBaselineDevice

    device, scene = context.device(), context.scene()
    with device.active():
        baseline = CupyBaselineDevice()
    return measurements.side_by_side(device, baseline, scene, context.views(scene, 3, *size))


def interop(size: tuple[int, int], context: Context) -> dict[str, Any]:
    """Frame times with and without the host between the device and an OpenGL texture."""
    from .interop import NoContextError, context_on, frames_by_way

    device, scene = context.device(), context.scene()
    try:
        gl = context_on(device)
    except NoContextError as reason:
        raise SectionSkipped(str(reason)) from reason
    found = frames_by_way(device, scene, context.views(scene, 3, *size), gl)
    failed = [f"{way}: {told['failed']}" for way, told in found.items() if isinstance(told, dict) and "failed" in told]
    if failed:
        raise SectionFailed("; ".join(failed), **found)
    return found


def agreement(other: str, side: int, context: Context) -> dict[str, Any]:
    """PSNR of each precision to another backend."""
    from . import measurements

    scene = context.scene()
    return measurements.agreement(context.device(), scene, context.views(scene, 1, side, side)[0], other)


def networks_alone(context: Context) -> dict[str, Any]:
    """Samples a second that the networks alone evaluate."""
    from . import measurements

    return measurements.network_rate(context.device(), context.scene())


def matrix_product(context: Context) -> dict[str, Any]:
    """The device's fp16 peak by a large product."""
    from . import measurements

    return measurements.matrix_rate(context.device(), importlib.import_module("cupy"))


def training_times(context: Context) -> dict[str, Any]:
    """Training's operations."""
    from . import training_times as times

    return times.measure()


def all_sections() -> dict[str, Section]:
    """Every section by name, in the order in which they run: what is short and tells most comes first."""
    sections = {"environment": Section(environment, 60), "smoke": Section(smoke, 90)}
    for tool in ("memcheck", "racecheck"):
        sections[tool] = Section(partial(sanitizer, tool), 120)
    sections["tests"] = Section(partial(pytest_section, RENDER_TESTS), 180)
    sections["training tests"] = Section(partial(pytest_section, TRAINING_TESTS), 120)
    sections["agreement with reference"] = Section(partial(agreement, "reference", 160), 60)
    sections["agreement with cpu"] = Section(partial(agreement, "cpu", 800), 60)
    sections["networks alone"] = Section(networks_alone, 60)
    sections["fp16 matrix product"] = Section(matrix_product, 60)
    for size in SIZES:
        text = f"{size[0]}x{size[1]}"
        sections[f"sorted baseline {text}"] = Section(partial(sorted_baseline, size), 60)
        for precision in PRECISIONS:
            sections[f"bench {text} {precision}"] = Section(partial(bench, size, precision), 90)
    for size in SIZES:
        sections[f"interop {size[0]}x{size[1]}"] = Section(partial(interop, size), 60)
    sections["training times"] = Section(training_times, 90)
    return sections


def outcome(run: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """What became of a section, as its result."""
    try:
        return {**run(), "status": "done"}
    except SectionSkipped as reason:
        return {"status": "skipped", "reason": str(reason)}
    except SectionFailed as failure:
        return {**failure.found, "status": "failed", "reason": str(failure)}
    except ModuleNotFoundError as error:
        return {"status": "skipped", "reason": f"the package {error.name} is not installed"}
    except ImportError as error:  # moderngl loads system libraries
        return {"status": "skipped", "reason": f"a library cannot be loaded: {error}"}
    except Exception as error:  # whatever it is, it is this section's result
        traceback.print_exc()
        text = " ".join(str(error).split())
        said = text if type(error).__name__ == "BackendError" else f"{type(error).__name__}: {text}"
        return {"status": "failed", "reason": said[-500:]}


def main() -> None:
    """One section, in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=list(all_sections()))
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--device", type=int)
    options = parser.parse_args()
    context = Context(options.scene, options.device)
    write_result(outcome(lambda: all_sections()[options.name].run(context)))


if __name__ == "__main__":
    main()
