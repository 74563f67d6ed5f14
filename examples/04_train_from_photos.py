"""Photos to a scene, from Python: photos of the chair are rendered here, so that there is something to train on.

python examples/04_train_from_photos.py [--folder out/training] [--views 24] [--steps 400]

With photos of your own, pass their folder to ``train`` (Blender, NSVF, nerfstudio, instant-ngp or COLMAP).
"""

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.model_io import load_scene, save_scene
from kilonerf.model_io.camera.turntable import turntable_cameras
from kilonerf.trainer import PRESETS, train

CHAIR = Path(__file__).resolve().parents[1] / "assets" / "chair.knf"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--folder", type=Path, default=Path("out/training"))
parser.add_argument("--views", type=int, default=24)
parser.add_argument("--size", type=int, default=100)
parser.add_argument("--steps", type=int, default=400)
arguments = parser.parse_args()

# A data set as Blender's script of NeRF writes it: transforms_train.json and RGBA pictures.
chair = load_scene(CHAIR)
renderer = create_renderer(chair)
photos = arguments.folder / "photos"
(photos / "train").mkdir(parents=True, exist_ok=True)
cameras = turntable_cameras(chair, arguments.views, arguments.size, arguments.size)
frames = []
for number, camera in enumerate(cameras):
    frame = renderer.render(camera, RenderOptions(background=(0.0, 0.0, 0.0)))
    alpha = frame.alpha[..., None].clip(0, 1)
    rgba = np.concatenate([frame.rgb / np.maximum(alpha, 1e-6), alpha], axis=-1).clip(0, 1)
    Image.fromarray(np.rint(255 * rgba).astype(np.uint8)).save(photos / "train" / f"r_{number}.png")
    frames.append({"file_path": f"./train/r_{number}", "transform_matrix": camera.matrix.tolist()})
angle = 2.0 * math.atan(0.5 * cameras[0].width / cameras[0].fx)
(photos / "transforms_train.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}))

# The preset "tiny" takes minutes; this is less than that. A run that was stopped is resumed from its folder.
tiny = PRESETS["tiny"]
settings = replace(
    tiny,
    grid=replace(tiny.grid, resolution=96, steps=(60, 60, 60, 60), rays=2048),
    occupancy=replace(tiny.occupancy, cells=8, factor=12),
    distillation=replace(tiny.distillation, steps=150),
    fine_tuning=replace(tiny.fine_tuning, steps=arguments.steps, rays=2048),
)
scene = train(photos, settings, folder=arguments.folder / "run")
save_scene(scene, arguments.folder / "chair.knf")

camera = turntable_cameras(chair, 2 * arguments.views, arguments.size, arguments.size)[1]  # between two photos
truth = renderer.render(camera, RenderOptions()).rgb.clip(0, 1)
trained = create_renderer(scene).render(camera, RenderOptions()).rgb.clip(0, 1)
print(
    f"{arguments.folder / 'chair.knf'}: {len(scene.cells.leaves)} networks, {psnr(trained, truth):.2f} dB on a new view"
)
