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
from .window import read_framebuffer

EMPTY = (0.055, 0.060, 0.072)
"""What is seen before the first picture."""

VERTEX = """
#version 330 core
void main() {  // one triangle that covers the viewport
    gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0);
}
"""

FRAGMENT = """
#version 330 core
uniform sampler2D composed;
uniform ivec2 corner;
out vec4 fragment;
void main() {
    fragment = texelFetch(composed, ivec2(gl_FragCoord.xy) - corner, 0);
}
"""


class SceneView:
    """Shows results of the render worker.

    Picture and overlays are composed in a texture, and only when one of them changed: a window frame in which
    neither did, as most are while a slow picture is being made, then costs a third on Mesa's llvmpipe.

    Attributes:
        shown: the result on the screen, None before the first.
    """

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._picture = Picture(ctx)
        self._overlays = Overlays(ctx)
        self._program = ctx.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        self._triangle = ctx.vertex_array(self._program, [])
        self._texture: moderngl.Texture | None = None
        self._composed: moderngl.Framebuffer | None = None
        self._composed_from: tuple[RenderResult, OverlayOptions] | None = None
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

    def draw(self, target: moderngl.Framebuffer, area: tuple[int, int, int, int], options: OverlayOptions) -> None:
        """Draw into ``area`` (x, y from below, width, height in pixels) of ``target``."""
        if self.shown is None:
            target.clear(*EMPTY, 1.0, viewport=area)
            return
        self._compose(self.shown, area[2], area[3], options)
        target.use()
        target.viewport = area
        if self._texture is not None:
            self._texture.use(0)
        self._program["corner"] = area[:2]
        self._ctx.enable_only(moderngl.NOTHING)
        self._triangle.render(moderngl.TRIANGLES, vertices=3)

    def capture(self, options: OverlayOptions) -> NDArray[np.uint8]:
        """The shown picture with its overlays at its own size, uint8 [H, W, 3]."""
        if self.shown is None:
            raise ValueError("SceneView.capture: nothing is shown yet")
        camera = self.shown.request.camera
        self._overlays.prepare(options)
        return read_framebuffer(self._compose(self.shown, camera.width, camera.height, options)).copy()

    def pick(self, u: float, v: float) -> tuple[NDArray[np.float64], float] | None:
        """World point [3] and z-depth at (u, v), fractions of the picture from its top left; None on background."""
        if self.shown is None or self.shown.frame is None:
            return None
        return picked_point(self.shown.request.camera, self.shown.frame, u, v)

    def release(self) -> None:
        """Free everything on the GPU."""
        self._release_composed()
        self._overlays.release()
        self._picture.release()
        self._triangle.release()
        self._program.release()

    def _compose(self, result: RenderResult, width: int, height: int, options: OverlayOptions) -> moderngl.Framebuffer:
        """Picture and overlays at a size in pixels; drawn anew only if something changed."""
        if self._composed is None or self._composed.size != (width, height):
            self._release_composed()
            self._texture = self._ctx.texture((width, height), 4)
            self._composed = self._ctx.framebuffer([self._texture], self._ctx.depth_renderbuffer((width, height)))
        if self._composed_from == (result, options):
            return self._composed
        camera, scene = result.request.camera, result.request.view.scene
        planes = clip_planes(camera, scene.aabb_min, scene.aabb_max)
        self._composed.use()
        self._composed.viewport = (0, 0, width, height)
        self._picture.draw(planes)
        self._overlays.draw(camera, planes, options)
        # Lines that are still being computed are missing: compose again with the next frame.
        self._composed_from = None if self._overlays.busy else (result, options)
        return self._composed

    def _release_composed(self) -> None:
        if self._composed is not None:
            depth = self._composed.depth_attachment
            if depth is not None:
                depth.release()
            self._composed.release()
        if self._texture is not None:
            self._texture.release()
        self._composed = self._texture = self._composed_from = None
