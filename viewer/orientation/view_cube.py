"""A small cube in the corner of the picture that turns with the camera; a click on a face looks along that axis."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from imgui_bundle import imgui
from numpy.typing import NDArray

from .. import theme
from ..camera.navigator import Navigator
from ..panels import widgets
from ..rectangle import Rectangle

SIZE = 5.2  # font heights
LARGEST_SHARE = 0.25  # of the picture's smaller side
SMALLEST = 40.0  # ImGui's units: below, there is none
CUBE = 0.27  # half of its edge as a share of the size: its corners stay inside
PERSPECTIVE = 0.16
DRAG = 1.0 / 300.0  # heights of a picture per unit
FACES: tuple[tuple[str, tuple[float, float, float]], ...] = (
    ("X", (1.0, 0.0, 0.0)),
    ("-X", (-1.0, 0.0, 0.0)),
    ("Y", (0.0, 1.0, 0.0)),
    ("-Y", (0.0, -1.0, 0.0)),
    ("Top", (0.0, 0.0, 1.0)),
    ("Bottom", (0.0, 0.0, -1.0)),
)
"""Names, and outward normals in the space whose z is up."""
COLORS = {"X": (0.93, 0.36, 0.36), "Y": (0.45, 0.78, 0.36), "Z": (0.36, 0.60, 0.98)}
"""Of the axes, here and in the scene."""
AXES_ORIGIN = np.array([-1.0, -1.0, -1.0])


@dataclass(frozen=True, eq=False)
class Face:
    """A face as it is seen.

    Attributes:
        name: of :data:`FACES`.
        normal: outward, [3], in the space whose z is up.
        corners: [4, 2], offsets from the middle in shares of the size, y downwards.
        facing: how much it is turned to the viewer, 0..1.
    """

    name: str
    normal: NDArray[np.float64]
    corners: NDArray[np.float64]
    facing: float

    def contains(self, x: float, y: float) -> bool:
        """Whether a point, in shares of the size, lies on it."""
        edges = np.roll(self.corners, -1, axis=0) - self.corners
        to = np.array([x, y]) - self.corners
        crosses = edges[:, 0] * to[:, 1] - edges[:, 1] * to[:, 0]
        return bool((crosses >= 0.0).all() or (crosses <= 0.0).all())


def visible_faces(rotation: NDArray[np.float64]) -> list[Face]:
    """The faces that a camera sees whose rotation is [3, 3], in the space whose z is up; the most hidden first."""
    found: list[Face] = []
    for name, outward in FACES:
        normal = np.array(outward)
        first, second = np.roll(normal, 1), np.roll(normal, 2)
        square = [normal + a * first + b * second for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        seen = np.array(square) @ rotation  # right, up, towards the viewer
        shrink = 1.0 / (1.0 - PERSPECTIVE * seen[:, 2])
        corners = CUBE * seen[:, :2] * shrink[:, None] * (1.0, -1.0)
        middle = normal @ rotation
        eye = np.array([0.0, 0.0, 1.0 / PERSPECTIVE])
        facing = float(middle @ (eye - middle) / np.linalg.norm(eye - middle))
        if facing > 0.02:
            found.append(Face(name, normal, corners, facing))
    return sorted(found, key=lambda face: face.facing)


class ViewCube:
    """Draws it, and turns the camera."""

    def __init__(self, navigator: Navigator) -> None:
        self._navigator = navigator

    def draw(self, area: Rectangle) -> None:
        """Draw it in the top right corner of the picture."""
        em = imgui.get_font_size()
        size = min(SIZE * em, LARGEST_SHARE * min(area.width, area.height))
        if size < SMALLEST:
            return
        left, top = area.x + area.width - size - 0.4 * em, area.y + 0.4 * em
        with widgets.mouse_area("view cube", Rectangle(left, top, size, size)):
            self._steer(imgui.ImVec2(left + 0.5 * size, top + 0.5 * size), size)

    def _steer(self, middle: imgui.ImVec2, size: float) -> None:
        io, navigator = imgui.get_io(), self._navigator
        rotation = navigator.world_from_level.T @ navigator.matrix()[:3, :3]
        faces = visible_faces(rotation)
        over = imgui.is_item_hovered()
        x, y = (io.mouse_pos.x - middle.x) / size, (io.mouse_pos.y - middle.y) / size
        hit = next((face for face in reversed(faces) if over and face.contains(x, y)), None)
        self._paint(middle, size, faces, hit, rotation)
        if imgui.is_item_active() and imgui.is_mouse_dragging(0):
            navigator.drag(io.mouse_delta.x * DRAG, io.mouse_delta.y * DRAG)
        elif hit is not None and imgui.is_mouse_released(0) and not _was_dragged(io):
            navigator.look_along(-(navigator.world_from_level @ hit.normal))
        elif hit is not None:
            imgui.set_tooltip(f"Click: look at {hit.name}. Drag: turn.")

    @staticmethod
    def _paint(
        middle: imgui.ImVec2, size: float, faces: list[Face], hit: Face | None, rotation: NDArray[np.float64]
    ) -> None:
        draw_list, em = imgui.get_window_draw_list(), imgui.get_font_size()

        def place(point: NDArray[np.float64]) -> imgui.ImVec2:
            return imgui.ImVec2(middle.x + size * float(point[0]), middle.y + size * float(point[1]))

        in_front = float(AXES_ORIGIN @ rotation[:, 2]) > 0.0
        if not in_front:
            _paint_axes(draw_list, place, rotation, 0.11 * em)
        for face in faces:
            points: list[imgui.ImVec2Like] = [place(corner) for corner in face.corners]
            shade = 0.55 + 0.45 * face.facing
            fill = theme.with_alpha(theme.HOVERED if face is not hit else theme.ACCENT, 0.55 + 0.35 * face.facing)
            draw_list.add_convex_poly_filled(points, widgets.color(fill))
            for one, other in itertools.pairwise([*points, points[0]]):
                draw_list.add_line(one, other, widgets.color(theme.with_alpha(theme.TEXT, 0.35)), 1.0)
            if face.facing > 0.35:
                font = min(0.8 * em, 0.17 * size)
                extent = imgui.calc_text_size(face.name)
                centre = place(face.corners.mean(axis=0))
                scale = font / em
                text = imgui.ImVec2(centre.x - 0.5 * scale * extent.x, centre.y - 0.5 * scale * extent.y)
                draw_list.add_text(
                    imgui.get_font(), font, text, widgets.color(theme.with_alpha(theme.TEXT, shade)), face.name
                )


def _was_dragged(io: imgui.IO) -> bool:
    return io.mouse_drag_max_distance_sqr[0] > io.mouse_drag_threshold**2


def _paint_axes(
    draw_list: imgui.ImDrawList,
    place: Callable[[NDArray[np.float64]], imgui.ImVec2],
    rotation: NDArray[np.float64],
    thickness: float,
) -> None:
    """The three axes from the cube's corner of least coordinates."""
    for axis, name in enumerate("XYZ"):
        end = AXES_ORIGIN.copy()
        end[axis] = 1.45
        ends = np.array([AXES_ORIGIN, end]) @ rotation
        flat = 1.06 * CUBE * ends[:, :2] / (1.0 - PERSPECTIVE * ends[:, 2:]) * (1.0, -1.0)
        color = widgets.color(theme.with_alpha((*COLORS[name], 1.0), 0.95))
        draw_list.add_line(place(flat[0]), place(flat[1]), color, thickness)
