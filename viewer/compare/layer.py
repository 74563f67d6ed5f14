"""The other picture on the GPU, drawn on the right of the divider."""

import moderngl

from kilonerf.model_io import Camera

from ..drawing.overlays import OverlayOptions
from ..drawing.scene_view import VERTEX, SceneView
from ..rendering.interop import Interop

FRAGMENT = """
#version 330 core
uniform sampler2D composed;
uniform ivec2 corner;
uniform int divider;  // first column
out vec4 fragment;
void main() {
    ivec2 place = ivec2(gl_FragCoord.xy) - corner;
    if (place.x < divider) discard;
    fragment = texelFetch(composed, place, 0);
}
"""


class OtherLayer:
    """Shows results beside those of a :class:`SceneView`, with the same overlays, and follows the camera as that does.

    Args:
        ctx: OpenGL.
        first: the view of the window's own picture.
    """

    def __init__(self, ctx: moderngl.Context, first: SceneView) -> None:
        self._ctx = ctx
        self.view = SceneView(ctx, Interop(wanted=False), overlays_of=first)
        self._program = ctx.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        self._triangle = ctx.vertex_array(self._program, [])
        self._target: moderngl.Framebuffer | None = None

    def draw(
        self,
        target: moderngl.Framebuffer,
        area: tuple[int, int, int, int],
        options: OverlayOptions,
        camera: Camera | None,
        divider: int,
    ) -> None:
        """Draw into ``area`` (x, y from below, width, height in pixels) of ``target``, from a column on.

        Args:
            target: left bound, its viewport set to ``area``.
            area: where the picture is.
            options: what to lay over it.
            camera: as for :meth:`SceneView.draw`.
            divider: the first column that is drawn, counted from the area's left edge.
        """
        size = area[2:]
        if self._target is None or self._target.size != size:
            self._release_target()
            self._target = self._ctx.framebuffer([self._ctx.texture(size, 4)])
        self.view.draw(self._target, (0, 0, *size), options, camera)
        texture = self._target.color_attachments[0]
        target.use()
        target.viewport = area
        if isinstance(texture, moderngl.Texture):
            texture.use(0)
        self._program["corner"], self._program["divider"] = area[:2], divider
        self._ctx.enable_only(moderngl.NOTHING)
        self._triangle.render(moderngl.TRIANGLES, vertices=3)

    def release(self) -> None:
        """Free everything on the GPU."""
        self._release_target()
        self.view.release()
        self._triangle.release()
        self._program.release()

    def _release_target(self) -> None:
        if self._target is not None:
            for attachment in self._target.color_attachments:
                attachment.release()
            self._target.release()
            self._target = None
