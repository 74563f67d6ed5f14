"""``kilonerf-render``: a scene to a video or to PNG files, without a window."""

import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kilonerf.model_io import Camera, CameraPath, OutputError, Scene, UsageError, load_scene
from kilonerf.model_io.camera.turntable import turntable_cameras
from kilonerf.model_io.datasets import load_dataset
from kilonerf.model_io.scene.origin import relative_to, scene_origin
from kilonerf.viewer.recording.picture_files import check_output
from kilonerf.viewer.recording.render_job import RenderJob, path_cameras
from kilonerf.viewer.recording.video import DEFAULT_QUALITY, VideoCodec

from .command_line import print_notes, run_command
from .render_switches import RenderSwitches, Switches, parse_frames, parse_size, say_fallback

PROGRAM = "kilonerf-render"
DEFAULT_SIZE = (800, 800)
LONGEST = 1_000_000  # frames; more was not meant


@dataclass
class RenderCommand:
    """Render a scene to a video or to PNG files: from the poses of a data set, along a path, or around it."""

    # The scene, a .knf file.
    scene: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SCENE")]
    # What to write: out.mp4, out.webm, frame_%04d.png, or a plain .png for a single frame.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    # Poses to render, one frame each: a Blender transforms_*.json, or the folder of a Blender or NSVF data set.
    poses: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    # A camera path as JSON, as the viewer records it (docs/camera_path.md).
    path: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    # A full turn around the scene that takes this many seconds.
    turntable: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    # Split of a data set's folder: train, val or test.
    split: str = "test"
    # Size of the pictures in pixels; left out: the size of the poses' data set, else 800x800.
    size: Annotated[str | None, tyro.conf.arg(metavar="WIDTHxHEIGHT")] = None
    # Frames per second.
    fps: float = 30.0
    # Frames A up to, not including, B; numbers count from 0 and stay those of the whole.
    frames: Annotated[str | None, tyro.conf.arg(metavar="A:B")] = None
    # Leave out PNG files that are there already. (Ctrl-C keeps finished PNG files and removes an unfinished video.)
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    # Quality of a video, 0 (small) to 100 (next to lossless).
    quality: int = DEFAULT_QUALITY
    # Codec of a video; auto: H.264 for .mp4, VP9 for .webm.
    codec: VideoCodec = "auto"
    switches: Switches = field(default_factory=RenderSwitches)


def main() -> None:
    """Entry point of ``kilonerf-render``."""
    # `kill` and `timeout` end the program as Ctrl-C does: nothing half-written stays.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_command(PROGRAM, RenderCommand, run)


def run(command: RenderCommand) -> None:
    """Render what the command asks for.

    Raises:
        KiloNeRFError: bad input, or an output that cannot be written.
        KeyboardInterrupt: the user stopped it; PNG files that were written stay, an unfinished video is removed.
    """
    job = make_job(command)
    began = time.monotonic()
    try:
        job.start()
        follow(job)
    except KeyboardInterrupt:
        job.abort()
        job.wait()
        raise
    if job.error is not None:
        raise job.error
    say_fallback(job.fallback)
    seconds = time.monotonic() - began
    print(f"{job.output}: {job.progress.done} frames in {seconds:.1f} s ({job.device})")


def make_job(command: RenderCommand) -> RenderJob:
    """Read all input and check all options; nothing is written yet.

    Raises:
        KiloNeRFError: bad input.
    """
    if sum(source is not None for source in (command.poses, command.path, command.turntable)) != 1:
        raise UsageError("expected one of --poses, --path and --turntable")
    if not 0.0 < command.fps <= 1000.0:
        raise UsageError(f"--fps: expected more than 0 and at most 1000, got {command.fps}")
    if not 0 <= command.quality <= 100:
        raise UsageError(f"--quality: expected 0 to 100, got {command.quality}")
    size = None if command.size is None else parse_size(command.size)
    if not command.output.parent.is_dir():
        raise OutputError(f"{command.output}: expected an existing folder, got none named {command.output.parent}")
    scene = load_scene(command.scene)
    options = command.switches.options(scene, as_trained=command.poses is not None)
    cameras = choose_cameras(command, scene, size)
    frames = range(len(cameras)) if command.frames is None else parse_frames(command.frames, len(cameras))
    check_output(command.output, len(frames), command.codec)
    if command.resume and command.output.suffix.lower() != ".png":
        raise UsageError("--resume: expected PNG files as output; a video cannot be resumed")
    width, height = cameras[0].width, cameras[0].height
    return RenderJob(
        scene,
        cameras,
        options,
        command.output,
        width,
        height,
        command.fps,
        backend=command.switches.choice,
        quality=command.quality,
        codec=command.codec,
        frames=frames,
        resume=command.resume,
    )


def choose_cameras(command: RenderCommand, scene: Scene, size: tuple[int, int] | None) -> list[Camera]:
    """The cameras of all frames, all of one size.

    Raises:
        KiloNeRFError: poses or path cannot be read, or make more frames than can be meant.
    """
    if command.poses is not None:
        dataset = load_dataset(command.poses, command.split, size or DEFAULT_SIZE)
        print_notes(PROGRAM, dataset)
        cameras = [relative_to(scene_origin(scene), view.camera) for view in dataset.views]
        return [camera.resized(*size) if size else camera for camera in cameras]
    width, height = size or DEFAULT_SIZE
    if command.path is not None:
        path = CameraPath.load(command.path)
        _check_length(path.duration, command.fps)
        return path_cameras(path, width, height, command.fps)
    seconds = command.turntable or 0.0
    if not seconds * command.fps >= 1.0:
        raise UsageError(f"--turntable: expected the seconds of at least one frame, got {command.turntable}")
    _check_length(seconds, command.fps)
    return turntable_cameras(scene, round(seconds * command.fps), width, height)


def _check_length(seconds: float, fps: float) -> None:
    if not seconds * fps < LONGEST:
        raise UsageError(f"expected at most {LONGEST} frames, got {seconds:g} s at {fps:g} frames per second")


def follow(job: RenderJob) -> None:
    """Show a bar on a terminal until the job is over."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(job.output.name, total=job.progress.total, rate="")
        while not job.wait(0.1):
            done = job.progress.done
            rate = f"{done / (time.monotonic() - began):.2f} frames/s" if done else ""
            progress.update(bar, completed=done, rate=rate)
