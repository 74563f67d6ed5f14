"""Where the camera is, as numbers that can be typed; bookmarks, cameras of photos, and which way is up."""

import math

import numpy as np
from imgui_bundle import imgui
from numpy.typing import NDArray

from .. import actions, theme
from ..camera.navigator import FOV_LIMITS, Navigator
from ..camera.place import Place
from ..panels import widgets
from .orientation import Orientation


class OrientationPanel:
    """The section "View"."""

    def __init__(self, navigator: Navigator, orientation: Orientation) -> None:
        self._navigator, self._orientation = navigator, orientation

    def draw(self) -> None:
        """Draw the section."""
        if not widgets.section("View", is_open=False):
            return
        self._numbers()
        self._text_buttons()
        self._bookmarks()
        self._photos()
        self._floor()

    def _numbers(self) -> None:
        navigator = self._navigator
        place, target = navigator.place(), navigator.target
        eye = place.matrix[:3, 3].copy()
        moved = _vector("Position", eye, "The camera's place in the world. Enter goes there; its direction stays.")
        if moved is not None:
            matrix = place.matrix.copy()
            matrix[:3, 3] = moved
            navigator.go_to(Place(matrix, place.fov, place.distance), 0.0)
        aimed = _vector("Target", target, "What the camera looks at, and turns around. Enter turns it there.")
        if aimed is not None and float(np.linalg.norm(aimed - eye)) > 1e-6:
            navigator.focus(aimed, 0.0)
        low, high = (math.degrees(limit) for limit in FOV_LIMITS)
        fov = _number("Lens", math.degrees(navigator.fov), "%.3f deg", "Vertical field of view.")
        if fov is not None and low <= fov <= high:
            navigator.fov = math.radians(fov)
        roll = _number(
            "Roll", math.degrees(navigator.roll), "%.2f deg", "Of the camera around its own axis; 0: upright."
        )
        if roll is not None:
            navigator.roll = math.radians(math.remainder(roll, 360.0))

    def _text_buttons(self) -> None:
        orientation = self._orientation
        if widgets.wide_button("Copy", actions.COPY.tooltip("Copy this view as JSON"), share=0.333):
            orientation.copy_view()
        imgui.same_line()
        if widgets.wide_button("Paste", actions.PASTE.tooltip("Go to the view in the clipboard"), share=0.5):
            orientation.paste_view()
        imgui.same_line()
        if widgets.wide_button("Back", actions.BACK.tooltip("To where the last jump began")):
            orientation.go_back()

    def _bookmarks(self) -> None:
        bookmarks = self._orientation.memory.bookmarks
        spacing = 0.25 * imgui.get_font_size()
        width = (imgui.get_content_region_avail().x - 8.0 * spacing) / 9.0
        imgui.push_style_var(imgui.StyleVar_.frame_padding, imgui.ImVec2(0.0, imgui.get_style().frame_padding.y))
        for digit in range(1, 10):
            if digit > 1:
                imgui.same_line(0.0, spacing)
            there = digit in bookmarks
            imgui.push_style_color(imgui.Col_.text, theme.ACCENT if there else theme.DIM)
            if imgui.button(f"{digit}##bookmark", imgui.ImVec2(width, 0.0)):
                if there and not imgui.get_io().key_ctrl:
                    self._orientation.go_to_bookmark(digit)
                else:
                    self._orientation.set_bookmark(digit)
            imgui.pop_style_color()
            does = f"Go to bookmark {digit} (key {digit}). Ctrl + {digit} sets it anew."
            widgets.tip(does if there else f"Set bookmark {digit} to this view (Ctrl + {digit})")
        imgui.pop_style_var()

    def _photos(self) -> None:
        orientation = self._orientation
        count = len(orientation.photos.all)
        imgui.begin_disabled(not count)
        if widgets.wide_button("< Photo", actions.PREVIOUS_PHOTO.tooltip("To the previous photo's camera"), share=0.5):
            orientation.step_photo(-1)
        imgui.same_line()
        if widgets.wide_button("Photo >", actions.NEXT_PHOTO.tooltip("To the next photo's camera")):
            orientation.step_photo(1)
        imgui.end_disabled()
        if not count:
            widgets.tip("No cameras are known: drop the folder of the data set on the window.")

    def _floor(self) -> None:
        orientation = self._orientation
        picking = orientation.floor_points is not None
        text = "Cancel" if picking else "This is the floor ..."
        if widgets.wide_button(f"{text}###floor", "Click three points of the floor, and up is up.", share=0.68):
            orientation.toggle_floor()
        imgui.same_line()
        imgui.begin_disabled(tuple(orientation.memory.up) == (0.0, 0.0, 1.0))
        if widgets.wide_button("Z is up", "Back to the world's z axis."):
            orientation.reset_up()
        imgui.end_disabled()


def _vector(text: str, value: NDArray[np.float64], tooltip: str) -> NDArray[np.float64] | None:
    """Three numbers; what was typed, once it is entered."""
    widgets.label(text, tooltip)
    changed, typed = imgui.input_float3(
        f"##{text}", [float(number) for number in value], "%.3f", imgui.InputTextFlags_.enter_returns_true.value
    )
    widgets.tip(tooltip)
    typed = np.array([float(number) for number in typed], np.float64)
    if not changed or not np.isfinite(typed).all() or np.abs(typed).max() > 1e9:
        return None
    same = np.float32(value) == np.float32(typed)  # ImGui keeps float32: what was not touched stays exact
    return np.where(same, value, typed)


def _number(text: str, value: float, shown_as: str, tooltip: str) -> float | None:
    widgets.label(text, tooltip)
    flags = imgui.InputTextFlags_.enter_returns_true.value
    changed, typed = imgui.input_float(f"##{text}", value, 0.0, 0.0, shown_as, flags)
    widgets.tip(tooltip)
    return float(typed) if changed and math.isfinite(typed) else None
