"""Ask the networks themselves for color and density at points: a horizontal slice through the scene.

python examples/02_query_points.py [SCENE] [--output slice.png]
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from kilonerf.kernels import query
from kilonerf.model_io import load_scene

CHAIR = Path(__file__).resolve().parents[1] / "assets" / "chair.knf"
SIZE = 256

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("scene", nargs="?", type=Path, default=CHAIR)
parser.add_argument("--output", type=Path, default=Path("slice.png"))
arguments = parser.parse_args()

scene = load_scene(arguments.scene)
x, y = (np.linspace(scene.box_min[axis], scene.box_max[axis], SIZE) for axis in (0, 1))
middle = 0.5 * float(scene.box_min[2] + scene.box_max[2])
points = np.stack(np.meshgrid(x, y, [middle], indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
down = np.broadcast_to(np.array([0.0, 0.0, -1.0], np.float32), points.shape)

rgb, density = query(scene, points, down, backend="cpu")  # [P, 3] and [P]; 0 outside occupied space
print(f"{np.count_nonzero(density):,} of {len(points):,} points have density, {density.max():.0f} at most")

opacity = 1.0 - np.exp(-density * scene.step)[:, None]
picture = (rgb * opacity + (1.0 - opacity)).reshape(SIZE, SIZE, 3)
Image.fromarray(np.rint(255 * picture).astype(np.uint8)).save(arguments.output)
print(arguments.output)
