"""The picture on the GPU: the newest frame, with the overlays drawn by the camera that made it."""

import moderngl
import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Scene

from .navigator import picked_point
from .overlays import OverlayOptions, Overlays
from .picture import Picture
from .projection import clip_planes
from .render_worker import RenderResult
from .window import make_framebuffer, read_framebuffer, release_framebuffer


class SceneView:
    """Shows results of the render worker.

    Attributes:
        shown: the result on the screen, None before the first.
    """

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._picture = Picture(ctx)
        self._overlays = Overlays(ctx)
        self.shown: RenderResult | None = None

    def set_scene(self, scene: Scene | None) -> None:
        """Draw the overlays of ``scene`` from now on; the old picture leaves."""
        self._overlays.set_scene(scene)
        self.shown = None

    @property
    def busy(self) -> bool:
        """Whether overlay lines are still being computed: draw again soon."""
        return self._overlays.busy

    def show(self, result: RenderResult) -> None:
        """Take a finished frame."""
        if result.frame is not None:
            self._picture.upload(result.frame)
            self.shown = result

    def draw(self, framebuffer: moderngl.Framebuffer, area: tuple[int, int, int, int], options: OverlayOptions) -> None:
        """Draw into ``area`` (x, y from below, width, height in pixels) of ``framebuffer``."""
        if self.shown is None:
            return
        camera, scene = self.shown.request.camera, self.shown.request.view.scene
        planes = clip_planes(camera, scene.aabb_min, scene.aabb_max)
        framebuffer.use()
        framebuffer.viewport = area
        self._picture.draw(planes)
        self._overlays.draw(camera, planes, options)

    def capture(self, options: OverlayOptions) -> NDArray[np.uint8]:
        """The shown picture with its overlays at its own size, uint8 [H, W, 3]."""
        if self.shown is None:
            raise ValueError("SceneView.capture: nothing is shown yet")
        camera = self.shown.request.camera
        framebuffer = make_framebuffer(self._ctx, camera.width, camera.height)
        self._overlays.prepare(options)
        framebuffer.clear(0.0, 0.0, 0.0, 1.0, depth=1.0)
        self.draw(framebuffer, (0, 0, camera.width, camera.height), options)
        pixels = read_framebuffer(framebuffer).copy()
        release_framebuffer(framebuffer)
        return pixels

    def pick(self, u: float, v: float) -> tuple[NDArray[np.float64], float] | None:
        """World point [3] and z-depth at (u, v), fractions of the picture from its top left; None on background."""
        if self.shown is None or self.shown.frame is None:
            return None
        return picked_point(self.shown.request.camera, self.shown.frame, u, v)

    def release(self) -> None:
        """Free everything on the GPU."""
        self._overlays.release()
        self._picture.release()
