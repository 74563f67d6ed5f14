"""Coloured lines anywhere in the world, drawn in 3D over the picture: axes, ground, cameras of photos."""

import moderngl
import numpy as np
from numpy.typing import ArrayLike, NDArray

from kilonerf.model_io import Camera

from .projection import ClipPlanes, projection_matrix, view_matrix
from .ribbon import RIBBON

VERTEX = (
    RIBBON
    + """
uniform mat4 clip_from_world;
uniform float nearest;
in vec3 begin;
in vec3 end;
in vec4 tint;
flat out vec4 color;
void main() {
    color = tint;
    vec4 clip = ribbon(clip_from_world * vec4(begin, 1.0), clip_from_world * vec4(end, 1.0), nearest);
    gl_Position = vec4(clip.xy, clamp(clip.z, -clip.w, clip.w), clip.w);  // outside of the planes: still drawn
}
"""
)

FRAGMENT = """
#version 330 core
uniform float half_width, share;
noperspective in float distance;
flat in vec4 color;
out vec4 fragment;
void main() {
    fragment = vec4(color.rgb, share * color.a * clamp(half_width + 0.5 - abs(distance), 0.0, 1.0));
}
"""

HALF_WIDTH = 0.7  # pixels
HIDDEN_SHARE = 0.15  # of the opacity, where the scene is in front
NEAREST_SHARE = 1e-4  # of the far plane's z-depth
BYTES = 40  # of a line: two points, a colour


class Guides:
    """Sets of lines by name; a set is kept until it is replaced.

    Attributes:
        version: grows with every change.
    """

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._program: moderngl.Program | None = None
        self._sets: dict[str, tuple[moderngl.Buffer, moderngl.VertexArray, int]] = {}
        self.version = 0

    def set_lines(self, name: str, lines: ArrayLike, colors: ArrayLike) -> None:
        """Replace a set.

        Args:
            name: of the set.
            lines: world points [L, 2, 3]; none: the set is removed.
            colors: RGBA [L, 4] or [4], each in [0, 1].
        """
        ends = np.asarray(lines, np.float32).reshape(-1, 6)
        if name not in self._sets and not len(ends):
            return
        self.version += 1
        for resource in self._sets.pop(name, ())[:2]:
            if isinstance(resource, moderngl.Buffer | moderngl.VertexArray):
                resource.release()
        if not len(ends):
            return
        if self._program is None:
            self._program = self._ctx.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        rows: NDArray[np.float32] = np.empty((len(ends), 10), np.float32)
        rows[:, :6], rows[:, 6:] = ends, np.asarray(colors, np.float32)
        buffer = self._ctx.buffer(rows.tobytes())
        array = self._ctx.vertex_array(self._program, [(buffer, "3f 3f 4f /i", "begin", "end", "tint")])
        self._sets[name] = buffer, array, len(ends)

    def draw(self, camera: Camera, planes: ClipPlanes) -> None:
        """Draw all over the bound framebuffer's viewport, tested against its depth; leaves tests and blending off."""
        program, ctx = self._program, self._ctx
        if program is None or not self._sets:
            return
        clip_from_world = projection_matrix(camera, *planes) @ view_matrix(camera)
        program["clip_from_world"] = tuple(clip_from_world.T.ravel().tolist())
        program["nearest"] = NEAREST_SHARE * planes.far
        program["viewport"] = (float(ctx.viewport[2]), float(ctx.viewport[3]))
        program["half_width"] = HALF_WIDTH
        framebuffer = ctx.fbo
        ctx.enable_only(moderngl.DEPTH_TEST | moderngl.BLEND)
        ctx.blend_func = moderngl.SRC_ALPHA, moderngl.ONE_MINUS_SRC_ALPHA
        framebuffer.depth_mask = False
        for depth_func, share in (("<=", 1.0), (">", HIDDEN_SHARE)):
            ctx.depth_func = depth_func
            program["share"] = share
            for _, array, count in self._sets.values():
                array.render(moderngl.TRIANGLE_STRIP, vertices=4, instances=count)
        framebuffer.depth_mask = True
        ctx.depth_func = "<"
        ctx.enable_only(moderngl.NOTHING)

    def release(self) -> None:
        """Free everything on the GPU."""
        for name in list(self._sets):
            self.set_lines(name, (), ())
        if self._program is not None:
            self._program.release()
            self._program = None
