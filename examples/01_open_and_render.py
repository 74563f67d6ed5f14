"""Load a scene, render a picture of it, and read the work it took.

python examples/01_open_and_render.py [SCENE] [--output chair.png]
"""

import argparse
from pathlib import Path

from PIL import Image

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.model_io import Camera, load_scene

CHAIR = Path(__file__).resolve().parents[1] / "assets" / "chair.knf"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("scene", nargs="?", type=Path, default=CHAIR)
parser.add_argument("--output", type=Path, default=Path("chair.png"))
arguments = parser.parse_args()

scene = load_scene(arguments.scene)
cells = scene.cells
print(f"{len(cells.leaves)} of {cells.resolution} cells hold something, {cells.occupancy.mean():.1%} of the voxels")

# "auto" is CUDA where that works, else the CPU; renderer.device says which it became.
renderer = create_renderer(scene, "auto")
camera = scene.start_camera or Camera.look_at((3.0, 2.0, 1.0), (0.0, 0.0, 0.0), 800, 800)
for ess, ert in ((True, True), (True, False), (False, True)):
    # Empty-space skipping and early ray termination change the work, hardly the picture.
    frame = renderer.render(camera.resized(400, 400), RenderOptions(ess=ess, ert=ert))
    work = frame.statistics
    print(f"ESS {ess!s:5} ERT {ert!s:5} {work.samples:9,} samples {work.total_ms:7.1f} ms on {renderer.device}")

frame = renderer.render(camera.resized(400, 400), RenderOptions())
Image.fromarray(frame.to_rgb8()).save(arguments.output)
print(f"{arguments.output}: {frame.size[0]}x{frame.size[1]}, nearest point at z-depth {frame.depth.min():.2f}")
