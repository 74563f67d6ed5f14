"""Proves that an installed wheel works: renders a small picture of the scene that is named on the command line."""

import sys

import numpy as np

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.cuda.device import INCLUDE_FOLDERS
from kilonerf.model_io import load_scene

scene = load_scene(sys.argv[1])
if scene.start_camera is None:
    sys.exit(f"{sys.argv[1]}: no start camera")
camera = scene.start_camera.resized(48, 48)
frames = {
    name: create_renderer(scene, name).render(camera, RenderOptions(precision="float32"))
    for name in ("cpu", "reference")
}
difference = float(np.abs(frames["cpu"].rgb - frames["reference"].rgb).mean())
visible = float((frames["cpu"].alpha > 0.5).mean())
print(f"cpu and reference differ by {difference:.2e} on average, {visible:.0%} of the picture is covered")
if difference > 1e-4 or visible < 0.05:
    sys.exit("the picture is wrong")
missing = [
    name
    for name in ("render.cu", "query.cu", "device.cuh", "scene.cuh", "sampling_rule.h")
    if not any((folder / name).is_file() for folder in INCLUDE_FOLDERS)
]
if missing:  # CUDA kernels are compiled where they run
    sys.exit(f"sources of the CUDA kernels are missing: {', '.join(missing)}")
