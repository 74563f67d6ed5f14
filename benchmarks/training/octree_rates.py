"""Quality and size of octree fields: learnt codes, codes by k-means, random ones, a low rank, features as they are.

    python -m benchmarks.training.octree_rates DATASET -o rates.json --teacher assets/chair.knf

All fields have the same octree and as many steps. Random codes have the number of bits whose file is nearest in size.
"""

import json
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure.evaluation import evaluate, mean_result
from kilonerf.kernels.measure.machine import this_machine
from kilonerf.model_io import OctreeScene, load_dataset, save_scene
from kilonerf.trainer.loop.distributed import World
from kilonerf.trainer.pipeline.observers import Observers
from kilonerf.trainer.pipeline.octree import OctreeFieldTraining
from kilonerf.trainer.pipeline.pipeline import load_teacher
from kilonerf.trainer.pipeline.subject import read_subject
from kilonerf.trainer.settings import TrainingSettings
from kilonerf.trainer.stages.octree_features import CodedFeatures
from kilonerf.trainer.stages.octree_training import OctreeSettings

BYTES_OF_A_ROW = 2 * 16  # of a codebook, float16


@dataclass(frozen=True)
class RatesCommand:
    """Train octree fields of several codings and sizes, and measure them on the test views."""

    # The data set.
    dataset: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATASET")]
    # Where the figures go.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="JSON")]
    # As kilonerf-train's.
    teacher: str = "grid"
    # Photos, of training and of test, are made smaller by this.
    downscale: int = 4
    # Of learnt codes, codes by k-means, and what random codes are as large as.
    bits: tuple[int, ...] = (1, 2, 4, 6)
    # Where scenes and what the stages make is kept; removed in the end if left out.
    folder: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    # Threads; all cores if left out.
    threads: int | None = None
    octree: OctreeSettings = field(default_factory=lambda: OctreeSettings(details="deepest"))


def main() -> None:
    """Measure, and write after each field."""
    command = tyro.cli(RatesCommand)
    if command.threads is not None:
        torch.set_num_threads(command.threads)
    with tempfile.TemporaryDirectory() as temporary:
        Rates(command, command.folder or Path(temporary)).run()


class Rates:
    """The measurement."""

    def __init__(self, command: RatesCommand, folder: Path) -> None:
        self._command, self._folder = command, folder
        self._settings = TrainingSettings(field="octree", teacher=command.teacher, downscale=command.downscale)
        voxels = 1 << command.octree.depth
        self._subject, _ = read_subject(command.dataset, downscale=command.downscale, voxels=voxels)
        self._views = [view for view in load_dataset(command.dataset, "test").views if view.image_path is not None]
        self._rows: list[dict[str, Any]] = []

    def run(self) -> None:
        """All fields."""
        settings = self._command.octree
        training, student = self._trained("plain", 0, settings)
        plain = training.finished_octree(student)
        self._measure("plain", 0, plain)
        free = [features.values() for features in student.features]
        for bits in self._command.bits:
            student.features = [
                CodedFeatures.of_features(level, rows, bits, seed=0)
                for level, rows in zip(student.levels, free, strict=True)
            ]
            scene = training.finished_octree(student)
            self._measure("k-means", bits, scene)
            learned, field_ = self._trained(f"learned-{bits}", bits, settings)
            self._measure("learned", bits, learned.finished_octree(field_))
            hash_bits = bits_of_size(sum(own.num_bytes() for own in scene.features), len(scene.features))
            random, field_ = self._trained(f"hash-{bits}", bits, replace(settings, codes="hash", hash_bits=hash_bits))
            self._measure("hash", hash_bits, random.finished_octree(field_))
        for rank in (8, 4):
            low, field_ = self._trained(f"low-rank-{rank}", 0, replace(settings, codes="low-rank", rank=rank))
            self._measure("low-rank", rank, low.finished_octree(field_))

    def _trained(self, name: str, bits: int, octree: OctreeSettings) -> tuple[OctreeFieldTraining, Any]:
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        training = OctreeFieldTraining(
            self._subject,
            replace(self._settings, bits=bits, octree=octree),
            folder,
            world=World(),
            observer=Observers(),
            teacher=load_teacher(self._settings.teacher),
        )
        return training, training.run_octree()

    def _measure(self, coding: str, bits: int, scene: OctreeScene) -> None:
        path = self._folder / f"{coding}-{bits}.knf"
        save_scene(replace(scene, training_poses=None), path)
        renderer, options = create_renderer(scene, "cpu"), RenderOptions.as_trained(scene)
        found = list(evaluate(renderer, self._views, options, downscale=self._command.downscale))
        row = {
            "coding": coding,
            "bits or rank": bits,
            "psnr": mean_result(found).psnr,
            "ssim": mean_result(found).ssim,
            "file_bytes": path.stat().st_size,
            "feature_bytes": sum(own.num_bytes() for own in scene.features),
            "octree_bytes": scene.octree.num_bytes,
        }
        self._rows.append(row)
        print(json.dumps(row), flush=True)
        document = {
            "machine": asdict(this_machine()),
            "dataset": self._command.dataset.name,
            "downscale": self._command.downscale,
            "test_views": len(self._views),
            "octree": asdict(self._command.octree),
            "corners": list(scene.num_corners),
            "rows": self._rows,
        }
        self._command.output.write_text(json.dumps(document, indent=1) + "\n")


def bits_of_size(feature_bytes: int, levels: int) -> int:
    """Bits of random codes, the same in each level, whose codebooks take about as many bytes."""
    return int(np.clip(np.rint(np.log2(feature_bytes / levels / BYTES_OF_A_ROW)), 1, 16))


if __name__ == "__main__":
    main()
