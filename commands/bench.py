"""``kilonerf-bench``: how long a frame takes on this machine."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from kilonerf.kernels import Renderer
from kilonerf.kernels.measure.benchmark import Protocol, Timing, all_modes, measure
from kilonerf.kernels.measure.machine import program_commit, this_machine
from kilonerf.kernels.measure.poses import evenly_chosen, scene_poses
from kilonerf.model_io import Camera, Scene, UsageError
from kilonerf.model_io.datasets import load_dataset
from kilonerf.model_io.files.atomic import AtomicFile, write_text
from kilonerf.model_io.scene.origin import relative_to, scene_origin
from kilonerf.model_io.streaming.address import Location

from .command_line import read_scene, run_command
from .render_switches import RenderSwitches, Switches, parse_size

PROGRAM = "kilonerf-bench"


@dataclass
class BenchCommand:
    """Measure frame times: at each pose a rest, then frames, of which the first are dropped.

    Poses are those of a data set, else the scene's training poses, else a ring around the scene at the distance of
    its start camera. Samples are taken as trained unless --flying is given.
    """

    # The scene, a .knf file or the URL of one.
    scene: Annotated[tyro.conf.Positional[Location], tyro.conf.arg(metavar="SCENE|URL")]
    # Poses: a Blender transforms_*.json, or the folder of a Blender or NSVF data set.
    poses: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    # Split of a data set's folder: train, val or test.
    split: str = "test"
    # How many of the poses to use, evenly chosen.
    views: int = 5
    # Size of the pictures in pixels.
    size: Annotated[str, tyro.conf.arg(metavar="WIDTHxHEIGHT")] = "800x800"
    # Frames that count, per pose.
    frames: int = 5
    # Frames before them that do not count, per pose.
    dropped: int = 2
    # Seconds of rest before each pose.
    cooldown: float = 3.0
    # Measure the four combinations of ESS and ERT side by side.
    all_modes: tyro.conf.FlagCreatePairsOff[bool] = False
    # Print JSON for programs.
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    # Also write the JSON to this file.
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="PATH")] = None
    switches: Switches = field(default_factory=RenderSwitches)


def main() -> None:
    """Entry point of ``kilonerf-bench``."""
    run_command(PROGRAM, BenchCommand, run)


def run(command: BenchCommand) -> None:
    """Measure and print.

    Raises:
        KiloNeRFError: bad input, or an output that cannot be written.
    """
    protocol = checked_protocol(command)
    width, height = parse_size(command.size)
    if command.output is not None:
        AtomicFile(command.output).discard()  # found before minutes of measuring
    scene = read_scene(command.scene)
    options = command.switches.options(scene, as_trained=True)
    modes = all_modes(options) if command.all_modes else [options]
    source, cameras = choose_poses(command, scene, width, height)
    renderer = command.switches.renderer(scene)
    total = len(modes) * len(cameras) * (protocol.dropped + protocol.frames)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(f"{command.scene.name}, {renderer.device}", total=total)
        timings = measure(renderer, cameras, modes, protocol, on_frame=lambda: progress.advance(bar))
    document = as_json(command, renderer, timings, protocol, source)
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    if command.output is not None:
        write_text(command.output, text)
    if command.json:
        print(text, end="")
    else:
        print_table(document)


def checked_protocol(command: BenchCommand) -> Protocol:
    """The protocol that the command asks for.

    Raises:
        UsageError: a number out of range.
    """
    for name, lowest in (("views", 1), ("frames", 1), ("dropped", 0)):
        if not lowest <= getattr(command, name) <= 100_000:
            raise UsageError(f"--{name}: expected {lowest} to 100000, got {getattr(command, name)}")
    if not 0.0 <= command.cooldown <= 3600.0:
        raise UsageError(f"--cooldown: expected 0 to 3600 seconds, got {command.cooldown}")
    return Protocol(command.frames, command.dropped, command.cooldown)


def choose_poses(command: BenchCommand, scene: Scene, width: int, height: int) -> tuple[str, list[Camera]]:
    """Where the poses come from, and the cameras at the wanted size.

    Raises:
        DatasetError: the poses cannot be read.
    """
    if command.poses is not None:
        views = evenly_chosen(load_dataset(command.poses, command.split, (width, height)).views, command.views)
        cameras = [relative_to(scene_origin(scene), view.camera) for view in views]
        return str(command.poses), [camera.resized(width, height) for camera in cameras]
    return scene_poses(scene, command.views, width, height)


def as_json(
    command: BenchCommand, renderer: Renderer, timings: Sequence[Timing], protocol: Protocol, source: str
) -> dict[str, Any]:
    """What ``--json`` prints: the first mode's numbers at the top, and with ``--all-modes`` all four in "modes"."""
    document: dict[str, Any] = {
        "scene": str(command.scene),
        **mode_as_json(timings[0]),
        "backend": renderer.backend,
        "device": renderer.device,
        "size": list(parse_size(command.size)),
        "poses": {"source": source, "count": len(timings[0].poses)},
        "protocol": dataclasses.asdict(protocol),
        "options": dataclasses.asdict(timings[0].options),
        "commit": program_commit(),
        "machine": dataclasses.asdict(this_machine()),
    }
    if command.all_modes:
        document["modes"] = [mode_as_json(timing) for timing in timings]
    return document


def mode_as_json(timing: Timing) -> dict[str, Any]:
    """The numbers of one mode; counts are of one frame, means over the poses."""
    return {
        "ess": timing.options.ess,
        "ert": timing.options.ert,
        "ms_median": round(timing.ms_median, 3),
        "ms_min": round(min(timing.ms), 3),
        "ms_max": round(max(timing.ms), 3),
        "samples": round(timing.samples),
        "evaluations": round(timing.evaluations),
        "evaluations_by_level": [round(evaluations) for evaluations in timing.evaluations_by_level],
        "samples_per_ray": round(timing.samples_per_ray, 4),
        "stages_ms": {name: round(ms, 3) for name, ms in timing.stages_ms.items()},
        "per_pose": [
            {"ms": [round(ms, 3) for ms in pose.ms], "samples": pose.statistics.samples} for pose in timing.poses
        ],
    }


def print_table(document: dict[str, Any]) -> None:
    """The results for people, on standard output."""
    width, height = document["size"]
    poses, machine = document["poses"], document["machine"]
    title = f"{document['scene']} at {width}x{height}, {document['backend']} ({document['device']})"
    table = Table(title=title)
    for heading in ("ESS", "ERT"):
        table.add_column(heading)
    for heading in ("ms median", "min", "max", "fps", "samples", "per ray"):
        table.add_column(heading, justify="right")
    modes = document.get("modes", [document])
    for mode in modes:
        switches = ["on" if mode[name] else "off" for name in ("ess", "ert")]
        times = [f"{mode[name]:.1f}" for name in ("ms_median", "ms_min", "ms_max")]
        work = [f"{mode['samples']:,}", f"{mode['samples_per_ray']:.3f}"]
        table.add_row(*switches, *times, f"{1000.0 / max(mode['ms_median'], 1e-6):.1f}", *work)
    console = Console()
    console.print(table)
    stages = ", ".join(f"{name} {ms:.1f}" for name, ms in document["stages_ms"].items())
    levels = ", ".join(f"{evaluations:,}" for evaluations in document["evaluations_by_level"])
    for line in (
        f"stages of the first row, ms: {stages}",
        *([f"evaluations by level of the first row: {levels}"] if "," in levels else []),
        f"{poses['count']} poses ({poses['source']}); {machine['cpu']}, {machine['cores']} cores, {machine['os']}",
        f"program: {document['commit']}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
