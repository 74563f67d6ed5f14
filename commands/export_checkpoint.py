"""``kilonerf-export``: a ``.knf`` file becomes the files of the original KiloNeRF code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from kilonerf.model_io.knf.format import load_kilonerf_scene
from kilonerf.model_io.original.export import export_original

from .command_line import run_command

PROGRAM = "kilonerf-export"


@dataclass(frozen=True)
class ExportOptions:
    """Write a .knf scene in the original KiloNeRF layout, as after fine-tuning; kilonerf-import reads it back."""

    scene: Positional[Path]
    """The .knf file."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """The folder to write to; it is made."""
    overwrite: bool = False
    """Replace files that are in the folder already."""


def main() -> None:
    """Entry point of ``kilonerf-export``."""
    run_command(PROGRAM, ExportOptions, run)


def run(options: ExportOptions) -> None:
    """Export, and say in one line what was made.

    Raises:
        KiloNeRFError: the scene is missing or damaged, or the files cannot be written.
    """
    scene = load_kilonerf_scene(options.scene)
    checkpoint = export_original(scene, options.output, overwrite=options.overwrite)
    empty = scene.network_index.size - scene.num_networks
    print(
        f"{checkpoint}: networks {'x'.join(map(str, scene.resolution))}, of which {empty} are zero (empty cells); "
        f"float32; {checkpoint.stat().st_size / 1e6:.1f} MB"
    )
