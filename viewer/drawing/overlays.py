"""Scene box, network grid and occupancy grid, drawn as lines in 3D over the picture."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

import moderngl
import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera, Scene
from kilonerf.model_io.scene.cells import Cells

from .occupancy_lines import MAX_CELLS_ON_AXIS, TooManyLinesError, grid_lines, merge_voxels
from .projection import ClipPlanes, projection_matrix, view_matrix
from .ribbon import RIBBON

VERTEX = (
    RIBBON
    + """
uniform mat4 clip_from_corner;
uniform float near;
uniform vec3 last_corner; // merged voxels may stick out of the box: they end there
in uvec3 begin;
in uvec3 end;
void main() {
    vec4 a = clip_from_corner * vec4(min(vec3(begin), last_corner), 1.0);
    vec4 b = clip_from_corner * vec4(min(vec3(end), last_corner), 1.0);
    vec4 clip = ribbon(a, b, near);
    gl_Position = vec4(clip.xy, max(clip.z, -clip.w), clip.w);  // lifted over the near plane: still drawn
}
"""
)

FRAGMENT = """
#version 330 core
uniform vec4 color;
uniform float half_width;
noperspective in float distance;
out vec4 fragment;
void main() {
    fragment = vec4(color.rgb, color.a * clamp(half_width + 0.5 - abs(distance), 0.0, 1.0));
}
"""

LIFT = 1e-3
"""Share of its z-depth by which a line is drawn nearer, so that it does not fight with the surface it lies on."""

MAX_LINES = 4_000_000
"""More lines (48 MB) are never drawn: a giant grid is shown at the finest coarser level that keeps to it."""


OPEN_CELL_PIXELS = 10.0  # cells of at least this size are drawn at full opacity
MIN_FADE = 0.25


@dataclass(frozen=True)
class OverlayOptions:
    """What to lay over the picture.

    Attributes:
        box: the scene's box.
        network_grid: the cells that have a network.
        occupancy_grid: the outer faces of occupied voxels.
        occupancy_level: voxels merged by 2**level on each axis, occupied if any of them is; 0 is the full grid.
        opacity: of all lines, 0..1.
        axes: x, y and z of the world.
        ground: a grid on the floor.
        cameras: where photos were taken from.
    """

    box: bool = False
    network_grid: bool = False
    occupancy_grid: bool = False
    occupancy_level: int = 0
    opacity: float = 0.8
    axes: bool = False
    ground: bool = False
    cameras: bool = False

    @property
    def guides(self) -> bool:
        """Whether lines are wanted that are not the scene's own."""
        return self.axes or self.ground or self.cameras

    @property
    def visible(self) -> bool:
        """Whether any lines are wanted."""
        return self.box or self.network_grid or self.occupancy_grid or self.guides


@dataclass(frozen=True)
class _Style:
    color: tuple[float, float, float]
    opacity: float
    half_width: float  # pixels
    hidden_share: float  # of the opacity, where the scene is in front


BOX = _Style((0.95, 0.55, 0.10), 1.0, 0.9, 0.25)
NETWORK_GRID = _Style((0.10, 0.45, 0.95), 0.9, 0.6, 0.0)
OCCUPANCY_GRID = _Style((0.05, 0.60, 0.35), 0.8, 0.35, 0.0)


NESTED_SHADE = 0.7
"""How much darker each level of nested boxes is drawn than the one inside it."""

_Key = tuple[str, int, int]  # kind of lines, how much coarser than the grid, which of the nested boxes
_Computed = tuple[NDArray[np.uint16], int]  # lines [L, 2, 3] and the level they are of


@dataclass
class _Lines:
    """Lines on the GPU, and the grid their corner indices count in."""

    buffer: moderngl.Buffer | None
    vertex_array: moderngl.VertexArray | None
    count: int
    world_from_corner: NDArray[np.float64]  # [4, 4]
    last_corner: NDArray[np.float64]  # [3]


class Overlays:
    """Draws the overlays of one scene.

    The lines of a grid are computed when they are first wanted, in a background thread; until they are
    there, nothing of that grid is drawn (:attr:`busy`). They are kept for each level until the scene changes.
    """

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._program = ctx.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="overlay-lines")
        self._scene: Scene | None = None
        self._pending: dict[_Key, Future[_Computed]] = {}
        self._ready: dict[_Key, _Lines] = {}

    @property
    def busy(self) -> bool:
        """Whether lines that were asked for are still being computed: draw again soon."""
        return bool(self._pending)

    def set_scene(self, scene: Scene | None) -> None:
        """Draw the grids of ``scene`` from now on; None: nothing."""
        for lines in self._ready.values():
            _release(lines)
        for future in self._pending.values():
            future.cancel()
        self._ready.clear()
        self._pending.clear()
        self._scene = scene

    def prepare(self, options: OverlayOptions) -> None:
        """Compute what ``options`` wants now, and wait for it (for screenshots)."""
        for key in self._wanted(options):
            self._lines(key, wait=True)

    def draw(self, camera: Camera, planes: ClipPlanes, options: OverlayOptions) -> None:
        """Draw over the bound framebuffer's viewport, tested against the depth that :class:`Picture` wrote.

        Pass the camera that the picture is shown for (at any size), so that lines and picture agree even while the
        next frame is on its way. Leaves depth testing and blending off.
        """
        if self._scene is None or camera.width == 0 or camera.height == 0:
            return
        styles = {"box": BOX, "network": NETWORK_GRID, "occupancy": OCCUPANCY_GRID}
        for kind, coarser, box in self._wanted(options):
            lines = self._lines((kind, coarser, box), wait=False)
            if lines is not None:
                self._draw_lines(lines, _shaded(styles[kind], box), camera, planes, options.opacity)

    def release(self) -> None:
        """Free everything on the GPU and end the thread."""
        self.set_scene(None)
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._program.release()

    def _wanted(self, options: OverlayOptions) -> list[_Key]:
        if self._scene is None:
            return []
        wanted = []
        if options.occupancy_grid:
            wanted.append(("occupancy", max(0, options.occupancy_level)))
        if options.network_grid:
            wanted.append(("network", 0))
        if options.box:
            wanted.append(("box", 0))
        return [(kind, coarser, box) for kind, coarser in wanted for box in range(len(self._scene.levels))]

    def _lines(self, key: _Key, *, wait: bool) -> _Lines | None:
        """The lines if they are there; else they are being computed when this returns."""
        if key in self._ready or self._scene is None:
            return self._ready.get(key)
        kind, coarser, box = key
        cells = self._scene.levels[box]
        if key not in self._pending:
            self._pending[key] = self._executor.submit(_compute, cells, kind, coarser)
        future = self._pending[key]
        if not wait and not future.done():
            return None
        del self._pending[key]
        lines = self._upload(cells, kind, *future.result())
        self._ready[key] = lines
        return lines

    def _upload(self, grid: Cells, kind: str, ends: NDArray[np.uint16], level: int) -> _Lines:
        cells = {"box": (1, 1, 1), "network": grid.resolution, "occupancy": grid.occupancy.shape}[kind]
        merged = 2.0**level if kind == "occupancy" else 1.0
        last_corner = np.asarray(cells, np.float64) / merged
        world_from_corner = np.eye(4)
        world_from_corner[:3, :3] = np.diag((grid.box.max - grid.box.min) / last_corner)
        world_from_corner[:3, 3] = grid.box.min
        if len(ends) == 0:
            return _Lines(None, None, 0, world_from_corner, last_corner)
        buffer = self._ctx.buffer(np.ascontiguousarray(ends).tobytes())
        vertex_array = self._ctx.vertex_array(self._program, [(buffer, "3u2 3u2 /i", "begin", "end")])
        return _Lines(buffer, vertex_array, len(ends), world_from_corner, last_corner)

    def _draw_lines(self, lines: _Lines, style: _Style, camera: Camera, planes: ClipPlanes, opacity: float) -> None:
        if lines.vertex_array is None:
            return
        ctx, program = self._ctx, self._program
        viewport = ctx.viewport
        opacity *= style.opacity * _density_fade(camera, lines, viewport[3])
        clip_from_corner = _lifted_projection(camera, planes) @ view_matrix(camera) @ lines.world_from_corner
        program["clip_from_corner"] = tuple(clip_from_corner.T.ravel().tolist())  # column after column
        program["near"] = planes.near
        program["viewport"] = (float(viewport[2]), float(viewport[3]))
        program["last_corner"] = tuple(lines.last_corner.tolist())
        program["half_width"] = style.half_width
        framebuffer = ctx.fbo
        ctx.enable_only(moderngl.DEPTH_TEST | moderngl.BLEND)
        ctx.blend_func = (
            *(moderngl.SRC_ALPHA, moderngl.ONE_MINUS_SRC_ALPHA),
            *(moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA),
        )  # pyright: ignore[reportAttributeAccessIssue] - four are allowed, the stub knows only two
        framebuffer.depth_mask = False  # a ribbon's soft border must not hide the next line
        for depth_func, share in (("<=", 1.0), (">", style.hidden_share)):
            if share > 0.0:
                ctx.depth_func = depth_func
                program["color"] = (*style.color, opacity * share)
                lines.vertex_array.render(moderngl.TRIANGLE_STRIP, vertices=4, instances=lines.count)
        framebuffer.depth_mask = True
        ctx.depth_func = "<"
        ctx.enable_only(moderngl.NOTHING)


def _lifted_projection(camera: Camera, planes: ClipPlanes) -> NDArray[np.float64]:
    """The projection [4, 4] with every depth-buffer value as if at ``t * (1 - LIFT)``, pixels unchanged.

    Clip z is ``a * t + b`` and is divided by t; ``b / (1 - LIFT)`` in b's place gives the value of the nearer depth.
    """
    matrix = projection_matrix(camera, *planes)
    matrix[2, 3] /= 1.0 - LIFT
    return matrix


def _density_fade(camera: Camera, lines: _Lines, viewport_height: int) -> float:
    """Opacity factor that lets the picture show through a grid whose cells are only a few pixels large."""
    middle = lines.world_from_corner @ (*(0.5 * lines.last_corner), 1.0)
    depth = -float((middle[:3] - camera.position) @ camera.matrix[:3, 2])
    cell = float(np.diag(lines.world_from_corner)[:3].max())
    pixels = cell * camera.fy / camera.height * viewport_height / max(depth, cell)
    return min(1.0, max(MIN_FADE, pixels / OPEN_CELL_PIXELS))


def _shaded(style: _Style, box: int) -> _Style:
    red, green, blue = (channel * NESTED_SHADE**box for channel in style.color)
    return replace(style, color=(red, green, blue))


def _compute(grid: Cells, kind: str, level: int) -> _Computed:
    """The lines of one grid; the level is the next coarser one that keeps to ``MAX_LINES``."""
    if kind == "box":
        return grid_lines(np.ones((1, 1, 1), np.bool_)), 0
    if kind == "network":
        return grid_lines(grid.network_index >= 0, exposed_only=False), 0
    while True:
        cells = merge_voxels(grid.occupancy, level)
        if max(cells.shape) <= MAX_CELLS_ON_AXIS:
            with suppress(TooManyLinesError):
                return grid_lines(cells, max_lines=MAX_LINES), level
        level += 1


def _release(lines: _Lines) -> None:
    for resource in (lines.vertex_array, lines.buffer):
        if resource is not None:
            resource.release()
