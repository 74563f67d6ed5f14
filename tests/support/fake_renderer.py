"""A renderer for tests of what stands around one."""

import threading

import numpy as np

from kilonerf.kernels import (
    PICTURE,
    BackendChoice,
    CancelToken,
    Frame,
    FrameStatistics,
    Output,
    RenderCancelled,
    RenderOptions,
)
from kilonerf.model_io import BackendError, Camera, Scene


class FakeRenderer:
    """A renderer whose picture tells where the camera is; it can be slow, or fail at a frame."""

    backend = "fake"
    device = "none"
    outputs: frozenset[Output] = PICTURE
    fallback = ""

    def __init__(self, scene: Scene, backend: str | BackendChoice = "auto") -> None:
        choice = BackendChoice(backend) if isinstance(backend, str) else backend
        if choice.name not in ("auto", "fake", "cuda", "cpu", "reference"):
            raise BackendError(f"backend {choice.name!r}: expected fake")
        self.scene = scene
        self.threads = choice.threads
        self.device_index = choice.device
        self.cpu_path = choice.cpu_path
        self.cameras: list[Camera] = []
        self.options: list[RenderOptions] = []
        self.fail_at: int | None = None
        self.block_at: int | None = None
        self.blocked = threading.Event()

    def render(
        self,
        camera: Camera,
        options: RenderOptions,
        outputs: frozenset[Output] = PICTURE,
        *,
        on_device: bool = False,
        cancel: CancelToken | None = None,
    ) -> Frame:
        number = len(self.cameras)
        self.cameras.append(camera)
        self.options.append(options)
        if number == self.fail_at:
            raise BackendError("the backend broke")
        if number == self.block_at:  # a frame that would take for ever
            assert cancel is not None
            self.blocked.set()
            while not cancel.cancelled:
                threading.Event().wait(0.001)
            raise RenderCancelled
        shape = (camera.height, camera.width)
        rgb = np.broadcast_to(0.5 + 0.1 * camera.position.astype(np.float32), (*shape, 3)).copy()
        samples = 1000 * (1 if options.ess else 10) * (1 if options.ert else 4)
        statistics = FrameStatistics(
            samples=samples, evaluations=samples + 7, rays=camera.width * camera.height, rays_hit=10,
            total_ms=5.0 + number, stages_ms={"march": 2.0 + number, "networks": 3.0}, threads=self.threads or 1,
        )  # fmt: skip
        return Frame(rgb, np.ones(shape, np.float32), np.ones(shape, np.float32), statistics)

    def query(self, points, directions):
        raise NotImplementedError


class MadeRenderers(list[FakeRenderer]):
    """The fake renderers that were made, newest last; `prepare` alters each before it is used."""

    def prepare(self, renderer: FakeRenderer) -> None:
        """Nothing by default."""

    def create(self, scene: Scene, backend: str | BackendChoice = "auto") -> FakeRenderer:
        renderer = FakeRenderer(scene, backend)
        self.prepare(renderer)
        self.append(renderer)
        return renderer
