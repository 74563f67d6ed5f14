"""A camera path of your own, saved as JSON and rendered to a video.

python examples/03_camera_path_to_video.py [SCENE] [--output flight.mp4] [--seconds 3]
"""

import argparse
import math
from pathlib import Path

import numpy as np

from kilonerf.kernels import RenderOptions
from kilonerf.model_io import Camera, CameraPath, load_scene
from kilonerf.viewer.recording.render_job import RenderJob

CHAIR = Path(__file__).resolve().parents[1] / "assets" / "chair.knf"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("scene", nargs="?", type=Path, default=CHAIR)
parser.add_argument("--output", type=Path, default=Path("flight.mp4"))
parser.add_argument("--seconds", type=float, default=3.0)
parser.add_argument("--size", type=int, default=320)
arguments = parser.parse_args()

scene = load_scene(arguments.scene)
target = 0.5 * (scene.box_min + scene.box_max)
# Five keyframes on a rising spiral; the path between them is smooth in position and orientation.
cameras = [
    Camera.look_at(
        target + np.array([3.5 * math.cos(angle), 3.5 * math.sin(angle), 0.5 + 0.4 * k]),
        target,
        arguments.size,
        arguments.size,
    )
    for k, angle in enumerate(math.radians(60.0 * k) for k in range(5))
]
path = CameraPath.from_cameras([arguments.seconds * k / 4 for k in range(5)], cameras)
path.save(arguments.output.with_suffix(".json"))  # kilonerf-render --path renders it again

job = RenderJob(scene, path, RenderOptions(), arguments.output, arguments.size, arguments.size, fps=24)
job.start()
while not job.wait(0.5):
    print(f"{job.progress.done} of {job.progress.total} frames")
if job.error is not None:
    raise job.error
print(f"{arguments.output}: {job.progress.total} frames on {job.device}")
