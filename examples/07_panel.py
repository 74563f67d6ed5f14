"""A section of one's own in the viewer's panel: a slider that cuts the chair, and what is left of it.

python examples/07_panel.py [SCENE]

Without a display: scripts/virtual_screen.sh python examples/07_panel.py --exit-after 1 --screenshot window.png
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from imgui_bundle import imgui

from kilonerf.model_io import KiloNeRFScene, load_kilonerf_scene
from kilonerf.viewer import show

CHAIR = Path(__file__).resolve().parents[1] / "assets" / "chair.knf"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("scene", nargs="?", type=Path, default=CHAIR)
parser.add_argument("--height", type=float, default=0.6, help="share that is left at first, 0 to 1")
parser.add_argument("--exit-after", type=float)
parser.add_argument("--screenshot", type=Path)
arguments = parser.parse_args()

scene = load_kilonerf_scene(arguments.scene)
height = arguments.height


def panel() -> None:
    """Drawn with ImGui once for each frame of the window, by the window's thread."""
    global height
    imgui.separator_text("Cut")
    _, height = imgui.slider_float("Height", height, 0.0, 1.0)
    imgui.text(f"{cut(height).occupancy.mean():.1%} of the voxels are left")


def cut(share: float) -> KiloNeRFScene:
    """The scene without what is higher: empty-space skipping skips what is marked empty."""
    occupancy = np.array(scene.occupancy)
    occupancy[:, :, round(share * occupancy.shape[2]) :] = False
    return replace(scene, occupancy=occupancy)


shown = height
with show(
    cut(shown), block=False, panel=panel, exit_after=arguments.exit_after, screenshot=arguments.screenshot
) as window:
    while not window.wait(0.02):
        if height != shown:
            shown = height
            window.update(cut(shown))
