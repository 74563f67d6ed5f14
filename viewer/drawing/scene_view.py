"""The picture on the GPU: the newest frame for the camera of the moment, with the overlays drawn by that camera."""

from dataclasses import replace

import moderngl
import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels.options import RGB
from kilonerf.model_io import BackendError, Camera, Scene

from ..camera.picking import picked_point
from ..rendering.interop import Interop
from ..rendering.worker import RenderResult
from ..window import read_framebuffer
from .guides import Guides
from .overlays import OverlayOptions, Overlays
from .picture import Picture
from .projection import ClipPlanes, clip_planes
from .reprojection import Reprojection

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

    A result is shown pixel by pixel as it is for the camera that it was made for. For any other camera it is
    reprojected, so that the view follows the user's hand at the window's rate while the next picture is made.

    Picture and overlays are composed in a texture, and only when one of them changed: a window frame in which
    neither did, as most are while a slow picture is being made, then costs a third on Mesa's llvmpipe.

    Args:
        ctx: OpenGL.
        interop: how pictures come that are on a CUDA device.
        overlays_of: whose overlays and guides to draw; None: its own.

    Attributes:
        shown: the result on the screen, None before the first.
        empty: the color that is seen before the first picture.
        guides: lines that are drawn while the overlays' options want any.
    """

    def __init__(
        self, ctx: moderngl.Context, interop: Interop | None = None, overlays_of: "SceneView | None" = None
    ) -> None:
        self._ctx = ctx
        self._picture = Picture(ctx, interop)
        self._reprojection = Reprojection(ctx, self._picture)
        self._owns_overlays = overlays_of is None
        self._overlays = Overlays(ctx) if overlays_of is None else overlays_of._overlays
        self.guides = Guides(ctx) if overlays_of is None else overlays_of.guides
        self._program = ctx.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        self._triangle = ctx.vertex_array(self._program, [])
        self._texture: moderngl.Texture | None = None
        self._composed: moderngl.Framebuffer | None = None
        self._composed_from: tuple[RenderResult, Camera, OverlayOptions, int] | None = None
        self._reprojected: RenderResult | None = None  # what the reprojection was prepared for
        self._displayed: tuple[Camera, bool] | None = None  # in the window now: for whom, and whether with depth
        self.empty: RGB = (0.0, 0.0, 0.0)
        self.shown: RenderResult | None = None

    def set_scene(self, scene: Scene | None, *, keep_picture: bool = False) -> None:
        """Draw the overlays of ``scene`` from now on; the old picture leaves at once, or when the next one is there."""
        self._overlays.set_scene(scene)
        if not keep_picture:
            self.forget()

    def shows(self, scene: Scene | None) -> bool:
        """Whether the picture on the screen is of this scene."""
        return self.shown is not None and self.shown.request.shot.scene is scene

    def forget(self) -> None:
        """Show nothing until the next picture is there."""
        self._picture.clear()
        self.shown = self._displayed = self._composed_from = self._reprojected = None

    @property
    def displayed(self) -> Camera | None:
        """Whose view the last :meth:`draw` showed, None before the first picture."""
        return self._displayed[0] if self._displayed else None

    @property
    def busy(self) -> bool:
        """Whether overlay lines are still being computed: draw again soon."""
        return self._overlays.busy

    def show(self, result: RenderResult) -> RenderResult:
        """Take a finished frame; one that is on a device stays there as long as it is shown.

        Returns:
            The result, which has failed after all if the device that the frame is on did.
        """
        if result.frame is None:
            return result
        try:
            self._picture.upload(result.frame)
        except BackendError as error:
            self._picture.clear()
            self.shown = None
            return replace(result, frame=None, error=str(error))
        self.shown = result
        self._composed_from = self._reprojected = None  # of older frames, whose memory they would hold
        return result

    def draw(
        self,
        target: moderngl.Framebuffer,
        area: tuple[int, int, int, int],
        options: OverlayOptions,
        camera: Camera | None = None,
    ) -> None:
        """Draw into ``area`` (x, y from below, width, height in pixels) of ``target``.

        Args:
            target: left bound, its viewport set to ``area``.
            area: where to draw.
            options: what to lay over the picture.
            camera: whose view to show, with the full size; None: the newest picture as it is.
        """
        if self.shown is None:
            self._displayed = None
            target.clear(*self.empty, 1.0, viewport=area)
            return
        view = self.shown.request.shot
        camera = camera or view.camera
        self._displayed = (camera, options.visible)
        if camera != view.camera and not options.visible:
            self._prepare_reprojection(self.shown)
            target.use()
            target.viewport = area
            target.clear(*view.options.background, 1.0, viewport=area)
            self._reprojection.draw(self.shown.request.camera, camera, self._planes(self.shown, camera), depth=False)
            return
        self._compose(self.shown, area[2], area[3], options, camera)
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
        size, camera = self.shown.request.camera, self.shown.request.shot.camera
        self._overlays.prepare(options)
        return read_framebuffer(self._compose(self.shown, size.width, size.height, options, camera)).copy()

    def pick(self, u: float, v: float) -> tuple[NDArray[np.float64], float] | None:
        """World point [3] and z-depth that the user sees at (u, v), fractions of the picture from its top left.

        None on background. The z-depth is that of the camera that the last :meth:`draw` was for.
        """
        if self.shown is None or not (0.0 <= u < 1.0 and 0.0 <= v < 1.0):
            return None
        request, frame = self.shown.request, self.shown.host_frame()
        if frame is None:
            return None
        displayed, depth = self._displayed or (request.shot.camera, False)
        if displayed == request.shot.camera:
            return picked_point(request.camera, frame, u, v)
        self._prepare_reprojection(self.shown)
        planes = self._planes(self.shown, displayed)
        place = self._reprojection.source_place(request.camera, displayed, planes, u, v, depth=depth)
        hit = picked_point(request.camera, frame, *place) if place is not None else None
        if hit is None:
            return None
        return hit[0], float((displayed.position - hit[0]) @ displayed.matrix[:3, 2])

    def release(self) -> None:
        """Free everything on the GPU."""
        self._release_composed()
        if self._owns_overlays:
            self._overlays.release()
            self.guides.release()
        self._reprojection.release()
        self._picture.release()
        self._triangle.release()
        self._program.release()

    def _compose(
        self, result: RenderResult, width: int, height: int, options: OverlayOptions, camera: Camera
    ) -> moderngl.Framebuffer:
        """Picture and overlays at a size in pixels, for a camera of any size; redrawn only if something changed."""
        if self._composed is None or self._composed.size != (width, height):
            self._release_composed()
            self._texture = self._ctx.texture((width, height), 4)
            self._composed = self._ctx.framebuffer([self._texture], self._ctx.depth_renderbuffer((width, height)))
        if self._composed_from == (result, camera, options, self.guides.version):
            return self._composed
        planes = self._planes(result, camera)
        reprojected = camera != result.request.shot.camera
        if reprojected:
            self._prepare_reprojection(result)
        self._composed.use()
        self._composed.viewport = (0, 0, width, height)
        if reprojected:
            self._composed.clear(*result.request.shot.options.background, 1.0, depth=1.0)
            self._reprojection.draw(result.request.camera, camera, planes, depth=True)
        else:
            self._picture.draw(planes)
        self._overlays.draw(camera, planes, options)
        if options.guides:
            self.guides.draw(camera, planes)
        # Lines that are still being computed are missing: compose again with the next frame.
        self._composed_from = None if self._overlays.busy else (result, camera, options, self.guides.version)
        return self._composed

    def _prepare_reprojection(self, result: RenderResult) -> None:
        if self._reprojected is not result:
            self._reprojection.prepare(result.request.scale, result.request.shot.options.background)
            self._reprojected = result

    @staticmethod
    def _planes(result: RenderResult, camera: Camera) -> ClipPlanes:
        outermost = result.request.shot.scene.levels[-1].box
        return clip_planes(camera, outermost.min, outermost.max)

    def _release_composed(self) -> None:
        if self._composed is not None:
            depth = self._composed.depth_attachment
            if depth is not None:
                depth.release()
            self._composed.release()
        if self._texture is not None:
            self._texture.release()
        self._composed = self._texture = self._composed_from = None
