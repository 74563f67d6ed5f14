"""The scale of the false colours in a corner of the picture, and the value under the mouse."""

import itertools

import numpy as np
from imgui_bundle import imgui

from kilonerf.kernels.options import RGB
from kilonerf.model_io import Camera

from .. import theme
from ..panels import widgets
from ..rectangle import Rectangle
from ..rendering.heat_maps import SCALE, HeatMap, Range, shown_range, value_text
from ..rendering.worker import RenderResult

WIDTH = 14.0  # font heights
TITLES: dict[HeatMap, str] = {
    "depth": "Depth, scene units",
    "alpha": "Opacity",
    "samples": "Samples per ray",
    "lookups": "Occupancy voxels looked up per ray",
}
GREYS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Legend:
    """Drawn over the picture while it has false colours."""

    def __init__(self) -> None:
        self._of: RenderResult | None = None
        self.range: Range | None = None  # of the newest picture

    def draw(self, area: Rectangle, shown: RenderResult | None, camera: Camera) -> None:
        """Draw it.

        Args:
            area: where the picture is.
            shown: the picture on the screen.
            camera: for which it is shown.
        """
        if shown is None or shown.frame is None or shown.request.shot.heat_map == "off":
            return
        shot = shown.request.shot
        if shown is not self._of:
            self._of, self.range = shown, shown_range(shown.frame, shot.heat_map, shot.heat_scale)
        value = self._value(area, shown, camera)
        if value:
            _pill(value)
        if self.range is None:
            return
        colors = GREYS if shot.heat_map == "alpha" else SCALE
        colors = tuple(reversed(colors)) if shot.heat_map == "depth" else colors  # what is near is bright
        low, middle, high = (_shown(end, shot.heat_map) for end in _ticks(self.range, shot.heat_map))
        draw_scale(area, TITLES[shot.heat_map], (low, middle, high), colors)

    @staticmethod
    def _value(area: Rectangle, shown: RenderResult, camera: Camera) -> str:
        """What is under the mouse, if the picture is of this very view."""
        io, request, frame = imgui.get_io(), shown.request, shown.frame
        x, y = (io.mouse_pos.x - area.x) / area.width, (io.mouse_pos.y - area.y) / area.height
        inside = 0.0 <= x < 1.0 and 0.0 <= y < 1.0 and not io.want_capture_mouse
        if not inside or frame is None or camera != request.shot.camera:
            return ""
        width, height = frame.size
        return value_text(frame, request.shot.heat_map, int(x * width), int(y * height), request.camera)


def draw_scale(
    area: Rectangle,
    title: str,
    ticks: tuple[str, str, str],
    colors: tuple[RGB, ...] = SCALE,
    *,
    right: bool = False,
) -> None:
    """A scale of colours in a lower corner of the picture, with what its ends and its middle stand for."""
    em = imgui.get_font_size()
    width, height = min(WIDTH * em, area.width - 2.0 * em), 4.1 * em
    if width < 6.0 * em or area.height < 2.0 * height:
        return
    left, top = area.x + 0.7 * em, area.y + area.height - height - 0.7 * em
    if right:
        left = area.x + area.width - width - 0.7 * em
    draw_list = imgui.get_background_draw_list()
    back = widgets.color(theme.with_alpha(theme.SURFACE, 0.85))
    draw_list.add_rect_filled(imgui.ImVec2(left, top), imgui.ImVec2(left + width, top + height), back, 6.0)
    start, end = left + 0.6 * em, left + width - 0.6 * em
    draw_list.add_text(imgui.ImVec2(start, top + 0.3 * em), widgets.color(theme.TEXT), title)
    part = (end - start) / (len(colors) - 1)
    for index, (one, other) in enumerate(itertools.pairwise(widgets.color((*rgb, 1.0)) for rgb in colors)):
        draw_list.add_rect_filled_multi_color(
            imgui.ImVec2(start + index * part, top + 1.75 * em),
            imgui.ImVec2(start + (index + 1) * part, top + 2.4 * em),
            *(one, other, other, one),
        )
    for label, share in zip(ticks, (0.0, 0.5, 1.0), strict=True):
        x = start + share * (end - start - imgui.calc_text_size(label).x)
        draw_list.add_text(imgui.ImVec2(x, top + 2.6 * em), widgets.color(theme.DIM), label)


def _ticks(ends: Range, heat_map: HeatMap) -> tuple[float, float, float]:
    """Values at both ends and in the middle: depth is even in 1 / depth, counts are logarithmic."""
    low, high = ends
    if heat_map == "alpha":
        return low, 0.5 * (low + high), high
    if heat_map == "depth":
        return low, 2.0 / (1.0 / max(low, 1e-9) + 1.0 / max(high, 1e-9)), high
    return low, float(np.sqrt(low * high)), high


def _shown(value: float, heat_map: HeatMap) -> str:
    return f"{value:.0f}" if heat_map in ("samples", "lookups") else f"{value:.3g}"


def _pill(text: str) -> None:
    """Beside the mouse."""
    em, mouse, draw_list = imgui.get_font_size(), imgui.get_io().mouse_pos, imgui.get_background_draw_list()
    extent = imgui.calc_text_size(text)
    display = imgui.get_io().display_size
    x = min(mouse.x + 1.0 * em, display.x - extent.x - 1.2 * em)
    low = imgui.ImVec2(x, mouse.y + 0.9 * em)
    high = imgui.ImVec2(low.x + extent.x + 0.9 * em, low.y + 1.5 * em)
    draw_list.add_rect_filled(low, high, widgets.color(theme.with_alpha(theme.SURFACE, 0.9)), 0.7 * em)
    place = imgui.ImVec2(low.x + 0.45 * em, low.y + 0.5 * (1.5 * em - extent.y))
    draw_list.add_text(place, widgets.color(theme.TEXT), text)
