"""Fine-tunes a finished scene once more on its photos, after leaving out its positions' high frequencies.

So assets/chair.knf came from a scene that kilonerf-train had made when it still trained all 10 frequencies:

    python scripts/refine_scene.py trained.knf data/chair assets/chair.knf
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from kilonerf.model_io import load_kilonerf_scene, save_scene
from kilonerf.model_io.datasets import load_splits
from kilonerf.trainer.data.photos import Photos
from kilonerf.trainer.loop.distributed import World
from kilonerf.trainer.ops.networks import TinyNetworks
from kilonerf.trainer.settings import PRESETS
from kilonerf.trainer.stages.fine_tuning import FineTuning
from kilonerf.trainer.stages.student import Student

STEPS, LEARNING_RATE, SEED = 15_000, 2e-3, 1
SAY_EVERY = 250


def main() -> None:
    """Read a scene and its photos, write another scene."""
    source, data, target = map(Path, sys.argv[1:4])
    scene = load_kilonerf_scene(source)
    settings = PRESETS["fast"]
    student = Student.of(scene)
    networks = TinyNetworks(student.networks.rows.detach(), settings.position_frequencies)
    with torch.no_grad():
        networks.rows.copy_(networks.trained_rows())
    student = replace(student, networks=networks)
    (train,) = load_splits(data, ("train",))
    fine_tuning = replace(settings.fine_tuning, steps=STEPS, learning_rate=LEARNING_RATE)
    stage = FineTuning(student, Photos(train.views), fine_tuning, random_background=True, seed=SEED, world=World())
    began, errors = time.perf_counter(), []
    for step in range(STEPS):
        errors.append(stage.step(step)["error"])
        if len(errors) == SAY_EVERY:
            seconds = time.perf_counter() - began
            print(f"step {step + 1} of {STEPS}, {-10 * np.log10(np.mean(errors)):.3f} dB, {seconds:.0f} s", flush=True)
            errors.clear()
    stage.finish()
    provenance = {
        **scene.provenance,
        "frequencies": networks.frequencies,
        "fine_tuning_steps": scene.provenance["fine_tuning_steps"] + STEPS,
    }
    more = {"training_poses": scene.training_poses, "start_camera": scene.start_camera, "provenance": provenance}
    save_scene(student.to_scene(np.float16, **more), target)


if __name__ == "__main__":
    main()
