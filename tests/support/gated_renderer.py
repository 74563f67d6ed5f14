"""A renderer whose speed the test decides."""

import threading
import time

import numpy as np

from kilonerf.kernels import PICTURE, BackendChoice, Frame, FrameStatistics, RenderCancelled
from kilonerf.model_io import Scene

PATIENCE = 20.0


class GatedRenderer:
    """Each frame waits for ``gate`` and then is one flat colour."""

    def __init__(
        self,
        scene: Scene,
        backend: BackendChoice | str = "auto",
        *,
        gate=None,
        seconds=0.0,
        on_render=lambda camera, options: None,
    ):
        self.scene, self.device = scene, "fake device"
        self.backend = backend if isinstance(backend, str) else backend.name
        self.outputs, self.fallback = PICTURE, ""
        self.gate = gate or _open_gate()
        self.seconds = seconds
        self.on_render = on_render
        self.started: list[tuple[int, int]] = []
        self.cancelled = 0

    def render(self, camera, options, outputs=PICTURE, *, on_device=False, cancel=None):
        self.started.append((camera.width, camera.height))
        self.on_render(camera, options)
        end = time.monotonic() + self.seconds
        while True:
            done = time.monotonic() >= end and self.gate.is_set()
            if cancel is not None and cancel.cancelled:
                self.cancelled += 1
                raise RenderCancelled
            if done:
                break
            time.sleep(0.001)
        shape = (camera.height, camera.width)
        rays = camera.width * camera.height
        return Frame(
            rgb=np.full((*shape, 3), (0.8, 0.2, 0.1), np.float32),
            alpha=np.ones(shape, np.float32),
            depth=np.full(shape, 3.0, np.float32),
            statistics=FrameStatistics(5 * rays, 6 * rays, rays, rays, 7.5, {"march": 2.5, "networks": 5.0}, 2),
        )

    def query(self, points, directions):
        raise NotImplementedError


def _open_gate():
    gate = threading.Event()
    gate.set()
    return gate
