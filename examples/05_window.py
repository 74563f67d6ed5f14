"""Open the viewer's window on a scene in memory: here, the chair without its lower half.

python examples/05_window.py [SCENE]

Without a display: scripts/virtual_screen.sh python examples/05_window.py --exit-after 1 --screenshot window.png
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from kilonerf.model_io import load_kilonerf_scene
from kilonerf.viewer import show

CHAIR = Path(__file__).resolve().parents[1] / "assets" / "chair.knf"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("scene", nargs="?", type=Path, default=CHAIR)
parser.add_argument("--exit-after", type=float)
parser.add_argument("--screenshot", type=Path)
arguments = parser.parse_args()

scene = load_kilonerf_scene(arguments.scene)
occupancy = np.array(scene.occupancy)
occupancy[:, :, : occupancy.shape[2] // 2] = False  # empty-space skipping skips what is marked empty
show(replace(scene, occupancy=occupancy), exit_after=arguments.exit_after, screenshot=arguments.screenshot)
