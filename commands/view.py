"""``kilonerf-view``: the window program's command line."""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from kilonerf.model_io import DisplayError, OutputError, SceneError, UsageError
from kilonerf.model_io.datasets import available_splits
from kilonerf.model_io.streaming.address import Location, SceneUrl
from kilonerf.model_io.streaming.cache import SceneCache
from kilonerf.model_io.streaming.options import StreamOptions, cache_folder
from kilonerf.viewer.recording.frame_rate import parse_rate
from kilonerf.viewer.recording.output_files import check_folder
from kilonerf.viewer.rendering.accumulation import MOST_SAMPLES
from kilonerf.viewer.scene_loading import SceneLoader
from kilonerf.viewer.welcome import CHAIR

from .command_line import parse_bytes, run_command
from .render_switches import CropCorners, check_cpu_path, parse_crop, parse_size

PROGRAM = "kilonerf-view"


@dataclass(frozen=True)
class ViewOptions:
    """Fly through a KiloNeRF scene in a window. Press H there for the list of keys."""

    # The .knf file to open, or its URL; without one, a chair is shown until a file is dropped on the window or chosen.
    scene: Annotated[Location | None, tyro.conf.Positional, tyro.conf.arg(metavar="SCENE|URL")] = None
    # Folder of the data set that the scene was trained from: shows the photos' cameras, and the photos.
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    # Read the scene's file again whenever it changes, and keep the camera: to look on while it is trained.
    watch: bool = False
    # Of a scene at a URL: receive at most this much, say 20MB, and show what that is enough for.
    stream_budget: Annotated[str, tyro.conf.arg(metavar="SIZE")] = "4GB"
    # Keep at most this much of scenes at URLs on disk, for the next time; what was used longest ago goes. 0: nothing.
    cache_budget: Annotated[str, tyro.conf.arg(metavar="SIZE")] = "2GB"
    # Remove what is kept of scenes at URLs; without a scene to open, do only that.
    clear_cache: tyro.conf.FlagCreatePairsOff[bool] = False
    # What renders: the fastest that runs here, an NVIDIA GPU, the C++ renderer, or the slow and exact NumPy one.
    backend: Literal["auto", "cuda", "cpu", "reference"] = "auto"
    # Code path of the cpu backend, as kilonerf-info --machine lists them; "auto" as backend then means cpu.
    cpu_path: Annotated[str, tyro.conf.arg(metavar="PATH")] = "auto"
    # Which CUDA device, as CUDA numbers them; "auto" then means cuda. The first if left out.
    device: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    # Precision of the networks: auto is the fastest that makes good pictures (8 or 16 bits); int8 is for the cpu only.
    precision: Literal["auto", "int8", "float16", "float32"] = "auto"
    # False colours: of the scene, or of the work: samples and first network of each ray, voxels looked up (cpu only).
    heat_map: Literal["off", "depth", "alpha", "normals", "samples", "networks", "lookups"] = "off"
    # Begin with the scene cropped to this box, in its own coordinates (kilonerf-info prints its own box).
    crop: Annotated[CropCorners | None, tyro.conf.arg(metavar="X0 Y0 Z0 X1 Y1 Z1")] = None
    # Compare with ess, ert or precision the other way; photo; cuda, cpu, reference; a CPU code path; another .knf file.
    compare: Annotated[str | None, tyro.conf.arg(metavar="WITH")] = None
    # With --compare: show the difference of the two pictures, magnified so many times.
    difference: Annotated[float | None, tyro.conf.arg(metavar="GAIN")] = None
    # Size of the window.
    size: Annotated[str, tyro.conf.arg(metavar="WxH")] = "1280x800"
    # Pictures per second to aim at while the camera moves.
    target_fps: float = 20.0
    # Samples of each pixel that are averaged while the camera rests; left out: 16, or 1 with --exit-after.
    rest_samples: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    # Let each picture follow the camera, by its depth, until the next one is there.
    reprojection: bool = True
    # Let pictures of a CUDA device go straight into the window's texture, where that works.
    interop: bool = True
    # Folder for screenshots, camera paths and videos.
    output_folder: Path = field(default_factory=Path)
    # Colors of the window; without it, those of the last run.
    theme: Literal["dark", "light"] | None = None
    # Begin with the camera going slowly round.
    turntable: bool = False
    # Begin with the scene's box shown.
    show_box: bool = False
    # Begin with the grid of networks shown.
    show_network_grid: bool = False
    # Begin with the occupancy grid shown.
    show_occupancy_grid: bool = False
    # Coarseness of the occupancy grid: 0 is full, each level halves it.
    occupancy_level: Literal[0, 1, 2, 3, 4] = 0
    # Size of recorded videos; odd numbers are made even.
    video_size: Annotated[str, tyro.conf.arg(metavar="WxH")] = "1280x720"
    # Frames per second of recorded videos; 29.97 is 30000/1001.
    video_fps: str = "30"
    # Leave this many seconds after the first picture.
    exit_after: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    # When leaving, save the whole window as PNG, with the picture at full quality.
    screenshot: Annotated[Path | None, tyro.conf.arg(metavar="F.png")] = None
    # Record the flight from the first picture on; when leaving, render it to this .mp4 or .webm.
    record: Annotated[Path | None, tyro.conf.arg(metavar="F.mp4")] = None


def view(options: ViewOptions) -> None:
    """Open the window and run until it is left.

    Raises:
        KiloNeRFError: a wrong option, no display, no OpenGL 3.3, a bad scene, an output that cannot be written.
    """
    size, video_size = parse_size(options.size), parse_size(options.video_size, "--video-size")
    _check(options)
    crop = parse_crop(options.crop)
    stream_options = _stream_options(options)
    if options.clear_cache:
        removed, count = SceneCache(cache_folder(), 0).clear()
        print(f"{PROGRAM}: {removed} scenes, {count / 1e6:.1f} MB removed from {cache_folder()}")
        if options.scene is None:
            return
    loader = SceneLoader(stream_options)
    if options.watch:
        loader.watch()
    if isinstance(options.scene, Path) and not options.scene.exists():
        raise SceneError(f"{options.scene}: no such file")
    if options.scene is not None or CHAIR.is_file():
        loader.load(options.scene or CHAIR)  # while the libraries below are imported
    try:
        from kilonerf.kernels import BackendChoice
        from kilonerf.viewer.app import ViewerApp
        from kilonerf.viewer.compare.choice import CompareSettings, parse_compare
        from kilonerf.viewer.drawing.overlays import OverlayOptions
        from kilonerf.viewer.scripted_run import ScriptedRun
        from kilonerf.viewer.settings import CropSettings, VideoSettings, ViewerSettings
    except ImportError as error:  # moderngl and glfw load system libraries
        raise DisplayError(f"a library for the window cannot be loaded: {error}") from error
    overlays = OverlayOptions(
        box=options.show_box,
        network_grid=options.show_network_grid,
        occupancy_grid=options.show_occupancy_grid,
        occupancy_level=options.occupancy_level,
    )
    compare = CompareSettings() if options.compare is None else parse_compare(options.compare)
    if options.difference is not None:
        compare.difference, compare.gain, compare.divider = True, options.difference, 0.5
    video = VideoSettings(fps=float(parse_rate(str(options.video_fps), "--video-fps")))
    video.set_size(*video_size)
    settings = ViewerSettings(
        # To name a device is to ask for CUDA; if that fails, the window says why and falls back to the CPU.
        backend=BackendChoice(
            "cuda" if options.backend == "auto" and options.device is not None else options.backend,
            device=options.device,
            cpu_path=options.cpu_path,
        ),
        precision=options.precision,
        heat_map=options.heat_map,
        target_fps=options.target_fps,
        reprojection=options.reprojection,
        interop=options.interop,
        theme=options.theme,
        overlays=overlays,
        video=video,
        crop=CropSettings(on=crop is not None, box=crop),
        compare=compare,
    )
    if options.rest_samples is not None or options.exit_after is not None:
        settings.rest_samples = options.rest_samples or 1
    app = ViewerApp(settings, size, options.output_folder, loader)
    try:
        app.navigator.set_turntable(options.turntable)
        app.orientation.wanted_data = options.data
        app.welcome.shown = options.scene is None
        device = "--backend cuda" if options.backend == "cuda" else f"--device {options.device}"
        typed = {
            "heat map": f"--heat-map {options.heat_map}",
            "backend": device,
            "compare": f"--compare {options.compare}",
        }
        ScriptedRun(app, options.exit_after, options.screenshot, options.record, typed, loader).run()
    finally:
        parting = app.close()
        if parting:
            print(f"{PROGRAM}: {parting}", file=sys.stderr)


def _stream_options(options: ViewOptions) -> StreamOptions:
    budget = parse_bytes(options.stream_budget, "--stream-budget")
    kept = parse_bytes(options.cache_budget, "--cache-budget")
    return StreamOptions(budget=budget, cache_folder=cache_folder() if kept else None, cache_budget=kept)


def _check(options: ViewOptions) -> None:
    """Refuse what could only fail at the end."""
    if options.watch and isinstance(options.scene, SceneUrl):
        raise UsageError("--watch: expected a file on this machine, got a URL")
    check_cpu_path(options.cpu_path, options.backend, options.device)
    check_option("--output-folder", check_folder, options.output_folder)
    for name, output in (("--screenshot", options.screenshot), ("--record", options.record)):
        if output is not None:
            check_option(f"{name} {output}", check_folder, output.absolute().parent)
    if options.record is not None and options.record.suffix.lower() not in (".mp4", ".webm"):
        raise OutputError(f"--record: expected a name that ends in .mp4 or .webm, got {options.record}")
    if options.data is not None and not available_splits(options.data):
        raise UsageError(f"--data: expected the folder of a data set, got {options.data}")
    if options.record is not None and options.scene is None:
        raise UsageError("--record: expected a scene to fly through as well, got none")
    if not 1 <= parse_rate(str(options.video_fps), "--video-fps") <= 240:
        raise UsageError(f"--video-fps: expected 1 to 240, got {options.video_fps}")
    if not 1.0 <= options.target_fps <= 240.0:
        raise UsageError(f"--target-fps: expected 1 to 240, got {options.target_fps}")
    if options.rest_samples is not None and not 1 <= options.rest_samples <= MOST_SAMPLES:
        raise UsageError(f"--rest-samples: expected 1 to {MOST_SAMPLES}, got {options.rest_samples}")
    if options.difference is not None and (options.compare is None or not 0.0 < options.difference <= 10_000.0):
        raise UsageError(f"--difference: expected --compare, and a gain up to 10000, got {options.difference}")
    if options.exit_after is not None and not 0.0 <= options.exit_after < float("inf"):
        raise UsageError(f"--exit-after: expected seconds from 0 on, got {options.exit_after}")


def check_option(name: str, check: Callable[[Path], None], path: Path) -> None:
    """Let ``check`` look at an option's value; what it says names the option.

    Raises:
        OutputError: the check failed.
    """
    try:
        check(path)
    except OutputError as error:
        raise OutputError(f"{name}: {error}") from error


def main() -> None:
    """Entry point of ``kilonerf-view``."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` ends it as Ctrl-C does: a flight is saved
    run_command(PROGRAM, ViewOptions, view)
