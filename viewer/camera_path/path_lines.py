"""The path and its key cameras drawn over the scene, dimmed where the scene hides them."""

import math

import numpy as np
from imgui_bundle import imgui
from numpy.typing import NDArray

from kilonerf.model_io import Camera, CameraPath

from .. import theme
from ..panels.widgets import color
from ..rectangle import Rectangle
from ..rendering.worker import RenderResult

Float = NDArray[np.float64]

POINTS = 240  # of the curve
HIDDEN = 0.22  # opacity of what the scene hides
NEAR = 1e-3  # of the scene's radius: the nearest that is drawn
SOLID_ALPHA = 0.5  # pixels less opaque than this hide nothing
BEHIND = 1.02  # of the scene's depth: what is farther is hidden
TOO_NEAR = 2.5  # sizes of a frustum: nearer to the eye, it would only be in the way
FRUSTUM_SHARE = 0.08  # of the scene's radius


class PathLines:
    """Keeps the points of the newest path."""

    def __init__(self) -> None:
        self._path: CameraPath | None = None
        self._points: Float = np.zeros((0, 3))

    def draw(
        self,
        area: Rectangle,
        camera: Camera,
        path: CameraPath,
        selected: int | None,
        now: Camera | None,
        radius: float,
        shown: RenderResult | None,
    ) -> None:
        """Draw over the picture.

        Args:
            area: where the picture is.
            camera: whose view the window shows.
            path: what to draw.
            selected: the key in the accent colour.
            now: the camera at the playhead; None: not drawn.
            radius: of the scene, for the size of the frusta.
            shown: the picture, for its depth.
        """
        if path is not self._path:
            self._path = path
            times = np.linspace(path.start, path.start + path.duration, POINTS) if path.duration else [path.start]
            self._points = path.poses(times).positions
        draw_list = imgui.get_background_draw_list()
        draw_list.push_clip_rect(imgui.ImVec2(area.x, area.y), imgui.ImVec2(area.x + area.width, area.y + area.height))
        pen = Pen(draw_list, area, camera, NEAR * radius, shown)
        pen.polyline(self._points, theme.ACCENT, 2.0)
        size = _frustum_size(path, radius)
        shown_keys = [
            i for i, key in enumerate(path.keyframes) if _distance(camera, np.array(key.c2w)) >= TOO_NEAR * size
        ]  # without the one that one looks through
        for chosen, tint in ((False, theme.ACCENT), (True, theme.SELECTED)):
            some = [i for i in shown_keys if (i == selected) == chosen]
            frusta = [_frustum(np.array(path.keyframes[i].c2w), path.keyframes[i].fov_y, size) for i in some]
            pen.figures(frusta, tint, [f"{i + 1}" for i in some])
        if now is not None and _distance(camera, now.matrix) >= TOO_NEAR * size:
            pen.figures([_frustum(now.matrix, now.fov_y, 0.8 * size)], theme.RECORDING, [""])
        draw_list.pop_clip_rect()


def _frustum_size(path: CameraPath, radius: float) -> float:
    """How deep the frusta are: small against the scene, and against the gaps between keys."""
    positions = np.array([key.c2w for key in path.keyframes])[:, :3, 3]
    gaps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    gaps = gaps[gaps > 1e-6 * radius]
    size = FRUSTUM_SHARE * radius
    return min(size, 0.35 * float(np.median(gaps))) if len(gaps) else size


def _distance(camera: Camera, c2w: Float) -> float:
    return float(np.linalg.norm(camera.position - c2w[:3, 3]))


def _frustum(c2w: Float, fov_y: float, size: float) -> Float:
    """A small pyramid with a peak on its upper side, as one line, [12, 3]; its 6th point is the eye."""
    half = size * math.tan(0.5 * min(fov_y, 1.6))
    wide = 1.5 * half
    eye, peak = (0.0, 0.0, 0.0), (0.0, 1.5 * half, -size)
    a, b, c, d = (-wide, half, -size), (wide, half, -size), (wide, -half, -size), (-wide, -half, -size)
    line = np.array([a, b, c, d, a, eye, b, peak, a, d, eye, c])
    return c2w[:3, 3] + line @ c2w[:3, :3].T


class Pen:
    """Lines between world points, as one camera sees them."""

    def __init__(
        self, draw_list: imgui.ImDrawList, area: Rectangle, camera: Camera, near: float, shown: RenderResult | None
    ) -> None:
        self._list, self._area, self._camera, self._near = draw_list, area, camera, near
        frame = None if shown is None or shown.frame is None or shown.frame.resident is not None else shown.frame
        self._depth = None if frame is None or shown is None else (shown.request.camera, frame.depth, frame.alpha)

    def polyline(self, points: Float, tint: theme.RGBA, thickness: float, part: int = 0) -> None:
        """Lines from point to point of [N, 3], each as visible as its middle; not between parts of ``part`` points."""
        if len(points) < 2:
            return
        hidden = self.hidden(0.5 * (points[:-1] + points[1:])).tolist()
        opaque, faint = color(tint), color(theme.with_alpha(tint, HIDDEN))
        dark, shade = color((0.0, 0.0, 0.0, 0.35)), color((0.0, 0.0, 0.0, 0.08))
        ends = [end for end in self.ends(points) if not part or (end[0] + 1) % part]
        for edge in (True, False):  # a dark edge first: visible on bright and dark scenes alike
            for i, a, b in ends:
                tone = (shade if hidden[i] else dark) if edge else (faint if hidden[i] else opaque)
                self._list.add_line(a, b, tone, thickness + (1.8 if edge else 0.0))

    def figures(self, frusta: list[Float], tint: theme.RGBA, names: list[str]) -> None:
        """Small cameras, as :func:`_frustum` makes them, with their names."""
        if not frusta:
            return
        self.polyline(np.concatenate(frusta), tint, 1.5, len(frusta[0]))
        em = imgui.get_font_size()
        for name, place in zip(names, self._place(np.array([frustum[5] for frustum in frusta])), strict=True):
            if name and place is not None:
                place = imgui.ImVec2(place.x + 0.4 * em, place.y - 1.1 * em)
                self._list.add_text(imgui.ImVec2(place.x + 1.0, place.y + 1.0), color((0.0, 0.0, 0.0, 0.6)), name)
                self._list.add_text(place, color(tint), name)

    def _view(self, camera: Camera, points: Float) -> tuple[Float, Float, Float]:
        """Picture coordinates as shares of its size, and z-depth, each [N]."""
        local = (points - camera.position) @ camera.matrix[:3, :3]
        depth = -local[:, 2]
        safe = np.where(np.abs(depth) < 1e-12, 1e-12, depth)
        u = (camera.cx + camera.fx * local[:, 0] / safe) / camera.width
        v = (camera.cy - camera.fy * local[:, 1] / safe) / camera.height
        return u, v, depth

    def _place(self, points: Float) -> list[imgui.ImVec2 | None]:
        u, v, depth = self._view(self._camera, points)
        area = self._area
        xs, ys = (area.x + area.width * u).tolist(), (area.y + area.height * v).tolist()
        seen = (depth > self._near).tolist()
        return [imgui.ImVec2(x, y) if visible else None for x, y, visible in zip(xs, ys, seen, strict=True)]

    def ends(self, points: Float) -> "list[tuple[int, imgui.ImVec2, imgui.ImVec2]]":
        """Ends of the lines that are in front of the camera, cut off at its near plane."""
        depth = self._view(self._camera, points)[2]
        found: list[tuple[int, imgui.ImVec2, imgui.ImVec2]] = []
        places = self._place(points)
        for i in range(len(points) - 1):
            a, b = places[i], places[i + 1]
            if a is None and b is None:
                continue
            if a is None or b is None:
                share = (1.001 * self._near - depth[i]) / (depth[i + 1] - depth[i])
                cut = self._place((points[i] + share * (points[i + 1] - points[i]))[None])[0]
                a, b = a or cut, b or cut
            if a is not None and b is not None:
                found.append((i, a, b))
        return found

    def hidden(self, points: Float) -> NDArray[np.bool_]:
        """Which points [N, 3] are behind what the picture shows."""
        if self._depth is None:
            return np.zeros(len(points), np.bool_)
        camera, depth, alpha = self._depth
        u, v, far = self._view(camera, points)
        height, width = depth.shape
        inside = (u >= 0.0) & (u < 1.0) & (v >= 0.0) & (v < 1.0) & (far > 0.0)
        column = np.where(inside, u * width, 0.0).astype(np.intp)
        row = np.where(inside, v * height, 0.0).astype(np.intp)
        return inside & (alpha[row, column] > SOLID_ALPHA) & (far > BEHIND * depth[row, column])
