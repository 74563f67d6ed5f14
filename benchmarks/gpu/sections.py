"""The sections of a GPU check: what each measures or tests, in what order, and how long it may take.

Each runs in a process of its own (``python -m benchmarks.gpu.sections NAME --scene ...``, started by ``check.py``) and
says itself what became of it. A package that is missing skips the sections that need it; tests that did not run have
not passed. The packages come with each section's own imports, so that none is missed by another.
"""

import argparse
import importlib
import json
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import tools
from .provision import REPOSITORY, ProvisionError, provide
from .runner import write_result
from .tools import SectionFailed, SectionSkipped

if TYPE_CHECKING:
    from kilonerf.kernels.cuda.cupy_device import CupyDevice
    from kilonerf.model_io import Camera, KiloNeRFScene, OctreeScene, Scene

PARTS = ("tests", "times", "profile")
FIRST = ("set-up", "environment")  # of every part
SIZES = ((800, 800), (1920, 1080))
PRECISIONS = ("float16", "float32")
LEAST_PSNR = 35.0  # below it a picture is plainly wrong; the tests are stricter
EXTENSION = "kilonerf.kernels._cpu"
TRAINING_COUNTS = (48, 192, 480, 2048)


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

    def scene(self) -> "KiloNeRFScene":
        """The scene."""
        from kilonerf.model_io import load_kilonerf_scene

        return load_kilonerf_scene(self.scene_path)

    def octree_field(self) -> "OctreeScene":
        """A made-up field in the scene's voxels."""
        from .octree_field import made_up_field

        return made_up_field(self.scene())

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
        run: returns what it found, plain values; of these ``headlines`` are for the table.
        limit: seconds that it may take.
        part: of PARTS, to which it belongs; "" for those that run in every part, or are only run by name.
    """

    run: Callable[[Context], dict[str, Any]]
    limit: float
    part: str


def set_up(context: Context) -> dict[str, Any]:
    """What is missing to import the program."""
    try:
        found = provide()
    except ProvisionError as error:
        raise SectionFailed(str(error)) from error
    unpacked = f", {len(found['unpacked'])} packages unpacked" if found["unpacked"] else ""
    line = f"program: {found['program']}, extension: {found['extension']}{unpacked}"
    return {**found, "headlines": [line]}


def environment(context: Context) -> dict[str, Any]:
    """Device, driver, clocks."""
    from .environment import describe

    found = describe(context.device())
    keys = ("driver_version", "driver_supports_cuda", "runtime_cuda", "cupy", "clocks.max.sm")
    told = [f"{key.replace('_', ' ')} {found[key]}" for key in keys if key in found]
    return {**found, "headlines": [", ".join(told)]}


def smoke(context: Context) -> dict[str, Any]:
    """One picture of 17x15 in each precision that the device has, against the reference."""
    return agreement("reference", (17, 15), context)


def agreement(other: str, size: tuple[int, int], context: Context, *, octree: bool = False) -> dict[str, Any]:
    """PSNR of each precision to another backend."""
    from . import measurements

    if other == "cpu":
        importlib.import_module(EXTENSION)
    scene = context.octree_field() if octree else context.scene()
    found = measurements.agreement(context.device(), scene, context.views(scene, 1, *size)[0], other)
    told = {name: found[name]["psnr"] for name in PRECISIONS if name in found}
    line = ", ".join(f"{name} {psnr} dB" for name, psnr in told.items()) + f" to {other}, {size[0]}x{size[1]}"
    if any(psnr < LEAST_PSNR for psnr in told.values()):
        raise SectionFailed(f"{line}: expected at least {LEAST_PSNR:.0f} dB", **found)
    return {**found, "headlines": [f"{line}, {found['samples']:,} samples"]}


def kernel_resources(context: Context) -> dict[str, Any]:
    """Registers, shared memory and resident blocks of every kernel, as the driver says."""
    from . import measurements

    found = measurements.all_resources(context.device())
    spilled = [name for name, told in found.items() if told.get("local_bytes")]
    shown = [name for name in found if name.partition(" ")[0] in ("render", "query")]
    if spilled:
        raise SectionFailed(f"local memory (spills or stack): {', '.join(spilled)}", kernels=found)
    told = [f"{name} {found[name].get('registers')} x {found[name].get('blocks')}" for name in shown]
    return {"kernels": found, "headlines": [f"registers x blocks: {', '.join(told)}"]}


def run_tests(path: str, context: Context) -> dict[str, Any]:
    """Tests that need a device."""
    return tools.run_tests(path, context.environment)


def sanitizer(tool: str, context: Context) -> dict[str, Any]:
    """The small GPU tests under compute-sanitizer."""
    return tools.sanitize(tool, context.environment)


def networks_alone(context: Context) -> dict[str, Any]:
    """Samples a second that the networks alone evaluate."""
    from . import measurements

    found = measurements.network_rate(context.device(), context.scene(), seconds=measurements.WARM_UP)
    told = [
        f"{name} {found[name]['giga_samples_per_second']} G samples/s ({found[name]['teraflops']} TFLOP/s)"
        for name in ("float16", "float16, fp16 sums", "float32")
        if name in found
    ]
    return {**found, "headlines": [", ".join(told)]}


def matrix_product(context: Context) -> dict[str, Any]:
    """The device's fp16 peak by a large product."""
    from . import measurements

    found = measurements.matrix_rate(context.device(), importlib.import_module("cupy"), seconds=measurements.WARM_UP)
    return {**found, "headlines": [f"{found['teraflops']} TFLOP/s"]}


def fused(size: tuple[int, int], precision: str, context: Context) -> dict[str, Any]:
    """The fused kernel's frames: on the device alone, and by a clock."""
    frames, found = _frames(size, precision, context, context.scene())
    line = (
        f"kernel {found['ms_median']:.4g} ms, on device {found['on_device_ms']:.4g}, "
        f"to host {found['to_host_ms']:.4g}, launch {found['host_us']['launch']:.0f} us, {found['sm_mhz']} MHz"
    )
    if precision == "float16":
        found["half_sums"] = half = frames(half_sums=True)
        line += f", with fp16 sums {half['ms_median']:.4g} ms"
        found["four_per_ray"] = four = frames(per_ray=4)
        line += f", 4 a round {four['ms_median']:.4g}"
    return _with_headline(found, line)


def octree_frames(size: tuple[int, int], precision: str, context: Context) -> dict[str, Any]:
    """The same kernel's frames of an octree field."""
    _, found = _frames(size, precision, context, context.octree_field())
    line = f"kernel {found['ms_median']:.4g} ms, to host {found['to_host_ms']:.4g}"
    line += f", {found['counts']['evaluations']:,} evaluations"
    return _with_headline(found, line)


def _frames(
    size: tuple[int, int], precision: str, context: Context, scene: "Scene"
) -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    """What times the fused kernel's frames of a scene, and what it found, with a frame's counts."""
    from kilonerf.kernels import RenderOptions

    from . import measurements

    device = context.device()
    if precision not in measurements.precisions(device):
        raise SectionSkipped(f"{device.name} has no tensor cores of the kind needed")
    options = RenderOptions.as_trained(scene, precision=precision)
    views = context.views(scene, 3, *size)
    frames = partial(measurements.fused_frames, device, scene, views, options, seconds=measurements.WARM_UP)
    found = frames()
    found["counts"] = measurements.frame_counts(device, scene, views[0], options)
    return frames, found


def _with_headline(found: dict[str, Any], line: str) -> dict[str, Any]:
    return {**found, "headlines": [line if found["host_was_ahead"] else f"(waits for the host in it) {line}"]}


def sorted_baseline(size: tuple[int, int], context: Context) -> dict[str, Any]:
    """The fused kernel beside the paper's pipeline."""
    from . import measurements
    from .sorted_baseline import CupyBaselineDevice

    device, scene = context.device(), context.scene()
    with device.active():
        baseline = CupyBaselineDevice()
    views = context.views(scene, 3, *size)
    found = measurements.side_by_side(device, baseline, scene, views, seconds=measurements.WARM_UP)
    told = [f"{found[f'fused {name}']['times_faster']} ({name})" for name in PRECISIONS if f"fused {name}" in found]
    return {**found, "headlines": [f"{found['sorted']['ms_median']} ms; fused is times faster: {', '.join(told)}"]}


def interop(size: tuple[int, int], context: Context) -> dict[str, Any]:
    """Frame times with and without the host between the device and an OpenGL texture."""
    from . import measurements
    from .interop import NoContextError, context_on, frames_by_way

    device, scene = context.device(), context.scene()
    try:
        gl = context_on(device)
    except NoContextError as reason:
        raise SectionSkipped(str(reason)) from reason
    found = frames_by_way(device, scene, context.views(scene, 3, *size), gl, seconds=measurements.WARM_UP)
    ways = {way: told for way, told in found.items() if isinstance(told, dict)}
    failed = [f"{way}: {told['failed']}" for way, told in ways.items() if "failed" in told]
    failed += [
        f"{way}: the picture is off by {told['largest_difference_of_255']} of 255"
        for way, told in ways.items()
        if told.get("largest_difference_of_255", 0) > 1
    ]
    if failed:
        raise SectionFailed("; ".join(failed), **found)
    line = ", ".join(f"{way} {told['ms_median']} ms" for way, told in ways.items())
    return {**found, "headlines": [f"{line} ({found.get('opengl')})"]}


def bench(size: tuple[int, int], precision: str, context: Context) -> dict[str, Any]:
    """``kilonerf-bench`` in all four modes."""
    importlib.import_module("kilonerf.commands.bench")  # says which package it lacks
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
    told = [
        " ".join(f"{key.upper()} {'on' if mode[key] else 'off'}" for key in ("ess", "ert"))
        + f" {mode['stages_ms'].get('kernel')} ms"
        for mode in found["modes"]
    ]
    kept = {key: found[key] for key in ("device", "size", "poses", "protocol", "modes")}
    return {**kept, "headlines": [f"kernel {', '.join(told)}"]}


def launches(kernel: str, context: Context) -> dict[str, Any]:
    """Some launches of a kernel, to be profiled."""
    from kilonerf.kernels import RenderOptions

    from . import measurements

    device, scene = context.device(), context.scene()
    if kernel == "query":
        return measurements.network_rate(device, scene, repeats=3)
    from kilonerf.kernels.cuda.renderer import CudaRenderer

    renderer, camera = CudaRenderer(scene, device), context.views(scene, 1, *SIZES[0])[0]
    precision = measurements.precisions(device)[0]
    for _ in range(6):
        renderer.render(camera, RenderOptions.as_trained(scene, precision=precision))
    return {}


def profile(kernel: str, context: Context) -> dict[str, Any]:
    """One launch under Nsight Compute."""
    command = [sys.executable, "-m", "benchmarks.gpu.sections", f"launches of {kernel}"]
    command += ["--scene", str(context.scene_path)]
    report = REPOSITORY / "build" / f"{kernel}.ncu-rep"
    report.parent.mkdir(exist_ok=True)
    return tools.profile(kernel, command, report, context.environment)


def training_networks(context: Context) -> dict[str, Any]:
    """Training's networks alone."""
    from . import training_times

    found = {f"{count} samples each": training_times.networks_alone(count) for count in TRAINING_COUNTS}
    told = [f"{name} {part['with_backward_msamples_s']}" for name, part in found.items()]
    return {**training_times.device(), **found, "headlines": [f"M samples/s with backward: {', '.join(told)}"]}


def training_step(context: Context) -> dict[str, Any]:
    """A step of fine-tuning and its parts."""
    from . import training_times

    found = {**training_times.device(), **training_times.fine_tuning_step(context.scene_path)}
    parts = ("whole", "sampling", "networks_forward", "compositing", "adam")
    return {**found, "headlines": [", ".join(f"{name.replace('_', ' ')} {found[name]} ms" for name in parts)]}


def all_sections() -> dict[str, Section]:
    """Every section by name, in the order in which they run: what is short and tells most comes first."""
    sections = {"set-up": Section(set_up, 120, ""), "environment": Section(environment, 60, "")}
    sections["smoke"] = Section(smoke, 90, "tests")
    sections["kernel resources"] = Section(kernel_resources, 90, "tests")
    for tool in ("memcheck", "racecheck", "synccheck"):
        sections[tool] = Section(partial(sanitizer, tool), 120, "tests")
    sections["tests"] = Section(partial(run_tests, tools.RENDER_TESTS), 180, "tests")
    sections["training tests"] = Section(partial(run_tests, tools.TRAINING_TESTS), 120, "tests")
    of_field = partial(agreement, "reference", (160, 160), octree=True)
    sections["octree field's agreement"] = Section(of_field, 60, "tests")
    sections["agreement with reference"] = Section(partial(agreement, "reference", (160, 160)), 60, "tests")
    sections["agreement with cpu"] = Section(partial(agreement, "cpu", SIZES[0]), 60, "tests")
    sections["networks alone"] = Section(networks_alone, 60, "times")
    sections["fp16 matrix product"] = Section(matrix_product, 60, "times")
    for precision in PRECISIONS:
        sections[f"octree field {precision}"] = Section(partial(octree_frames, SIZES[0], precision), 60, "times")
    named = [(f"{size[0]}x{size[1]}", size) for size in SIZES]
    for text, size in named:
        for precision in PRECISIONS:
            sections[f"fused {text} {precision}"] = Section(partial(fused, size, precision), 60, "times")
        sections[f"sorted baseline {text}"] = Section(partial(sorted_baseline, size), 60, "times")
        sections[f"interop {text}"] = Section(partial(interop, size), 60, "times")
    for text, size in named:
        for precision in PRECISIONS:
            sections[f"bench {text} {precision}"] = Section(partial(bench, size, precision), 60, "times")
    for kernel in ("render", "query"):
        sections[f"profile {kernel}"] = Section(partial(profile, kernel), 150, "profile")
        sections[f"launches of {kernel}"] = Section(partial(launches, kernel), 60, "")
    sections["training networks"] = Section(training_networks, 90, "profile")
    sections["training step"] = Section(training_step, 90, "profile")
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
        if (error.name or "").partition(".")[0] in tools.OURS and error.name not in ("kilonerf", EXTENSION):
            return {"status": "failed", "reason": f"ModuleNotFoundError: {error}"}
        return {"status": "skipped", "reason": f"the package {error.name} is not installed"}
    except ImportError as error:  # moderngl loads system libraries
        return {"status": "skipped", "reason": f"a library cannot be loaded: {' '.join(str(error).split())}"}
    except Exception as error:  # whatever it is, it is this section's result
        traceback.print_exc()
        text, kind = " ".join(str(error).split()), type(error).__name__
        return {"status": "failed", "reason": (text if kind == "BackendError" else f"{kind}: {text}")[-500:]}


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
