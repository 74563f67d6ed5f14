r"""Fine-tunes a finished scene once more on its photos, after leaving out its positions' high frequencies.

So assets/chair.knf came from a scene that kilonerf-train had made when it still trained all 10 frequencies:

    python scripts/refine_scene.py trained.knf data/chair refined.knf
    python scripts/refine_scene.py refined.knf data/chair narrow.knf --steps 4000 --learning-rate 5e-4 --as-rendered 1
    python scripts/refine_scene.py narrow.knf data/chair assets/chair.knf --steps 4000 --learning-rate 5e-4 \
        --as-rendered 1 --spread 5e-3

What is interrupted goes on when the same command is given again.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from kilonerf.commands.training_run import interruption
from kilonerf.model_io import load_kilonerf_scene, save_scene
from kilonerf.model_io.datasets import load_splits
from kilonerf.trainer.data.photos import Photos
from kilonerf.trainer.loop.distributed import World
from kilonerf.trainer.ops.networks import TinyNetworks
from kilonerf.trainer.pipeline.observers import ProgressObserver
from kilonerf.trainer.pipeline.stage_loop import run_stage
from kilonerf.trainer.pipeline.store import StageStore, make_folder
from kilonerf.trainer.settings import PRESETS
from kilonerf.trainer.stages.fine_tuning import FineTuning
from kilonerf.trainer.stages.student import Student


def main() -> None:
    """Read a scene and its photos, write another scene."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("source", "data", "target"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--steps", type=int, default=15_000)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--as-rendered", type=float, default=0.2)
    parser.add_argument("--spread", type=float, default=2e-3)
    arguments = parser.parse_args()
    scene, steps = load_kilonerf_scene(arguments.source), arguments.steps
    settings = PRESETS["fast"]
    student = Student.of(scene)
    networks = TinyNetworks(student.networks.rows.detach(), settings.position_frequencies)
    with torch.no_grad():
        networks.rows.copy_(networks.trained_rows())
    student = replace(student, networks=networks)
    (train,) = load_splits(arguments.data, ("train",))
    chosen = {
        "learning_rate": arguments.learning_rate,
        "as_rendered": arguments.as_rendered,
        "spread": arguments.spread,
    }
    fine_tuning = replace(settings.fine_tuning, steps=steps, **chosen)
    stage = FineTuning(student, Photos(train.views), fine_tuning, random_background=True, seed=1, world=World())
    folder = arguments.target.with_suffix(".refining")
    make_folder(folder)
    described = {"source": str(arguments.source), "steps": steps, **chosen}
    store, observer = StageStore(folder, World(), lambda stage: described), ProgressObserver()
    with interruption() as interrupted:
        run_stage(stage, "fine-tuning", store, world=World(), observer=observer, interrupted=interrupted)
    provenance = {
        **scene.provenance,
        "frequencies": networks.frequencies,
        "fine_tuning_steps": scene.provenance["fine_tuning_steps"] + steps,
    }
    more = {"training_poses": scene.training_poses, "start_camera": scene.start_camera, "provenance": provenance}
    save_scene(student.to_scene(np.float16, **more), arguments.target)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
