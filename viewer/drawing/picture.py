"""The newest frame on the screen, with its depth, so that anything drawn in 3D afterwards meets the scene."""

import moderngl
import numpy as np

from kilonerf.kernels import Frame
from kilonerf.kernels.frame import OPAQUE

from ..rendering.interop import Interop
from .projection import ClipPlanes

VERTEX = """
#version 330 core
out vec2 texture_coordinate;
void main() {  // one triangle that covers the viewport
    vec2 corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
    texture_coordinate = vec2(0.5 + 0.5 * corner.x, 0.5 - 0.5 * corner.y);  // row 0 of a frame is on top
    gl_Position = vec4(corner, 0.0, 1.0);
}
"""

FRAGMENT = """
#version 330 core
uniform sampler2D color;
uniform sampler2D depth;  // alpha: z-depth, infinite where nothing is
uniform vec2 planes;      // near, far
in vec2 texture_coordinate;
out vec4 fragment;
void main() {
    fragment = vec4(texture(color, texture_coordinate).rgb, 1.0);
    ivec2 size = textureSize(depth, 0);
    float t = texelFetch(depth, min(ivec2(texture_coordinate * vec2(size)), size - 1), 0).a;  // never interpolated
    float near = planes.x, far = planes.y;
    gl_FragDepth = t >= far ? 1.0 : clamp(far * (t - near) / (t * (far - near)), 0.0, 1.0);
}
"""


class Picture:
    """Draws the newest :class:`~kilonerf.kernels.Frame` over the whole viewport and fills the depth buffer from it.

    Colours go to the GPU as the float32 they are: on Mesa's llvmpipe, 800x800, upload and draw take 7 ms so,
    against 12 ms with a conversion to 8 bits before it.

    Args:
        ctx: OpenGL.
        interop: how frames come that are on a CUDA device.
    """

    def __init__(self, ctx: moderngl.Context, interop: Interop | None = None) -> None:
        self._ctx = ctx
        self._interop = interop or Interop()
        self._program = ctx.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        self._program["color"] = 0
        self._program["depth"] = 1
        self._triangle = ctx.vertex_array(self._program, [])
        self._color: moderngl.Texture | None = None
        self._depth: moderngl.Texture | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) of the frame it holds, None before the first."""
        return self._color.size if self._color is not None else None

    def upload(self, frame: Frame) -> None:
        """Take ``frame``; textures are reallocated only when its size changes. A frame without pixels is no frame.

        Raises:
            BackendError: the device that it is on failed.
        """
        width, height = frame.size
        if width == 0 or height == 0:
            self.clear()
            return
        if (
            frame.resident is not None
            and self._interop.way != "host"
            and self._interop.fill(frame.resident, self._textures(width, height, 4)[0])
        ):
            return
        frame = frame.host()
        color, depth = self._textures(width, height, 3)
        color.write(np.ascontiguousarray(frame.rgb, np.float32))
        depth.write(np.where(frame.alpha >= OPAQUE, frame.depth, np.float32(np.inf)).astype(np.float32))

    def draw(self, planes: ClipPlanes) -> None:
        """Draw colour and depth over the viewport of the bound framebuffer; nothing before the first frame.

        ``planes`` must be those with which later 3D drawing is projected. Leaves depth testing and blending off.
        """
        if self._color is None or self._depth is None:
            return
        self._program["planes"] = (planes.near, planes.far)
        self._color.use(0)
        self._depth.use(1)
        self._ctx.enable_only(moderngl.DEPTH_TEST)  # without the test nothing writes depth
        self._ctx.depth_func = "1"  # always
        self._triangle.render(moderngl.TRIANGLES, vertices=3)
        self._ctx.depth_func = "<"
        self._ctx.enable_only(moderngl.NOTHING)

    def bind(self, *, color: int, depth: int) -> None:
        """Bind the frame's textures to these units: RGB; in alpha z-depth, infinite where nothing opaque is."""
        if self._color is not None and self._depth is not None:
            self._color.use(color)
            self._depth.use(depth)

    def clear(self) -> None:
        """Forget the frame and free its textures."""
        self._interop.let_go()
        for texture in {self._color, self._depth}:
            if texture is not None:
                texture.release()
        self._color = self._depth = None

    def release(self) -> None:
        """Free everything on the GPU."""
        self.clear()
        self._triangle.release()
        self._program.release()

    def _textures(self, width: int, height: int, components: int) -> tuple[moderngl.Texture, moderngl.Texture]:
        """Those for colour, of so many components, and depth; with 4 they are one, with depth in its alpha."""
        color, depth = self._color, self._depth
        if color is None or depth is None or (color.size, color.components) != ((width, height), components):
            self.clear()
            self._color = color = self._texture(width, height, components, moderngl.LINEAR)
            self._depth = depth = color
            if components == 3:
                self._depth = depth = self._texture(width, height, 1, moderngl.NEAREST)
                depth.swizzle = "RRRR"  # read as alpha too
        return color, depth

    def _texture(self, width: int, height: int, components: int, texture_filter: int) -> moderngl.Texture:
        texture = self._ctx.texture((width, height), components, dtype="f4")
        texture.filter = (texture_filter, texture_filter)
        texture.repeat_x = texture.repeat_y = False  # clamp to edge
        return texture
