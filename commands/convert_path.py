"""``kilonerf-path``: a camera path of one program becomes another's."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from kilonerf.model_io import UsageError, load_scene
from kilonerf.model_io.camera.interchange import PathFormat, load_any_path, save_path
from kilonerf.model_io.scene.origin import NO_ORIGIN, scene_origin
from kilonerf.viewer.recording.frame_rate import parse_rate

from .command_line import run_command
from .render_switches import PathWorlds, WorldSwitches, parse_size

PROGRAM = "kilonerf-path"


@dataclass(frozen=True)
class PathOptions:
    """Convert a camera path between kilonerf-view, nerfstudio, instant-ngp and LichtFeld Studio."""

    # The path, of any of these programs.
    path: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PATH")]
    # The file to write.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    # The program that is to read it; nerfstudio-old: the layout of nerfstudio's web viewer.
    to: PathFormat = "kilonerf"
    # Scene that the path goes through: only needed for one whose file says an origin of its coordinates.
    scene: Annotated[Path | None, tyro.conf.arg(metavar="SCENE")] = None
    # Size of the pictures, for nerfstudio.
    size: Annotated[str, tyro.conf.arg(metavar="WIDTHxHEIGHT")] = "1920x1080"
    # Frames per second, for nerfstudio.
    fps: str = "30"
    # Seconds between keys for instant-ngp and LichtFeld Studio, which join them otherwise; 0: the keys of the path.
    every: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0.1
    worlds: PathWorlds = field(default_factory=WorldSwitches)


def main() -> None:
    """Entry point of ``kilonerf-path``."""
    run_command(PROGRAM, PathOptions, run)


def run(options: PathOptions) -> None:
    """Convert, and say in one line what was made.

    Raises:
        KiloNeRFError: bad input, or an output that cannot be written.
    """
    size, rate = parse_size(options.size), parse_rate(str(options.fps))
    if not 0.0 <= options.every < 1e6:
        raise UsageError(f"--every: expected seconds from 0 on, got {options.every}")
    origin = NO_ORIGIN if options.scene is None else scene_origin(load_scene(options.scene))
    worlds = options.worlds.worlds(origin)
    path, came_from = load_any_path(options.path, worlds)
    save_path(path, options.output, options.to, worlds, size=size, fps=float(rate), every=options.every)
    keys = f"{len(path.keyframes)} key{'s' * (len(path.keyframes) != 1)}"
    print(f"{options.output}: {keys}, {path.duration:.2f} s, from {came_from} to {options.to}")
