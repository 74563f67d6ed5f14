"""Composes the crop box: what the panel and the mouse do to it, and what is remembered of it."""

from dataclasses import dataclass

import numpy as np
from imgui_bundle import imgui

from kilonerf.kernels import Crop
from kilonerf.model_io import Camera, Scene
from kilonerf.model_io.scene.box import Box

from .. import theme
from ..camera_path.path_lines import Pen
from ..orientation.camera_markers import projected
from ..orientation.ground import COLORS
from ..orientation.orientation import Orientation
from ..panels import widgets
from ..rectangle import Rectangle
from ..rendering.worker import RenderResult
from ..settings import ViewerSettings
from .handles import HANDLES, Float, Handle, along_axis, corners_of, crop_between, edge_points, handle_places, with_face

RADIUS = 0.42  # font heights: of a handle
REACH = 0.9  # font heights from its middle, in which the mouse has it
PARTS = 12  # of an edge, each as visible as its middle
NEAR = 1e-4  # of the box's diagonal: the nearest that is drawn
EDGE = (0.98, 0.82, 0.35, 0.9)


@dataclass
class _Drag:
    handle: Handle
    before: Crop
    place: Float  # [3], the middle of the face when the drag began
    grabbed: float  # where on its axis the mouse took it


class CropTool:
    """Draws the box, lets its faces be dragged, and shows its numbers.

    Args:
        settings: hold the crop; one that is there already is for the first scene.
        orientation: remembers it for the scene.
    """

    def __init__(self, settings: ViewerSettings, orientation: Orientation) -> None:
        self._crop, self._orientation = settings.crop, orientation
        self._given = settings.crop.box is not None
        self._scene: Scene | None = None
        self._drag: _Drag | None = None
        self._over: Handle | None = None  # has the mouse

    def set_scene(self, scene: Scene) -> None:
        """Another scene is open, and what is remembered of it is known."""
        self._scene, self._drag = scene, None
        if not self._given:
            memory = self._orientation.memory
            self._crop.box, self._crop.on = memory.crop, memory.cropped and memory.crop is not None
        self._given = False

    def draw(self, area: Rectangle, camera: Camera, shown: RenderResult | None) -> None:
        """Draw the box over the picture, and let the mouse drag its faces."""
        crop, scene = self._crop, self._scene
        if scene is None or not crop.on or not crop.handles or crop.box is None:
            self._drag = self._over = None
            return
        self._steer(area, camera, crop.box, scene.levels[-1].box)
        self._paint(area, camera, crop.box, shown)

    def draw_panel(self) -> None:
        """Draw the section "Crop"."""
        if self._scene is None or not widgets.section("Crop", is_open=False):
            return
        crop, before = self._crop, (self._crop.on, self._crop.box)
        crop.on = widgets.switch(
            "Crop##on", crop.on, "Render only what is inside a box: what is outside is not evaluated and costs no time."
        )
        if crop.on and crop.box is None:
            crop.box = Crop.of(self._scene.levels[0].box if self._scene.outer else occupied_box(self._scene))
        imgui.same_line(widgets.LABEL_SHARE * imgui.get_window_width())
        imgui.begin_disabled(not crop.on)
        crop.handles = widgets.switch(
            "Handles", crop.handles, "Show the box, with handles on its faces: drag them. Esc takes a drag back."
        )
        if crop.box is not None:
            crop.box = _numbers(crop.box)
            self._resets(self._scene)
        imgui.end_disabled()
        if before != (crop.on, crop.box):
            self._keep()

    def cancel(self) -> None:
        """Take back the drag that is under way."""
        if self._drag is not None:
            self._crop.box, self._drag = self._drag.before, None

    def _resets(self, scene: Scene) -> None:
        share = 0.5 if scene.outer else 1.0
        if widgets.wide_button("Fit to the scene", "The box around all that may be seen.", share=share):
            self._crop.box = Crop.of(occupied_box(scene))
        if scene.outer:
            imgui.same_line()
            if widgets.wide_button("Innermost box", "The box in the middle, where the scene is finest."):
                self._crop.box = Crop.of(scene.levels[0].box)

    def _keep(self) -> None:
        self._orientation.remember_crop(self._crop.box, on=self._crop.on)

    def _steer(self, area: Rectangle, camera: Camera, box: Crop, limits: Box) -> None:
        """Find the handle under the mouse, and drag the one that it holds."""
        mouse = imgui.get_io().mouse_pos
        u, v = (mouse.x - area.x) / area.width, (mouse.y - area.y) / area.height
        drag = self._drag
        if drag is not None:
            at = along_axis(camera, u, v, drag.place, drag.handle.axis)
            if at is not None:
                moved = float(drag.place[drag.handle.axis]) + at - drag.grabbed
                self._crop.box = box = with_face(box, drag.handle, moved, limits)
        # Not while a panel has the mouse, nor while the camera is dragged across.
        blocked = (imgui.get_io().want_capture_mouse or imgui.is_any_mouse_down()) and self._over is None
        self._over = drag.handle if drag else None if blocked else self._nearest(area, camera, box, u, v)
        if self._over is None:
            return
        place = handle_places(box)[HANDLES.index(self._over)]
        held = self._catch_mouse(projected(camera, area, place)[0][0])
        if held and drag is None and imgui.is_mouse_clicked(0):
            grabbed = along_axis(camera, u, v, place, self._over.axis)
            if grabbed is not None:
                self._drag = _Drag(self._over, box, place, grabbed)
        elif drag is not None and not imgui.is_mouse_down(0):
            self._drag = None
            self._keep()

    @staticmethod
    def _nearest(area: Rectangle, camera: Camera, box: Crop, u: float, v: float) -> Handle | None:
        """The handle that the mouse would take."""
        places = handle_places(box)
        seen, depth = projected(camera, area, places)
        mouse = np.array([area.x + u * area.width, area.y + v * area.height])
        apart = np.linalg.norm(seen - mouse, axis=1)
        apart[depth <= 0.0] = np.inf
        number = int(np.lexsort((depth, apart.round()))[0])
        handle = HANDLES[number]
        near = apart[number] < REACH * imgui.get_font_size() and area.contains(float(mouse[0]), float(mouse[1]))
        return handle if near and along_axis(camera, u, v, places[number], handle.axis) is not None else None

    @staticmethod
    def _catch_mouse(place: Float) -> bool:
        """Keep the mouse from the camera; whether the handle has it."""
        size = 2.0 * REACH * imgui.get_font_size()
        around = Rectangle(float(place[0]) - 0.5 * size, float(place[1]) - 0.5 * size, size, size)
        with widgets.mouse_area("crop handle", around, in_front=True):
            return imgui.is_item_hovered() or imgui.is_item_active()

    def _paint(self, area: Rectangle, camera: Camera, box: Crop, shown: RenderResult | None) -> None:
        box = self._crop.box or box  # as the drag has just made it
        draw_list, em = imgui.get_background_draw_list(), imgui.get_font_size()
        draw_list.push_clip_rect(imgui.ImVec2(area.x, area.y), imgui.ImVec2(area.x + area.width, area.y + area.height))
        diagonal = float(np.linalg.norm(np.diff(corners_of(box), axis=0)))
        edges = edge_points(box, PARTS)
        pen = Pen(draw_list, area, camera, NEAR * diagonal, shown)
        pen.polyline(edges.reshape(-1, 3), EDGE, 1.5, edges.shape[1])
        places, depth = projected(camera, area, handle_places(box))
        for number in np.argsort(-depth).tolist():  # the nearest last
            if depth[number] <= 0.0:
                continue
            handle, over = HANDLES[number], HANDLES[number] == self._over
            middle = imgui.ImVec2(float(places[number, 0]), float(places[number, 1]))
            tint = (*COLORS["XYZ"[handle.axis]], 1.0)
            radius = RADIUS * em * (1.3 if over else 1.0)
            draw_list.add_circle_filled(middle, radius, widgets.color(tint))
            edge = (1.0, 1.0, 1.0, 1.0) if over else (0.0, 0.0, 0.0, 0.6)
            draw_list.add_circle(middle, radius, widgets.color(edge), 0, 1.5)
            if over:
                value = corners_of(box)[int(handle.upper), handle.axis]
                text = f"{handle.name} {value:.3f}" + ("   Esc: back" if self._drag else "")
                corner = imgui.ImVec2(middle.x + 0.9 * em, middle.y - 1.5 * em)
                draw_list.add_text(imgui.ImVec2(corner.x + 1, corner.y + 1), widgets.color((0.0, 0.0, 0.0, 0.8)), text)
                draw_list.add_text(corner, widgets.color(theme.TEXT), text)
        draw_list.pop_clip_rect()


def occupied_box(scene: Scene) -> Box:
    """The box around every voxel in which something may be; the scene's own if there is none."""
    corners = [cells.leaf_boxes(ess=True) for cells in scene.levels]
    low = np.concatenate([low[cells.leaf_occupied] for (low, _), cells in zip(corners, scene.levels, strict=True)])
    high = np.concatenate([high[cells.leaf_occupied] for (_, high), cells in zip(corners, scene.levels, strict=True)])
    if not len(low):
        return scene.levels[-1].box
    return Box(low.min(axis=0).astype(np.float32), high.max(axis=0).astype(np.float32))


def _numbers(box: Crop) -> Crop:
    """Both corners, as numbers that can be typed; the box that they make."""
    corners = corners_of(box)
    for row, (text, what) in enumerate((("From", "least"), ("To", "largest"))):
        tooltip = f"The corner with the {what} coordinates: x, y, z."
        widgets.label(text, tooltip)
        flags = imgui.InputTextFlags_.enter_returns_true.value
        changed, typed = imgui.input_float3(f"##crop {text}", corners[row].tolist(), "%.3f", flags)
        widgets.tip(tooltip)
        new = np.array([float(number) for number in typed], np.float64)
        if changed:
            same = np.float32(corners[row]) == np.float32(new)  # ImGui keeps float32: the rest stays exact
            corners[row] = np.where(same, corners[row], new)
    try:
        return crop_between(corners)
    except ValueError:  # a corner beyond the other one
        return box
