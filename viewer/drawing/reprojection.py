"""The newest picture as another camera sees it, until that camera's own picture is there.

The picture is drawn as a mesh with one vertex for each tile of pixels, at the depth that the picture has there: cheap
also where OpenGL runs on the CPU, and exact where the scene is flat within a tile. Background has disparity 0: it turns
with the camera and does not shift. Where a surface comes into view that the picture does not show, the mesh stretches
the farther of the surfaces beside it.
"""

import moderngl
import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels.options import RGB
from kilonerf.model_io import Camera

from .picture import Picture
from .projection import ClipPlanes, clip_from_picture

TILE_PIXELS = 16.0
"""Side of a tile on the screen. Smaller ones cost more, larger ones bend silhouettes: see docs/decisions.md."""
SAME_SURFACE = 0.2
"""Disparities that differ by less than this share belong to one surface."""

VISIBLE = 1.0 / 512.0
"""A colour that differs by less from the background's is shown as the background."""

REDUCE_VERTEX = """
#version 330 core
void main() {  // one triangle that covers the viewport
    gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0);
}
"""

DISPARITY = """
uniform sampler2D depth;  // alpha: z-depth, infinite where nothing is
float disparity(ivec2 pixel) {
    float t = texelFetch(depth, pixel, 0).a;
    return t < 1e30 ? 1.0 / t : 0.0;
}
"""

REDUCE_FRAGMENT = f"""
#version 330 core
{DISPARITY}
uniform int tile;
uniform sampler2D color;
uniform vec3 background;
out vec2 tile_content;  // largest disparity, and whether there is anything but background
void main() {{
    // With the pixels next to it: the soft edge of a silhouette moves with what it is the edge of.
    ivec2 first = ivec2(gl_FragCoord.xy) * tile - 1;
    ivec2 end = min(first + tile + 2, textureSize(depth, 0));
    first = max(first, 0);
    float nearest = 0.0;
    for (int y = first.y; y < end.y; ++y)
        for (int x = first.x; x < end.x; ++x) nearest = max(nearest, disparity(ivec2(x, y)));
    vec3 difference = vec3(0.0);  // haze: every second pixel will show it
    for (int y = first.y; y < end.y; y += 2)
        for (int x = first.x; x < end.x; x += 2)
            difference = max(difference, abs(texelFetch(color, ivec2(x, y), 0).rgb - background));
    float largest = max(difference.r, max(difference.g, difference.b));
    tile_content = vec2(nearest, nearest > 0.0 || largest > {VISIBLE} ? 1.0 : 0.0);
}}
"""

MESH_VERTEX = f"""
#version 330 core
{DISPARITY}
uniform sampler2D tile_contents;
uniform int tile;
uniform float same_surface;
uniform mat4 clip_from_picture;
out vec2 place;  // in the picture, pixels
void main() {{
    // The outermost vertices lie beyond the picture: its edge goes on there.
    ivec2 tiles = textureSize(tile_contents, 0), size = textureSize(depth, 0);
    ivec2 vertex = ivec2(gl_VertexID % (tiles.x + 3), gl_VertexID / (tiles.x + 3)) - 1;
    ivec2 inner = clamp(vertex, ivec2(0), tiles);
    place = vec2(min(inner * tile, size)) + vec2(vertex - inner) * vec2(size);
    vec4 around;
    for (int corner = 0; corner < 4; ++corner) {{
        ivec2 beside = clamp(inner - ivec2(corner & 1, corner >> 1), ivec2(0), tiles - 1);
        around[corner] = texelFetch(tile_contents, beside, 0).r;
    }}
    float front = (1.0 - same_surface) * max(max(around.x, around.y), max(around.z, around.w));
    float w = disparity(min(inner * tile, size - 1));
    if (w < front) {{
        // A nearer surface reaches into a tile around: it takes all of the tile, to keep its silhouette's shape.
        w = 1e30;
        for (int corner = 0; corner < 4; ++corner)
            if (around[corner] >= front) w = min(w, around[corner]);
    }}
    vec4 clip = clip_from_picture * vec4(place, 1.0, w);
    gl_Position = vec4(clip.xy, max(min(clip.z, clip.w), -clip.w), clip.w);  // never clipped for its depth
}}
"""

MESH_FRAGMENT = f"""
#version 330 core
#define DEPTH %d
#define PLACE %d
{DISPARITY}
uniform sampler2D color;
uniform mat4 clip_from_picture;
uniform vec2 planes;  // near, far
in vec2 place;
out vec4 fragment;
void main() {{
    vec2 size = vec2(textureSize(depth, 0));
#if PLACE
    fragment = vec4(place, 0.0, 1.0);
#else
    fragment = vec4(texture(color, place / size).rgb, 1.0);
#endif
#if DEPTH
    float w = disparity(ivec2(clamp(place, vec2(0.0), size - 1.0)));
    float nearness = w / dot(transpose(clip_from_picture)[3], vec4(place, 1.0, w));
    float near = planes.x, far = planes.y;
    gl_FragDepth = clamp(far / (far - near) * (1.0 - near * nearness), 0.0, 1.0);
#endif
}}
"""


class Reprojection:
    """Draws what a :class:`~kilonerf.viewer.drawing.picture.Picture` holds for a camera that it was not made with.

    Only tiles that show something are drawn, the nearest ones last: so no depth buffer is needed for the picture alone.
    """

    def __init__(self, ctx: moderngl.Context, picture: Picture) -> None:
        self._ctx = ctx
        self._picture = picture
        self._reduce = ctx.program(vertex_shader=REDUCE_VERTEX, fragment_shader=REDUCE_FRAGMENT)
        self._triangle = ctx.vertex_array(self._reduce, [])
        self._programs: dict[tuple[bool, bool], moderngl.Program] = {}
        self._meshes: dict[tuple[bool, bool], moderngl.VertexArray] = {}
        self._tile = 0
        self._contents: moderngl.Texture | None = None
        self._contents_target: moderngl.Framebuffer | None = None
        self._indices: moderngl.Buffer | None = None
        self._count = 0  # of indices
        self._probe = ctx.framebuffer([ctx.renderbuffer((1, 1), 4, dtype="f4")], ctx.depth_renderbuffer((1, 1)))

    def prepare(self, scale: float, background: RGB) -> None:
        """Look at the tiles of the picture's newest frame.

        Call it once for each frame, before the first :meth:`draw`.

        Args:
            scale: linear scale that the frame was made at.
            background: its background.
        """
        self._count = 0
        if self._picture.size is None:
            return
        width, height = self._picture.size
        self._tile = max(2, round(TILE_PIXELS * scale))
        tiles = (-(-width // self._tile), -(-height // self._tile))
        if self._contents_target is None or self._contents_target.size != tiles:
            self._contents_target = self._make_mesh(tiles)
        bound = self._ctx.fbo
        self._contents_target.use()
        self._picture.bind(color=1, depth=0)
        for name, value in {"depth": 0, "color": 1, "tile": self._tile, "background": background}.items():
            self._reduce[name] = value
        self._ctx.enable_only(moderngl.NOTHING)
        self._triangle.render(moderngl.TRIANGLES, vertices=3)
        contents = np.frombuffer(self._contents_target.read(components=2, dtype="f4"), np.float32)
        bound.use()
        triangles = _triangles(contents.reshape(tiles[1], tiles[0], 2))
        if self._indices is not None and triangles.size:
            self._indices.write(triangles.tobytes())
            self._count = triangles.size

    def draw(self, source: Camera, displayed: Camera, planes: ClipPlanes, *, depth: bool) -> None:
        """Draw over the viewport of the bound framebuffer, which has been cleared to the background.

        Args:
            source: the camera that the frame was made with.
            displayed: the camera to show it for.
            planes: must be those with which later 3D drawing is projected.
            depth: also fill the depth buffer, from each pixel's own depth, so that 3D drawing meets the scene. It
                costs half as much again on Mesa's llvmpipe. Leaves depth testing off.
        """
        self._draw(source, displayed, planes, (depth, False))

    def source_place(
        self, source: Camera, displayed: Camera, planes: ClipPlanes, u: float, v: float, *, depth: bool
    ) -> tuple[float, float] | None:
        """Where in the picture that is which :meth:`draw` shows at (u, v); both are fractions from the top left.

        None if nothing was drawn there. Found by drawing that one pixel, so it is what the user sees.
        """
        bound = self._ctx.fbo
        x, y = int(u * displayed.width), int((1.0 - v) * displayed.height)
        self._probe.use()
        self._probe.clear(-1.0, -1.0, 0.0, 0.0, depth=1.0)
        self._probe.viewport = (-x, -y, displayed.width, displayed.height)
        self._draw(source, displayed, planes, (depth, True))
        place = np.frombuffer(self._probe.read(components=4, dtype="f4"), np.float32)
        bound.use()
        if self._picture.size is None or place[3] == 0.0:
            return None
        return float(place[0]) / self._picture.size[0], float(place[1]) / self._picture.size[1]

    def release(self) -> None:
        """Free everything on the GPU."""
        self._release_mesh()
        for resource in (*self._programs.values(), self._triangle, self._reduce):
            resource.release()
        for attachment in (*self._probe.color_attachments, self._probe.depth_attachment):
            if attachment is not None:
                attachment.release()
        self._probe.release()

    def _draw(self, source: Camera, displayed: Camera, planes: ClipPlanes, kind: tuple[bool, bool]) -> None:
        if self._contents is None or self._count == 0:
            return
        mesh = self._mesh(kind)
        program = mesh.program
        values = {
            "depth": 0,
            "color": 1,
            "tile_contents": 2,
            "tile": self._tile,
            "same_surface": SAME_SURFACE,
            "clip_from_picture": tuple(clip_from_picture(source, displayed, planes).T.ravel().tolist()),
            "planes": tuple(planes),
        }
        for name, value in values.items():
            if name in program:  # compilers drop what a kind of program has no use for
                program[name] = value
        self._picture.bind(color=1, depth=0)
        self._contents.use(2)
        self._ctx.enable_only(moderngl.DEPTH_TEST if kind[0] else moderngl.NOTHING)
        self._ctx.depth_func = "<="  # background lies at the far plane, where the buffer was cleared to
        mesh.render(moderngl.TRIANGLES, vertices=self._count)
        self._ctx.depth_func = "<"
        self._ctx.enable_only(moderngl.NOTHING)

    def _mesh(self, kind: tuple[bool, bool]) -> moderngl.VertexArray:
        """The mesh with the program of (depth, place instead of colour), compiled when it is first wanted."""
        if kind not in self._programs:
            self._programs[kind] = self._ctx.program(vertex_shader=MESH_VERTEX, fragment_shader=MESH_FRAGMENT % kind)
        if kind not in self._meshes:
            self._meshes[kind] = self._ctx.vertex_array(self._programs[kind], [], index_buffer=self._indices)
        return self._meshes[kind]

    def _make_mesh(self, tiles: tuple[int, int]) -> moderngl.Framebuffer:
        """Everything that depends on the number of tiles; what they hold is drawn into the framebuffer."""
        self._release_mesh()
        self._contents = self._ctx.texture(tiles, 2, dtype="f4")
        self._contents.filter = (moderngl.NEAREST, moderngl.NEAREST)
        self._indices = self._ctx.buffer(reserve=4 * 6 * (tiles[0] + 2) * (tiles[1] + 2), dynamic=True)
        return self._ctx.framebuffer([self._contents])

    def _release_mesh(self) -> None:
        for mesh in self._meshes.values():
            mesh.release()
        self._meshes.clear()
        for resource in (self._contents_target, self._contents, self._indices):
            if resource is not None:
                resource.release()
        self._contents_target = self._contents = self._indices = None


def _triangles(
    contents: NDArray[np.float32],  # [H, W, 2], of each tile: largest disparity, and whether it shows anything
) -> NDArray[np.int32]:
    """Vertex indices [T, 6] of the two triangles of each tile that shows something, the nearest tiles last.

    Vertices are numbered row by row, and there is one more tile on each side, which continues the picture's edge.
    """
    nearest, shows = np.moveaxis(np.pad(contents, ((1, 1), (1, 1), (0, 0)), mode="edge"), -1, 0)
    rows, columns = nearest.shape
    index = np.arange((columns + 1) * (rows + 1), dtype=np.int32).reshape(rows + 1, columns + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.stack([a, b, c, c, b, d], axis=-1)[shows > 0.0]
    return triangles[np.argsort(nearest[shows > 0.0], kind="stable")]
