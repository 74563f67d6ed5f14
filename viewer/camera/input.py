"""Mouse and keys over the picture, as ImGui reports them, turned into motion of the camera.

ImGui keeps the state of every key and button and knows which input a panel has taken, so no second bookkeeping
of window events is needed, and tests need no window.
"""

from collections.abc import Callable, Mapping

import numpy as np
from imgui_bundle import imgui
from numpy.typing import NDArray

from ..rectangle import Rectangle
from .navigator import MotionKeys, Navigator

Pick = Callable[[float, float], tuple[NDArray[np.float64], float] | None]
"""(u, v) in the picture -> world point [3] and z-depth, or None on background."""


FORWARD = (imgui.Key.w, imgui.Key.up_arrow)
BACK = (imgui.Key.s, imgui.Key.down_arrow)
LEFT = (imgui.Key.a, imgui.Key.left_arrow)
RIGHT = (imgui.Key.d, imgui.Key.right_arrow)
UP = (imgui.Key.e, imgui.Key.space)
DOWN = (imgui.Key.q, imgui.Key.c)


class ViewInput:
    """Steers a :class:`Navigator`.

    Args:
        navigator: what is steered.
        shortcuts: what single keys do; they repeat nothing while held.
        with_ctrl: the same with the Ctrl key.
    """

    def __init__(
        self,
        navigator: Navigator,
        shortcuts: Mapping[imgui.Key, Callable[[], None]],
        with_ctrl: Mapping[imgui.Key, Callable[[], None]] | None = None,
    ) -> None:
        self._navigator = navigator
        self._shortcuts = shortcuts
        self._with_ctrl = with_ctrl or {}
        self._dragging: int | None = None
        self._drag_depth: float | None = None

    def update(self, area: Rectangle, seconds: float, pick: Pick) -> bool:
        """Apply one frame's input.

        Args:
            area: where the picture is.
            seconds: since the last frame: how long held keys count.
            pick: finds what is under the cursor.

        Returns:
            Whether the user is steering right now.
        """
        steering = self._mouse(area, pick)
        return self._keys(area, seconds, pick) or steering

    def _mouse(self, area: Rectangle, pick: Pick) -> bool:
        io = imgui.get_io()
        inside = not io.want_capture_mouse and area.contains(io.mouse_pos.x, io.mouse_pos.y)
        if self._dragging is not None:
            if imgui.is_mouse_down(self._dragging):
                self._drag(io.mouse_delta.x / area.height, io.mouse_delta.y / area.height)
            else:
                self._dragging = None
        if not inside:
            return self._dragging is not None
        if imgui.is_mouse_double_clicked(0):
            self._focus(area, pick)
        for button in (0, 1, 2):
            if self._dragging is None and imgui.is_mouse_clicked(button):
                self._dragging = button
                hit = self._under_cursor(area, pick) if button != 0 else None
                self._drag_depth = hit[1] if hit else None
        if io.mouse_wheel != 0.0:
            hit = self._under_cursor(area, pick)
            self._navigator.wheel(io.mouse_wheel, hit[0] if hit else None)
        return self._dragging is not None or io.mouse_wheel != 0.0

    def _drag(self, right: float, down: float) -> None:
        if right == 0.0 and down == 0.0:
            return
        if self._dragging == 0:
            self._navigator.drag(right, down)
        else:
            self._navigator.pan(right, down, self._drag_depth)

    def _keys(self, area: Rectangle, seconds: float, pick: Pick) -> bool:
        io = imgui.get_io()
        if io.want_text_input or imgui.is_popup_open("", imgui.PopupFlags_.any_popup.value):
            return False
        for key, action in (self._with_ctrl if io.key_ctrl else self._shortcuts).items():
            if imgui.is_key_pressed(key, False):
                action()
        if io.key_ctrl or io.key_super:
            return False
        if imgui.is_key_pressed(imgui.Key.f, False):
            self._focus(area, pick)
        keys = MotionKeys(
            right=_held(RIGHT) - _held(LEFT),
            up=_held(UP) - _held(DOWN),
            forward=_held(FORWARD) - _held(BACK),
            fast=io.key_shift,
            slow=io.key_alt,
        )
        self._navigator.fly(keys, seconds)
        return keys.moving

    def _focus(self, area: Rectangle, pick: Pick) -> None:
        hit = self._under_cursor(area, pick)
        if hit:
            self._navigator.focus(hit[0])

    @staticmethod
    def _under_cursor(area: Rectangle, pick: Pick) -> tuple[NDArray[np.float64], float] | None:
        position = imgui.get_io().mouse_pos
        return pick((position.x - area.x) / area.width, (position.y - area.y) / area.height)


def _held(keys: tuple[imgui.Key, ...]) -> bool:
    return any(imgui.is_key_down(key) for key in keys)
