"""What is written over the picture: messages, the recording badge, and the invitation of an empty window."""

from pathlib import Path

from imgui_bundle import imgui

from .. import theme
from ..actions import OPEN
from ..notices import Notice
from ..recording.recording import Recording
from ..rectangle import Rectangle
from . import widgets

COLORS = {"info": theme.ACCENT, "good": theme.GOOD, "error": theme.BAD}


class PictureMessages:
    """Drawn above the picture and below the dialogs; takes no input."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def draw(
        self,
        area: Rectangle,
        notices: list[Notice],
        loading: Path | None,
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

    def _invite(self, area: Rectangle, loading: Path | None) -> None:
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
            self._centred(f"Loading {loading.name} ...", centre_x, centre_y, 1.3, theme.DIM)

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
        em, draw_list = self._em, imgui.get_background_draw_list()
        wrap = min(34.0 * em, area.width - 5.0 * em)
        bottom = area.y + area.height - 1.2 * em
        for notice in reversed(notices):
            extent = imgui.calc_text_size(notice.text, wrap_width=wrap)
            height, width = extent.y + 1.2 * em, extent.x + 2.6 * em
            left = area.x + 0.5 * (area.width - width)
            low, high = imgui.ImVec2(left, bottom - height), imgui.ImVec2(left + width, bottom)
            draw_list.add_rect_filled(low, high, widgets.color(theme.with_alpha(theme.SURFACE, 0.94)), 8.0)
            draw_list.add_rect(low, high, widgets.color(theme.LINE), 8.0)
            stripe = imgui.ImVec2(left + 0.35 * em, high.y - 0.5 * em)
            draw_list.add_rect_filled(
                imgui.ImVec2(left + 0.6 * em, low.y + 0.55 * em),
                imgui.ImVec2(stripe.x + 0.5 * em, stripe.y),
                widgets.color(COLORS[notice.kind]),
                2.0,
            )
            draw_list.add_text(
                imgui.get_font(),
                em,
                imgui.ImVec2(left + 1.5 * em, low.y + 0.6 * em),
                widgets.color(theme.TEXT),
                notice.text,
                wrap_width=wrap,
            )
            bottom -= height + 0.5 * em


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
    color = widgets.color(theme.RECORDING if recording else theme.with_alpha(theme.TEXT, 0.7))
    low, high = imgui.ImVec2(guide.x + 1.0, guide.y + 1.0), imgui.ImVec2(inner_right - 1.0, inner_bottom - 1.0)
    draw_list.add_rect(low, high, color, 0.0, 2.0)
