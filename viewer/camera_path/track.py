"""The timeline's track: a ruler, the keys as diamonds, the playhead; keys and playhead are dragged with the mouse."""

import math

from imgui_bundle import imgui

from .. import theme
from ..panels.widgets import color
from ..rectangle import Rectangle
from .editor import PathEditor

HEIGHT = 2.9  # font heights
REACH = 0.6  # font heights: so far from its middle a key is caught
KEY = 0.42  # font heights, half a diagonal
STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0)
EMPTY_SECONDS = 10.0  # what the ruler shows before there is a path
SPARE = 1.06  # of the path's duration is shown: room to drag the last key to the right


class Track:
    """Draws the path of an editor over time, and edits it by drags.

    Attributes:
        sought: whether the user moved the playhead in this frame.
        opened: whether a key was double-clicked in this frame.
        area: where it was drawn.
    """

    def __init__(self, editor: PathEditor) -> None:
        self._editor = editor
        self._dragged: int | None = None  # a key; -1 is the playhead
        self._moved = False
        self._scale = (0.0, 1.0)  # left edge, pixels of a second: fixed while something is dragged
        self.sought = False
        self.opened = False
        self.area = Rectangle(0.0, 0.0, 1.0, 1.0)

    @property
    def dragging(self) -> bool:
        """Whether a key or the playhead is being dragged."""
        return self._dragged is not None

    def draw(self) -> None:
        """Draw it over the whole width that is left, and take the mouse."""
        em = imgui.get_font_size()
        corner, width = imgui.get_cursor_screen_pos(), max(4.0 * em, imgui.get_content_region_avail().x)
        area = self.area = Rectangle(corner.x, corner.y, width, HEIGHT * em)
        imgui.invisible_button("##track", imgui.ImVec2(area.width, area.height))
        if self._dragged is None:
            shown = SPARE * self._editor.duration or EMPTY_SECONDS
            self._scale = (area.x + em, (area.width - 2.0 * em) / shown)
        self.sought = self.opened = False
        self._mouse()
        self._draw_ruler(area)
        self._draw_keys(area)
        self._draw_playhead(area)

    def x_of(self, seconds: float) -> float:
        """Where a moment is on the screen."""
        return self._scale[0] + seconds * self._scale[1]

    def _mouse(self) -> None:
        editor, mouse = self._editor, imgui.get_io().mouse_pos
        if imgui.is_item_activated() and editor.path is not None:
            key = self._key_near(mouse.x)
            self._dragged, self._moved = -1 if key is None else key, False
            editor.playing = False
            if key is not None:
                editor.select(key)
                self.sought = True
                self.opened = imgui.is_mouse_double_clicked(0)
                editor.begin_gesture()
        if self._dragged is None:
            return
        if not imgui.is_item_active() or editor.path is None:
            self._dragged = None
            editor.end_gesture()
            return
        seconds = (mouse.x - self._scale[0]) / self._scale[1]
        if self._dragged == -1:
            self._seek(seconds)
        elif self._moved or imgui.is_mouse_dragging(0):
            self._moved = True
            editor.selected = self._dragged
            editor.move(_on_grid(seconds, self._scale[1]))
            self.sought = True

    def _seek(self, seconds: float) -> None:
        seconds = max(0.0, min(self._editor.duration, seconds))
        if seconds != self._editor.playhead:
            self._editor.seek(seconds)
        self.sought = True

    def _key_near(self, x: float) -> int | None:
        reach = REACH * imgui.get_font_size()
        near = [(abs(self.x_of(time) - x), i) for i, time in enumerate(self._editor.times)]
        best = min(near, default=(math.inf, 0))
        return best[1] if best[0] <= reach else None

    def _draw_ruler(self, area: Rectangle) -> None:
        em, draw_list = imgui.get_font_size(), imgui.get_window_draw_list()
        low, high = imgui.ImVec2(area.x, area.y), imgui.ImVec2(area.x + area.width, area.y + area.height)
        draw_list.add_rect_filled(low, high, color(theme.with_alpha(theme.RAISED, 0.55)), 5.0)
        end = self.x_of(self._editor.duration)
        if self._editor.duration > 0.0:
            covered = theme.with_alpha(theme.ACCENT, 0.10)
            draw_list.add_rect_filled(
                imgui.ImVec2(self.x_of(0.0), area.y + 1.25 * em), imgui.ImVec2(end, high.y - 0.25 * em), color(covered)
            )
        step = next((step for step in STEPS if step * self._scale[1] >= 3.6 * em), STEPS[-1])
        last = int((area.x + area.width - em - self._scale[0]) / self._scale[1] / step + 1e-6)
        for tick in range(last + 1):
            x = round(self.x_of(tick * step))
            draw_list.add_line(imgui.ImVec2(x, area.y + 1.2 * em), imgui.ImVec2(x, high.y), color(theme.LINE))
            text = f"{tick * step:g} s"
            if x + imgui.calc_text_size(text).x < area.x + area.width:
                draw_list.add_text(imgui.ImVec2(x + 0.2 * em, area.y + 0.12 * em), color(theme.DIM), text)

    def _draw_keys(self, area: Rectangle) -> None:
        em, draw_list, editor = imgui.get_font_size(), imgui.get_window_draw_list(), self._editor
        y = area.y + 2.05 * em
        hovered = self._key_near(imgui.get_io().mouse_pos.x) if imgui.is_item_hovered() else None
        order = [i for i in range(len(editor.keys)) if i != editor.selected]
        for i in [*order, *([editor.selected] if editor.selected is not None else [])]:
            x, size = self.x_of(editor.times[i]), (KEY + (0.08 if i in (hovered, editor.selected) else 0.0)) * em
            fill = theme.SELECTED if i == editor.selected else theme.ACCENT
            top, right = imgui.ImVec2(x, y - size), imgui.ImVec2(x + size, y)
            bottom, left = imgui.ImVec2(x, y + size), imgui.ImVec2(x - size, y)
            draw_list.add_quad_filled(top, right, bottom, left, color(fill))
            draw_list.add_quad(top, right, bottom, left, color(theme.SURFACE), 1.5)
            if editor.even and editor.keys[i].timed:
                draw_list.add_circle_filled(imgui.ImVec2(x, y), 0.14 * em, color(theme.SURFACE))

    def _draw_playhead(self, area: Rectangle) -> None:
        if self._editor.path is None:
            return
        em, draw_list, x = imgui.get_font_size(), imgui.get_window_draw_list(), self.x_of(self._editor.playhead)
        top, bottom = area.y + 0.1 * em, area.y + area.height
        draw_list.add_line(imgui.ImVec2(x, top), imgui.ImVec2(x, bottom), color(theme.TEXT), 1.5)
        half = 0.32 * em
        draw_list.add_triangle_filled(
            imgui.ImVec2(x - half, top),
            imgui.ImVec2(x + half, top),
            imgui.ImVec2(x, top + 1.4 * half),
            color(theme.TEXT),
        )


def _on_grid(seconds: float, pixels: float) -> float:
    """A round number of seconds, about as exact as the mouse: drags give times that a person would type."""
    step = next((step for step in (0.01, 0.02, 0.05, 0.1, 0.5, 1.0) if step * pixels >= 2.0), 1.0)
    return round(seconds / step) * step
