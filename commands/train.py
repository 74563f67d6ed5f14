"""``kilonerf-train``: from posed photos to a scene."""

import math
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from kilonerf.model_io import KiloNeRFScene, OutputError, UsageError, save_scene
from kilonerf.model_io.datasets import View
from kilonerf.model_io.files.atomic import AtomicFile
from kilonerf.model_io.files.lock import FileLock
from kilonerf.model_io.original.export import export_original
from kilonerf.trainer.loop.distributed import World
from kilonerf.trainer.pipeline.events import EventObserver
from kilonerf.trainer.pipeline.observers import (
    Observers,
    PreviewObserver,
    ProgressObserver,
    SnapshotObserver,
    TensorBoardObserver,
    ViewObserver,
)
from kilonerf.trainer.pipeline.octree import run_training, training_class
from kilonerf.trainer.pipeline.pipeline import load_teacher
from kilonerf.trainer.pipeline.store import lock_folder, make_folder
from kilonerf.trainer.pipeline.subject import find_missing_poses, read_subject
from kilonerf.trainer.settings import PRESETS, Preset, TrainingSettings

from .command_line import print_event, run_command
from .training_run import interruption, training_device

PROGRAM = "kilonerf-train"
SNAPSHOT = "view.knf"
"""In the run's folder: the scene as it is, for a viewer that follows."""
_DTYPES = {"float16": np.float16, "float32": np.float32}
StageName = Literal["teacher", "occupancy", "distillation", "fine-tuning", "octree", "field"]


@dataclass
class TrainCommand:
    """Train a scene from posed photos, in KiloNeRF's stages: teacher, occupancy, distillation, fine-tuning.

    With --field octree an octree of features is trained instead: teacher, octree, field.

    What the stages make goes into a folder beside the scene; a run that was interrupted or killed goes on from there
    when the same command is given again.
    """

    # The data set: the folder of a Blender (NeRF-Synthetic), NSVF, nerfstudio, COLMAP or LLFF one; or a folder of
    # photos, whose poses COLMAP then finds and keeps in its colmap/.
    dataset: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATASET")]
    # The scene to write, a .knf file.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="SCENE")]
    # tiny: minutes. fast: about an hour on two CPU cores. quality: hours. paper: its schedule, for a GPU.
    preset: Preset = "fast"
    # Where the stages leave what they made; beside the scene if left out.
    folder: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    # Stop after this stage.
    stage: StageName | None = None
    # Restart from this stage; what it and later ones left is removed.
    restart_from: StageName | None = None
    # The split to learn.
    split: str = "train"
    # Refuse a data set of which anything would be left out, as poses without a photo.
    strict: tyro.conf.FlagCreatePairsOff[bool] = False
    # GiB of photos that are kept in memory; more are streamed from a temporary file.
    memory: float = 4.0
    # The box around the scene: lower and upper corner; found if left out.
    box: Annotated[tuple[float, float, float, float, float, float] | None, tyro.conf.arg(metavar="X Y Z X Y Z")] = None
    # Weights of the scene: float16 or float32.
    dtype: Literal["float16", "float32"] = "float16"
    # Also write the scene in the layout of the original KiloNeRF code, into this folder.
    export_original: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    # Show the scene in the viewer while it trains.
    view: tyro.conf.FlagCreatePairsOff[bool] = False
    # Write the scene as it is into the folder (view.knf), every 15 seconds of distillation and fine-tuning.
    snapshots: tyro.conf.FlagCreatePairsOff[bool] = False
    # Seconds between two previews (PNG beside the photo) in the folder; 0: none.
    preview_every: float = 120.0
    # Write curves and previews for TensorBoard into the folder.
    tensorboard: tyro.conf.FlagCreatePairsOff[bool] = False
    # Print stages, steps, messages and snapshots as JSON, an object a line, for a program that follows.
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    # auto: the first GPU, if there is one.
    device: str = "auto"
    # Threads on the CPU; all cores if left out.
    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    settings: Annotated[TrainingSettings, tyro.conf.arg(name="")] = field(default_factory=TrainingSettings)


def main() -> None:
    """Entry point of ``kilonerf-train``."""
    preset = _said_preset(sys.argv[1:])
    default = TrainCommand(dataset=tyro.MISSING, output=tyro.MISSING, preset=preset, settings=PRESETS[preset])
    run_command(PROGRAM, TrainCommand, run, default)


def run(command: TrainCommand) -> None:
    """Train.

    Raises:
        KiloNeRFError: bad input, or a file that cannot be written.
        KeyboardInterrupt: it was interrupted; the same command goes on.
    """
    world = World.from_environment()
    device = training_device(command.device, world)
    if command.threads is not None:
        if not 1 <= command.threads <= 1024:
            raise UsageError(f"--threads: expected 1 to 1024, got {command.threads}")
        torch.set_num_threads(command.threads)
    if not 0 <= command.memory < math.inf:
        raise UsageError(f"--memory: expected 0 or more GiB, got {command.memory}")
    command.settings.check()
    _check_output(command)
    teacher = load_teacher(command.settings.teacher, device)
    folder = command.folder or command.output.with_suffix(".training")
    wanted = command.settings.teacher in ("grid", "nerf") or command.stage in (None, "fine-tuning", "field")

    def say(line: str) -> None:
        if world.is_first:
            (_say_event if command.json else _say_line)(line)

    world.from_first(lambda: find_missing_poses(command.dataset, say))  # once, not by every process
    subject, previews = read_subject(
        command.dataset,
        split=command.split,
        downscale=command.settings.downscale,
        voxels=command.settings.voxels,
        memory=int(command.memory * 2**30),
        box=command.box,
        levels=command.settings.levels,
        with_photos=wanted,
        strict=command.strict,
        say=say,
    )
    with interruption() as interrupted:
        observer = Observers()
        training = training_class(command.settings)(
            subject,
            command.settings,
            folder,
            world=world,
            observer=observer,
            device=device,
            teacher=teacher,
            interrupted=interrupted,
        )
        lock = _open_folder(folder, command.restart_from) if world.is_first else None
        if world.is_first:
            _observe(observer, command, folder, previews)
        try:
            scene = run_training(training, command.stage)
        finally:
            observer.close()
            if lock is not None:
                lock.release()
    if scene is None or not world.is_first:
        return
    save_scene(scene(_DTYPES[command.dtype]), command.output)
    original = scene(np.float32) if command.export_original is not None else None
    if isinstance(original, KiloNeRFScene) and command.export_original is not None:
        export_original(original, command.export_original)
    if command.json:
        size = command.output.stat().st_size
        print_event("done", scene=str(command.output), bytes=size, seconds=training.seconds)
        return
    minutes = sum(training.seconds.values()) / 60
    parts = ", ".join(f"{stage} {seconds / 60:.1f}" for stage, seconds in training.seconds.items())
    print(f"{command.output}: {command.output.stat().st_size / 1e6:.1f} MB after {minutes:.1f} minutes ({parts})")


def _open_folder(folder: Path, restart_from: str | None) -> FileLock:
    """Make a run's folder and keep other programs from it; then forget what is to be done anew.

    Raises:
        TrainingError: another program trains in it.
        OutputError: it cannot be written.
    """
    make_folder(folder)
    lock = lock_folder(folder)
    if restart_from is not None:
        make_folder(folder, restart_from)
    return lock


def _say_event(text: str) -> None:
    print_event("message", text=text)


def _say_line(text: str) -> None:
    print(f"{PROGRAM}: {text}", file=sys.stderr)


def _said_preset(arguments: list[str]) -> Preset:
    """The preset on the command line: its settings are the defaults of all other options."""
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--preset":
            value = value or (arguments[index + 1] if index + 1 < len(arguments) else "")
            return value if value in PRESETS else "fast"  # pyright: ignore[reportReturnType] # tyro says what is wrong
    return "fast"


def _check_output(command: TrainCommand) -> None:
    """What is written in the end can be; hours later would be too late to say so.

    Raises:
        UsageError: the scene's name does not end in .knf.
        OutputError: the scene cannot be written, or the folder for the original layout has files already.
    """
    for option, stage in (("--stage", command.stage), ("--restart-from", command.restart_from)):
        if stage is not None and stage not in command.settings.stages:
            expected = ", ".join(command.settings.stages)
            raise UsageError(f"{option}: expected {expected} for --field {command.settings.field}, got {stage}")
    if command.settings.field == "octree" and command.export_original is not None:
        raise UsageError("--export-original: expected --field networks, which that layout is of, got octree")
    if command.output.suffix != ".knf":
        raise UsageError(f"{command.output}: expected a name that ends in .knf")
    if not command.output.parent.is_dir():
        raise OutputError(f"{command.output}: expected an existing folder, got none named {command.output.parent}")
    AtomicFile(command.output).discard()
    original = command.export_original
    if original is not None and original.exists() and (not original.is_dir() or any(original.iterdir())):
        raise OutputError(f"{original}: expected a new or an empty folder")


def _observe(observers: Observers, command: TrainCommand, folder: Path, previews: list[View]) -> None:
    events = EventObserver(print_event) if command.json else None
    observers.append(ProgressObserver() if events is None else events)
    curves = TensorBoardObserver(folder / "tensorboard") if command.tensorboard else None
    if curves is not None:
        observers.append(curves)

    def show(stage: str, step: int, picture: NDArray[np.uint8], psnr: float) -> None:
        if curves is not None:
            curves.preview(stage, step, picture, psnr)
        if events is not None:
            events.preview_made(stage, step, psnr)

    if command.preview_every > 0 and previews:
        observers.append(PreviewObserver(previews, folder / "previews", command.preview_every, observers.message, show))
    snapshots = folder / SNAPSHOT
    if command.view:
        observers.append(ViewObserver(snapshots, observers.message))
    elif command.snapshots:
        snapshot = SnapshotObserver(snapshots, observers.message)
        if events is not None:
            snapshot.written = partial(events.snapshot_written, snapshots)
        observers.append(snapshot)


if __name__ == "__main__":
    main()
