"""``kilonerf-render``: a scene to a video or to PNG files, without a window."""

import signal
import sys
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kilonerf.kernels import RenderOptions
from kilonerf.model_io import Camera, CameraPath, OutputError, Scene, UsageError
from kilonerf.model_io.camera.interchange import load_any_path
from kilonerf.model_io.camera.turntable import turntable_cameras
from kilonerf.model_io.datasets import load_dataset
from kilonerf.model_io.scene.origin import relative_to, scene_origin
from kilonerf.model_io.streaming.address import Location
from kilonerf.viewer.recording.depth_files import DepthMaker
from kilonerf.viewer.recording.film import Film, frame_count
from kilonerf.viewer.recording.frame_rate import parse_rate
from kilonerf.viewer.recording.panorama import PanoramaMaker
from kilonerf.viewer.recording.render_job import MakePicture, RenderJob
from kilonerf.viewer.recording.video import DEFAULT_QUALITY, VideoCodec

from .command_line import print_notes, read_scene, run_command
from .render_switches import PathWorlds, RenderSwitches, Switches, WorldSwitches, parse_frames, parse_size, say_fallback

PROGRAM = "kilonerf-render"
DEFAULT_SIZE = (800, 800)
PANORAMA_SIZE = (2048, 1024)
LONGEST = 1_000_000  # frames; more was not meant


@dataclass
class RenderCommand:
    """Render a scene to a video or to PNG files: from the poses of a data set, along a path, or around it."""

    # The scene, a .knf file or the URL of one.
    scene: Annotated[tyro.conf.Positional[Location], tyro.conf.arg(metavar="SCENE|URL")]
    # What to write: out.mp4, out.webm, frame_%04d.png, or a plain .png for a single frame.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    # Poses to render, one frame each: a Blender transforms_*.json, or the folder of a Blender or NSVF data set.
    poses: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    # A camera path as JSON: the viewer's, nerfstudio's, instant-ngp's or LichtFeld Studio's (docs/camera_path.md).
    path: Annotated[Path | None, tyro.conf.arg(metavar="PATH", aliases=["--camera-path"])] = None
    # A full turn around the scene that takes this many seconds.
    turntable: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    # Split of a data set's folder: train, val or test.
    split: str = "test"
    # Size of the pictures in pixels; left out: the size of the poses' data set, else 800x800.
    size: Annotated[str | None, tyro.conf.arg(metavar="WIDTHxHEIGHT")] = None
    # Frames per second; 29.97 is 30000/1001, which may be written so, too.
    fps: str = "30"
    # Frames A up to, not including, B; numbers count from 0 and stay those of the whole.
    frames: Annotated[str | None, tyro.conf.arg(metavar="A:B")] = None
    # Leave out PNG files that are there already. (Ctrl-C keeps finished PNG files and removes an unfinished video.)
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    # Quality of a video, 0 (small) to 100 (next to lossless).
    quality: int = DEFAULT_QUALITY
    # Pictures that are averaged into one, in linear light; left out: 1, or 16 with --shutter or --aperture.
    samples: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    # Motion blur along a path: degrees of the shutter, 180 is half of a frame's time, 360 all of it.
    shutter: Annotated[float, tyro.conf.arg(metavar="DEGREES")] = 0.0
    # Depth of field: diameter of the lens in the scene's units.
    aperture: Annotated[float, tyro.conf.arg(metavar="UNITS")] = 0.0
    # Distance that is sharp with --aperture, in the scene's units.
    focus: Annotated[float, tyro.conf.arg(metavar="UNITS")] = 0.0
    # Panoramas of 360 degrees from each camera's place, or the picture that a lens makes.
    projection: Literal["perspective", "equirectangular"] = "perspective"
    # Write depth in place of colour: to .png (16 bits) or .exr (32-bit floats).
    depth: tyro.conf.FlagCreatePairsOff[bool] = False
    # Codec of a video; auto: H.264 for .mp4, VP9 for .webm.
    codec: VideoCodec = "auto"
    worlds: PathWorlds = field(default_factory=WorldSwitches)
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
    rate = parse_rate(str(command.fps))
    film = _film(command)
    if not 0 <= command.quality <= 100:
        raise UsageError(f"--quality: expected 0 to 100, got {command.quality}")
    size = None if command.size is None else parse_size(command.size)
    if not command.output.parent.is_dir():
        raise OutputError(f"{command.output}: expected an existing folder, got none named {command.output.parent}")
    scene = read_scene(command.scene)
    options = command.switches.options(scene, as_trained=command.poses is not None)
    flight = choose_flight(command, scene, size, rate)
    count = frame_count(flight, rate) if isinstance(flight, CameraPath) else len(flight)
    frames = range(count) if command.frames is None else parse_frames(command.frames, count)
    if command.resume and command.output.suffix.lower() not in (".png", ".exr"):
        raise UsageError("--resume: expected PNG files as output; a video cannot be resumed")
    width, height = _size(command, size) if isinstance(flight, CameraPath) else (flight[0].width, flight[0].height)
    return RenderJob(
        scene,
        flight,
        options,
        command.output,
        width,
        height,
        rate,
        backend=command.switches.choice,
        quality=command.quality,
        codec=command.codec,
        frames=frames,
        resume=command.resume,
        panorama=command.projection == "equirectangular",
        make_picture=_maker(command, options),
        film=film,
        depth=command.depth,
    )


def _film(command: RenderCommand) -> Film:
    """Samples and blur, checked."""
    if command.shutter > 0.0 and command.path is None:
        raise UsageError("--shutter: expected --path with it: only along a path does the camera move")
    try:
        film = Film(command.samples, command.shutter, command.aperture, command.focus)
    except UsageError as error:
        raise UsageError(f"--{error}") from error
    if command.projection != "perspective" and (film.aperture > 0.0 or (film.count > 1 and film.shutter == 0.0)):
        raise UsageError("--projection: a panorama has no --aperture, and --samples only with --shutter")
    if command.depth and (film.count > 1 or command.projection != "perspective"):
        raise UsageError("--depth: expected no --samples, --shutter, --aperture or --projection with it")
    return film


def _maker(command: RenderCommand, options: RenderOptions) -> MakePicture | None:
    if command.depth:
        return DepthMaker(options).picture
    return PanoramaMaker(options).values if command.projection == "equirectangular" else None


def _size(command: RenderCommand, size: tuple[int, int] | None) -> tuple[int, int]:
    return size or (DEFAULT_SIZE if command.projection == "perspective" else PANORAMA_SIZE)


def choose_flight(
    command: RenderCommand, scene: Scene, size: tuple[int, int] | None, rate: Fraction
) -> CameraPath | list[Camera]:
    """The path, or the cameras of all frames, all of one size.

    Raises:
        KiloNeRFError: poses or path cannot be read, or make more frames than can be meant.
    """
    if command.poses is not None:
        dataset = load_dataset(command.poses, command.split, _size(command, size))
        print_notes(PROGRAM, dataset)
        cameras = [relative_to(scene_origin(scene), view.camera) for view in dataset.views]
        return [camera.resized(*size) if size else camera for camera in cameras]
    width, height = _size(command, size)
    if command.path is not None:
        path, _ = load_any_path(command.path, command.worlds.worlds(scene_origin(scene)))
        _check_length(path.duration, rate)
        return path
    seconds = command.turntable or 0.0
    if not seconds * rate >= 1.0:
        raise UsageError(f"--turntable: expected the seconds of at least one frame, got {command.turntable}")
    _check_length(seconds, rate)
    return turntable_cameras(scene, round(seconds * rate), width, height)


def _check_length(seconds: float, rate: Fraction) -> None:
    if not seconds * rate < LONGEST:
        raise UsageError(f"expected at most {LONGEST} frames, got {seconds:g} s at {float(rate):g} frames per second")


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
