"""What is written over the picture: messages, the recording badge, and the invitation of an empty window."""

from imgui_bundle import imgui

from kilonerf.model_io.streaming.address import Location

from .. import theme
from ..actions import OPEN
from ..appearance.reading_order import displayed, wrapped
from ..notices import Notice
from ..recording.recording import Recording
from ..rectangle import Rectangle
from . import widgets

TALLEST = 0.45
"""Of the picture: a longer message is shortened; the list in the Scene section has all of it."""


class PictureMessages:
    """Drawn above the picture and below the dialogs; a click on a message dismisses it."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def draw(
        self,
        area: Rectangle,
        notices: list[Notice],
        loading: Location | None,
        empty: bool,
        guide: Rectangle | None = None,
    ) -> None:
        """Draw what there is to say.

        Args:
            area: where the picture is.
            notices: messages to show, oldest first.
            loading: the file that is being read, if any.
            empty: whether there is no scene.
            guide: what the video contains, if that is to be shown.
        """
        if guide is not None:
            _frame_guide(area, guide, recording=self._recording.stage == "recording")
        if empty:
            self._invite(area, loading)
        if self._recording.stage == "recording":
            self._badge(area)
        self._toasts(area, notices)

    @property
    def _em(self) -> float:
        return imgui.get_font_size()

    def _invite(self, area: Rectangle, loading: Location | None) -> None:
        em, draw_list = self._em, imgui.get_background_draw_list()
        centre_x, centre_y = area.x + 0.5 * area.width, area.y + 0.5 * area.height
        if loading is None:
            half = imgui.ImVec2(min(15.0 * em, 0.45 * area.width), min(7.0 * em, 0.4 * area.height))
            low = imgui.ImVec2(centre_x - half.x, centre_y - half.y)
            high = imgui.ImVec2(centre_x + half.x, centre_y + half.y)
            draw_list.add_rect_filled(low, high, widgets.color(theme.with_alpha(theme.RAISED, 0.35)), 12.0)
            draw_list.add_rect(low, high, widgets.color(theme.LINE), 12.0, 1.5)
            self._centred("Drop a .knf scene here", centre_x, centre_y - 1.4 * em, 1.6, theme.TEXT)
            self._centred(f"or press {OPEN.shown} to choose a file", centre_x, centre_y + 1.0 * em, 1.0, theme.DIM)
        else:
            self._centred(displayed(f"Loading {loading.name} ..."), centre_x, centre_y, 1.3, theme.DIM)

    def _centred(self, text: str, x: float, y: float, size: float, color: theme.RGBA) -> None:
        imgui.push_font(None, size * theme.FONT_SIZE)
        extent = imgui.calc_text_size(text)
        place = imgui.ImVec2(round(x - 0.5 * extent.x), round(y - 0.5 * extent.y))
        imgui.get_background_draw_list().add_text(place, widgets.color(color), text)
        imgui.pop_font()

    def _badge(self, area: Rectangle) -> None:
        em = self._em
        text = f"REC  {self._recording.seconds:.1f} s"
        x, y = area.x + em, area.y + em
        self._pill(f"      {text}", x, y, theme.TEXT)
        centre = imgui.ImVec2(x + 1.15 * em, y + 0.9 * em)
        imgui.get_background_draw_list().add_circle_filled(centre, 0.36 * em, widgets.color(theme.RECORDING))

    def _pill(self, text: str, x: float, y: float, color: theme.RGBA) -> None:
        em, draw_list = self._em, imgui.get_background_draw_list()
        extent = imgui.calc_text_size(text)
        low, high = imgui.ImVec2(x, y), imgui.ImVec2(x + extent.x + 1.4 * em, y + 1.8 * em)
        draw_list.add_rect_filled(low, high, widgets.color(theme.with_alpha(theme.SURFACE, 0.82)), 0.9 * em)
        draw_list.add_text(imgui.ImVec2(x + 0.7 * em, y + 0.5 * (1.8 * em - extent.y)), widgets.color(color), text)

    def _toasts(self, area: Rectangle, notices: list[Notice]) -> None:
        em = self._em
        wrap = min(34.0 * em, area.width - 5.0 * em)
        bottom = area.y + area.height - 1.2 * em
        imgui.push_style_var(imgui.StyleVar_.window_rounding, 0.5 * em)
        imgui.push_style_var(imgui.StyleVar_.window_border_size, 1.0)
        imgui.push_style_var(imgui.StyleVar_.window_min_size, imgui.ImVec2(1.0, 1.0))
        imgui.push_style_color(imgui.Col_.window_bg, theme.with_alpha(theme.SURFACE, 0.95))
        for index, notice in enumerate(reversed(notices)):
            text = wrapped(_fitting(notice.text, wrap, TALLEST * area.height), wrap)
            extent = imgui.calc_text_size(text, wrap_width=wrap)
            height, width = extent.y + 1.2 * em, extent.x + 3.6 * em
            if index and bottom - height < area.y:
                break  # the older ones
            left = area.x + 0.5 * (area.width - width)
            if _toast(f"message {index}", notice, text, Rectangle(left, bottom - height, width, height), wrap):
                notice.until = 0.0
            bottom -= height + 0.5 * em
        imgui.pop_style_color()
        imgui.pop_style_var(3)


def _toast(name: str, notice: Notice, text: str, place: Rectangle, wrap: float) -> bool:
    """Draw one message; whether it was clicked."""
    em = imgui.get_font_size()
    imgui.set_next_window_pos(imgui.ImVec2(place.x, place.y))
    imgui.set_next_window_size(imgui.ImVec2(place.width, place.height))
    flags = (
        imgui.WindowFlags_.no_decoration.value
        | imgui.WindowFlags_.no_move.value
        | imgui.WindowFlags_.no_saved_settings.value
        | imgui.WindowFlags_.no_focus_on_appearing.value
    )
    imgui.begin(name, None, flags)
    draw_list, right, bottom = imgui.get_window_draw_list(), place.x + place.width, place.y + place.height
    color = {"info": theme.ACCENT, "good": theme.GOOD, "error": theme.BAD}[notice.kind]
    low, high = (
        imgui.ImVec2(place.x + 0.6 * em, place.y + 0.55 * em),
        imgui.ImVec2(place.x + 0.85 * em, bottom - 0.5 * em),
    )
    draw_list.add_rect_filled(low, high, widgets.color(color), 2.0)
    corner = imgui.ImVec2(place.x + 1.5 * em, place.y + 0.6 * em)
    draw_list.add_text(imgui.get_font(), em, corner, widgets.color(theme.TEXT), text, wrap_width=wrap)
    hovered = imgui.is_window_hovered()
    cross = imgui.ImVec2(right - 1.3 * em, place.y + 0.6 * em)
    draw_list.add_text(cross, widgets.color(theme.TEXT if hovered else theme.DIM), "x")
    imgui.end()
    return hovered and imgui.is_mouse_clicked(0)


def _fitting(text: str, wrap: float, height: float) -> str:
    """``text`` with its middle left out where it is taller than ``height``."""
    shown, count = text, len(text)
    while count > 20 and imgui.calc_text_size(shown, wrap_width=wrap).y > height:
        count = round(0.85 * count)
        shown = f"{text[: count - count // 3]} ... {text[len(text) - count // 3 :]}"
    return shown


def _frame_guide(area: Rectangle, guide: Rectangle, *, recording: bool) -> None:
    """What the video leaves out is dimmed, its edge drawn."""
    draw_list = imgui.get_background_draw_list()
    right, bottom = area.x + area.width, area.y + area.height
    inner_right, inner_bottom = guide.x + guide.width, guide.y + guide.height
    for low, high in (
        ((area.x, area.y), (right, guide.y)),
        ((area.x, inner_bottom), (right, bottom)),
        ((area.x, guide.y), (guide.x, inner_bottom)),
        ((inner_right, guide.y), (right, inner_bottom)),
    ):
        if high[0] > low[0] and high[1] > low[1]:
            draw_list.add_rect_filled(imgui.ImVec2(*low), imgui.ImVec2(*high), widgets.color((0.0, 0.0, 0.0, 0.55)))
    color = widgets.color(theme.RECORDING if recording else (0.9, 0.92, 0.94, 0.7))
    low, high = imgui.ImVec2(guide.x + 1.0, guide.y + 1.0), imgui.ImVec2(inner_right - 1.0, inner_bottom - 1.0)
    draw_list.add_rect(low, high, color, 0.0, 2.0)
