"""KiloNeRF's ablations (figures 5 and 6, table 2).

python -m benchmarks.training.ablations DATASET --work DIR [-o FILE.json]

Every variant is trained from the same teacher with the same steps, and compared on the views for testing. Each is one
switch of kilonerf-train, which the table names. A run that was stopped goes on where it was.
"""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from kilonerf.commands.command_line import run_command
from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure.machine import program_commit, this_machine
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.model_io import Camera, KiloNeRFScene
from kilonerf.model_io.datasets import View, load_splits
from kilonerf.model_io.files.atomic import write_text
from kilonerf.trainer.data.bounds import find_bounds
from kilonerf.trainer.data.photos import Photos
from kilonerf.trainer.loop.distributed import World
from kilonerf.trainer.pipeline.observers import ProgressObserver
from kilonerf.trainer.pipeline.pipeline import Training
from kilonerf.trainer.pipeline.subject import Subject
from kilonerf.trainer.settings import PRESETS, STAGES, TrainingSettings

from ..performance.nerf_baseline import Setting, seconds_for


@dataclass
class Ablations:
    """Train the variants that KiloNeRF compares, and tabulate them."""

    # The data set.
    dataset: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATASET")]
    # Where the variants leave what they made.
    work: Path
    # JSON of the results.
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    # Downscale photos by this factor.
    downscale: int = 4
    # Steps of distillation.
    distillation_steps: int = 300
    # Steps of fine-tuning.
    fine_tuning_steps: int = 1500
    # Rays of a step of fine-tuning.
    rays: int = 4096
    # Views for testing, evenly chosen.
    views: int = 8


def variants(base: TrainingSettings) -> dict[str, tuple[str, TrainingSettings]]:
    """Names, switches of kilonerf-train, and settings."""
    return {
        "all as it is": ("", base),
        "no regularisation": (
            "--fine-tuning.view-dependent-l2 0",
            replace(base, fine_tuning=replace(base.fine_tuning, view_dependent_l2=0.0)),
        ),
        "no distillation": (
            "--distillation.steps 0",
            replace(base, distillation=replace(base.distillation, steps=0)),
        ),
        "no fine-tuning": ("--fine-tuning.steps 0", replace(base, fine_tuning=replace(base.fine_tuning, steps=0))),
        "half units": ("--units 16", replace(base, units=16)),
        "half grid": (
            "--occupancy.cells 8 --occupancy.factor 32",
            replace(base, occupancy=replace(base.occupancy, cells=8, factor=32)),
        ),
        "single tiny network": (
            "--occupancy.cells 1 --occupancy.factor 64",
            replace(base, occupancy=replace(base.occupancy, cells=1, factor=64)),
        ),
    }


@dataclass(frozen=True)
class Quality:
    """How a scene compares with its photos.

    Attributes:
        psnr: mean over views, decibel.
        fog: mean opacity where the photos show nothing: artefacts in free space.
        evaluations: network evaluations of a frame, mean.
        ms: time of a frame, median.
    """

    psnr: float
    fog: float
    evaluations: float
    ms: float


def quality(scene: KiloNeRFScene, views: Sequence[tuple[Camera, np.ndarray]]) -> Quality:
    """Compare with photos, float [H, W, 4], colours not premultiplied."""
    renderer, options = create_renderer(scene, "cpu"), RenderOptions.as_trained(scene)
    black = replace(options, background=(0.0, 0.0, 0.0))
    errors, fog, evaluations, times = [], [], [], []
    for camera, photo in views:
        alpha = photo[..., 3:]
        frame = renderer.render(camera, options)
        expected = photo[..., :3] * alpha + (1 - alpha) * np.asarray(scene.background)
        errors.append(psnr(frame.rgb.clip(0, 1), expected))
        # What shows on white and not on black is what was seen through.
        through = (frame.rgb - renderer.render(camera, black).rgb).mean(-1)
        fog.append(float((1 - through)[alpha[..., 0] == 0].mean()))
        evaluations.append(frame.statistics.samples)
        times.append(frame.statistics.total_ms)
    return Quality(float(np.mean(errors)), float(np.mean(fog)), float(np.mean(evaluations)), float(np.median(times)))


def smaller(view: View, factor: int) -> tuple[Camera, np.ndarray]:
    """A view's camera and photo, downscaled as for training."""
    photos = Photos([view], downscale=factor)
    pixels = photos.image(0).astype(np.float64) / 255
    if pixels.shape[2] == 3:
        pixels = np.concatenate([pixels, np.ones((*pixels.shape[:2], 1))], axis=-1)
    return photos.cameras[0], pixels


def run(command: Ablations) -> None:
    """Train and tabulate."""
    command.work.mkdir(parents=True, exist_ok=True)
    train, test = load_splits(command.dataset, ("train", "test"))
    photos = Photos(train.views, downscale=command.downscale)
    subject = Subject(train, photos, find_bounds(train, photos), command.dataset.resolve().name)
    views = [smaller(view, command.downscale) for view in test.views[:: max(1, len(test.views) // command.views)]]
    tiny = PRESETS["tiny"]
    base = replace(
        tiny,
        distillation=replace(tiny.distillation, steps=command.distillation_steps),
        fine_tuning=replace(tiny.fine_tuning, steps=command.fine_tuning_steps, rays=command.rays),
    )
    rows: list[dict[str, Any]] = []
    first = command.work / next(iter(variants(base))).replace(" ", "-")
    for name, (switch, settings) in variants(base).items():
        folder = command.work / name.replace(" ", "-")
        folder.mkdir(exist_ok=True)
        for stage in STAGES:  # what is as in the first variant is not made again
            made, wanted = (place / f"{stage}.safetensors" for place in (first, folder))
            if made.is_file() and not wanted.is_file() and settings.document(stage) == base.document(stage):
                shutil.copyfile(made, wanted)
        training = Training(subject, settings, folder, world=World(), observer=ProgressObserver())
        student = training.run()
        if student is None:
            raise AssertionError("all stages were asked for")
        scene = training.finished_scene(student, np.float32)
        minutes = sum(seconds for stage, seconds in training.seconds.items() if stage != "teacher") / 60
        rows.append(
            {"variant": name, "switch": switch, "networks": scene.num_networks, "minutes": minutes}
            | dataclasses.asdict(quality(scene, views))
        )
        print(f"{name}: {rows[-1]['psnr']:.2f} dB", flush=True)
    nerf = seconds_for(Setting("float32", 16384), 1 << 17, torch.get_num_threads()) / (1 << 17)
    ms = nerf * rows[0]["evaluations"] * 1e3
    result = {
        "dataset": subject.source,
        "size": [views[0][0].width, views[0][0].height],
        "views": len(views),
        "settings": base.document("fine-tuning"),
        "machine": dataclasses.asdict(this_machine()),
        "commit": program_commit(),
        "nerf_with_ess_and_ert_ms": ms,
        "variants": rows,
    }
    print("\n".join(table(result)))
    if command.output is not None:
        write_text(command.output, json.dumps(result, indent=1).replace("Infinity", '"inf"') + "\n")


def table(result: dict[str, Any]) -> list[str]:
    """Markdown."""
    lines = [
        "| variant | switch | networks | PSNR | fog | evaluations of a frame | frame |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["variants"]:
        switch = f"`{row['switch']}`" if row["switch"] else ""
        lines.append(
            f"| {row['variant']} | {switch} | {row['networks']} | {row['psnr']:.2f} dB | {row['fog']:.2e} | "
            f"{row['evaluations'] / 1e3:.0f} k | {row['ms']:.1f} ms |"
        )
    first, ms = result["variants"][0], result["nerf_with_ess_and_ert_ms"]
    lines.append(
        f"| NeRF (8x256) with ESS and ERT | | 1 | | | {first['evaluations'] / 1e3:.0f} k | {ms:.0f} ms (computed) |"
    )
    return lines


if __name__ == "__main__":
    run_command("ablations", Ablations, run)
