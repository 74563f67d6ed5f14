"""Sections of the CPU benchmark that need a process of their own: memory while rendering, and a profile by function."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .measure import SectionSkipped, Setup

REPOSITORY = Path(__file__).resolve().parents[2]
STATUS = Path("/proc/self/status")
PROFILE_SECONDS = 5.0
SHOWN = 12  # functions of a profile
OTHER_FUNCTIONS = "other functions of the extension"
ELSEWHERE = "Python, libraries and the system, with the start of the process"

MEMORY_PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from kilonerf.kernels import BackendChoice, RenderOptions, create_renderer
from kilonerf.model_io import load_kilonerf_scene

def kilobytes(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0])

scene_path, threads, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
before = kilobytes("VmRSS")
scene = load_kilonerf_scene(scene_path)
renderer = create_renderer(scene, BackendChoice("cpu", threads=threads))
made = kilobytes("VmHWM")
options = RenderOptions.as_trained(scene)
camera = scene.start_camera.resized(size, size)
for _ in range(3):
    frame = renderer.render(camera, options)
print(json.dumps({"before": before, "loaded": made, "peak": kilobytes("VmHWM"), "after": kilobytes("VmRSS")}))
"""

PROFILE_PROGRAM = """
import importlib.util, sys, time
import kilonerf.kernels
if len(sys.argv) > 4:  # an extension that has kept its functions' names
    spec = importlib.util.spec_from_file_location("kilonerf.kernels._cpu", sys.argv[4])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["kilonerf.kernels._cpu"] = kilonerf.kernels._cpu = module
from kilonerf.kernels import BackendChoice, RenderOptions, create_renderer
from kilonerf.model_io import load_kilonerf_scene
scene = load_kilonerf_scene(sys.argv[1])
renderer = create_renderer(scene, BackendChoice("cpu", threads=int(sys.argv[2])))
options = RenderOptions.as_trained(scene)
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    renderer.render(scene.start_camera, options)
"""


def memory(setup: Setup) -> dict[str, Any]:
    """Resident memory of a process at its peak while it loads the scene and renders, less that of before."""
    if not STATUS.exists():
        raise SectionSkipped("needs Linux's /proc")
    if setup.scene.start_camera is None:
        raise SectionSkipped("the scene has no start camera")
    done = _python(MEMORY_PROGRAM, setup.scene_path, setup.threads, setup.size)
    sizes = {name: 1024 * kilobytes for name, kilobytes in json.loads(done.stdout).items()}
    setup.progress()
    return {
        "size": setup.size,
        "threads": setup.threads,
        "scene_bytes": setup.scene_path.stat().st_size,
        "before_bytes": sizes["before"],
        "peak_bytes": sizes["peak"],
        "used_bytes": sizes["peak"] - sizes["before"],
        "resting_bytes": sizes["after"] - sizes["before"],
    }


def profile(setup: Setup) -> dict[str, Any]:
    """Shares of the processor's time by function, from Linux's perf and an extension built with its names kept."""
    if not shutil.which("perf"):
        raise SectionSkipped("perf is not installed (Linux: package linux-perf)")
    if setup.scene.start_camera is None:
        raise SectionSkipped("the scene has no start camera")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        extension = _extension_with_names(folder / "build")
        data = folder / "perf.data"
        arguments = [setup.scene_path, setup.threads, PROFILE_SECONDS, extension]
        # NumPy's threads, which a frame does not use, spin for a while after their library is loaded.
        record = ["env", "OPENBLAS_NUM_THREADS=1", "perf", "record", "-q", "-e", "cpu-clock", "-F", "999", "-o", data]
        _run([*record, "--", sys.executable, "-c", PROFILE_PROGRAM, *arguments], "perf record")
        report = ["perf", "report", "-i", data, "--stdio", "--no-children", "--sort", "dso,symbol"]
        text = _run([*report, "--field-separator", "\t"], "perf report").stdout
    setup.progress()
    functions = parse_report(text)
    return {"seconds": PROFILE_SECONDS, "threads": setup.threads, "functions": functions[:SHOWN]}


def parse_report(text: str) -> list[dict[str, Any]]:
    """Functions of the native extension and their shares of all samples, from ``perf report``; the rest is one entry.

    Raises:
        SectionSkipped: the extension was not seen.
    """
    shares: dict[str, float] = {}
    seen = False
    for line in text.splitlines():
        found = re.match(r"\s*([\d.]+)%?\s*\t\s*(\S+)\s*\t\s*\[.\]\s*(\S.*?)\s*(?:\t|$)", line)
        if not found:
            continue
        share, place, name = float(found[1]) / 100.0, found[2], re.sub(r"\(.*", "", found[3])
        if place.startswith("_cpu."):
            seen = True
            name = OTHER_FUNCTIONS if name.startswith("0x") else name
        else:
            name = ELSEWHERE
        shares[name] = shares.get(name, 0.0) + share
    if not seen:
        raise SectionSkipped("perf saw nothing of the native extension")
    ordered = sorted(shares.items(), key=lambda item: item[1], reverse=True)
    return [{"name": name, "share": share} for name, share in ordered]


def _extension_with_names(folder: Path) -> Path:
    """Build the extension of this checkout again; the installed one is stripped of its functions' names."""
    try:
        import nanobind
    except ImportError as error:
        raise SectionSkipped("nanobind is not installed") from error
    if not shutil.which("cmake"):
        raise SectionSkipped("cmake is not installed")
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_STRIP": "/bin/true",
        "Python_EXECUTABLE": sys.executable,
        "nanobind_DIR": nanobind.cmake_dir(),
    }
    defines = [f"-D{name}={value}" for name, value in options.items()]
    _run(["cmake", "-S", REPOSITORY, "-B", folder, *defines], "cmake")
    _run(["cmake", "--build", folder, "--parallel"], "the build")
    return next((folder / "kernels" / "cpu").glob("_cpu*.so"))


def _python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return _run([sys.executable, "-c", program, *arguments], "the process that was measured")


def _run(command: list[object], what: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise SectionSkipped(f"{what} failed: {last[0]}")
    return done
