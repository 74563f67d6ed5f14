"""Watch a scene while a loop changes it: here, networks that are noise at first become the chair.

python examples/06_live.py [SCENE]

A training loop looks the same: it makes a scene every so many steps and hands it to ``update``; the camera stays where
the user has it. In a notebook, cells run on while the window is open.

Without a display: scripts/virtual_screen.sh python examples/06_live.py --steps 5 --screenshot window.png
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from kilonerf.model_io import Scene, load_kilonerf_scene
from kilonerf.viewer import show

CHAIR = Path(__file__).resolve().parents[1] / "assets" / "chair.knf"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("scene", nargs="?", type=Path, default=CHAIR)
parser.add_argument("--steps", type=int, default=60)
parser.add_argument("--screenshot", type=Path, help="of the window, when the loop is done; it closes then")
arguments = parser.parse_args()

finished = load_kilonerf_scene(arguments.scene)
noise = np.random.default_rng(0)


def scene_at(step: int) -> Scene:
    """What training might have reached by now: the less noise on the weights, the later."""
    share = 0.3 * (1.0 - step / arguments.steps) ** 2
    layers = {}
    for name, values in finished.layers.items():
        spread = share * values.std(dtype=np.float64)
        layers[name] = (values + spread * noise.standard_normal(values.shape, np.float32)).astype(values.dtype)
    return replace(finished, layers=layers)


with show(scene_at(0), block=False, screenshot=arguments.screenshot) as window:
    for step in range(1, arguments.steps + 1):
        time.sleep(0.05)  # the work of some steps of training
        window.update(scene_at(step))
        if window.closed:
            break
    if arguments.screenshot is None:
        window.wait()  # until the user closes it
    else:
        window.wait_until_shown()
