"""``kilonerf-import``: an original KiloNeRF checkpoint becomes a ``.knf`` file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from tyro.conf import FlagCreatePairsOff, Positional, arg

from kilonerf.model_io.camera.camera import Camera
from kilonerf.model_io.datasets import View, available_splits, load_dataset
from kilonerf.model_io.errors import DatasetError, UsageError
from kilonerf.model_io.knf.format import save_scene
from kilonerf.model_io.original.checkpoint import IMPORT_STEPS, import_checkpoint
from kilonerf.model_io.scene.scene import KiloNeRFScene

from .command_line import print_event, run_command

PROGRAM = "kilonerf-import"
WRITING = "writing the scene"
SIZE_WITHOUT_PHOTOS = (800, 800)  # of the start camera, where a data set has poses only


@dataclass(frozen=True)
class ImportOptions:
    """Turn an original KiloNeRF checkpoint into a .knf scene. Nothing that the checkpoint's pickle names is run."""

    checkpoint: Positional[Path]
    """Fine-tuned or distilled checkpoint (.pth)."""
    occupancy: Path
    """The occupancy grid, occupancy.pth."""
    bbox: Path
    """The box, bbox.txt; near_and_far.txt and background_color.txt beside it are read too."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """The .knf file to write; an existing one is replaced."""
    config: Path | None = None
    """A yaml, or a folder of yamls, to read in place of those beside the checkpoint or in the original's cfgs."""
    resolution: tuple[int, int, int] | None = None
    """Networks along x, y and z, if no yaml says it (fixed_resolution)."""
    near: float | None = None
    """Depth of a ray's first sample, if neither a yaml nor the data set says it."""
    far: float | None = None
    """Depth of a ray's last sample, if neither a yaml nor the data set says it."""
    samples: int | None = None
    """Samples per ray, if no yaml says it (num_samples_per_ray; 384 in the paper)."""
    dtype: Literal["float16", "float32"] = "float16"
    """How the networks are stored."""
    keep_empty: bool = False
    """Keep the networks of cells in which nothing is."""
    cameras: Path | None = None
    """A data set (Blender or NSVF folder, or a transforms .json) for the start camera and the training poses."""
    start_view: str | None = None
    """The view of --cameras to start from, as "r_0"; by default the first of the test split."""
    source: str | None = None
    """Where the scene comes from and its licence: kept in the file's provenance."""
    json: FlagCreatePairsOff[bool] = False
    """Print what is being done as JSON, an object a line, for a program that follows."""


def main() -> None:
    """Entry point of ``kilonerf-import``."""
    run_command(PROGRAM, ImportOptions, run)


def run(options: ImportOptions) -> None:
    """Import, write, and say in one line what was made.

    Raises:
        KiloNeRFError: an input is missing or wrong, or the output cannot be written.
    """
    steps = (*IMPORT_STEPS, WRITING)

    def say(step: str) -> None:
        if options.json:
            print_event("step", stage=step, step=steps.index(step), steps=len(steps))

    start_camera, training_poses = _cameras(options)
    scene = import_checkpoint(
        options.checkpoint,
        occupancy=options.occupancy,
        bbox=options.bbox,
        config=options.config,
        resolution=options.resolution,
        near=options.near,
        far=options.far,
        num_samples=options.samples,
        dtype=options.dtype,
        keep_empty=options.keep_empty,
        start_camera=start_camera,
        training_poses=training_poses,
        provenance={} if options.source is None else {"source": options.source},
        progress=say,
    )
    say(WRITING)
    save_scene(scene, options.output)
    if options.json:
        print_event("done", scene=str(options.output), bytes=options.output.stat().st_size)
        return
    print(summary(scene, options.output))


def summary(scene: KiloNeRFScene, path: Path) -> str:
    """One line on a scene that was written to ``path``."""
    cells = scene.network_index.size
    return (
        f"{path}: networks {'x'.join(map(str, scene.resolution))}, {scene.num_networks} kept and "
        f"{cells - scene.num_networks} dropped; occupancy {'x'.join(map(str, scene.occupancy.shape))}, "
        f"{100 * scene.occupancy.mean():.2f} % occupied; {scene.dtype}; {path.stat().st_size / 1e6:.1f} MB"
    )


def _cameras(options: ImportOptions) -> tuple[Camera | None, NDArray[np.float32] | None]:
    if options.cameras is None:
        if options.start_view is not None:
            raise UsageError("--start-view: expected --cameras with it, got none")
        return None, None
    splits = available_splits(options.cameras)
    views = [view for split in sorted(splits) or ["test"] for view in _views(options.cameras, split)]
    chosen = next((view for view in views if options.start_view in (None, view.name)), None)
    if chosen is None:
        names = ", ".join(view.name for view in views[:5])
        raise DatasetError(f"{options.cameras}: expected a view {options.start_view!r}, got {names}, ...")
    if "train" not in splits:
        return chosen.camera, None
    poses = [view.camera.matrix for view in _views(options.cameras, "train")]
    return chosen.camera, np.stack(poses).astype(np.float32)


def _views(path: Path, split: str) -> list[View]:
    return load_dataset(path, split, SIZE_WITHOUT_PHOTOS).views
