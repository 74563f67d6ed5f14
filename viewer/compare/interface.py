"""What is drawn over two compared pictures: the divider, what each side is, and how far they are apart."""

from imgui_bundle import imgui

from .. import theme
from ..appearance.reading_order import wrapped
from ..inspection.legend import WIDTH, draw_scale
from ..panels import widgets
from ..rectangle import Rectangle
from ..rendering.resolution import Shot
from ..rendering.worker import RenderResult
from .choice import side_names
from .comparison import Comparison
from .difference import scale_end_text

GRIP = 0.55  # font heights: half of the width in which the divider can be gripped
MARGIN = 0.7  # font heights
FOG = "Without ESS networks are also evaluated in empty space, where they were never trained: that is the fog."
WRAP = 21.0  # font heights
LABEL_SHARE = 0.25  # of the picture's height, at most


class CompareInterface:
    """Drawn above the picture and below the panels.

    Args:
        comparison: what is compared.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def draw(self, area: Rectangle, shown: RenderResult | None) -> None:
        """Draw it.

        Args:
            area: where the picture is.
            shown: the window's own picture.
        """
        if shown is None or area.width < 8.0 * imgui.get_font_size():
            return
        if not self._comparison.active:
            if not shown.request.shot.options.ess:
                _label(area, area.x + 0.5 * area.width, 0.5, "ESS off", [FOG])
            return
        self._divider(area)
        self._labels(area, shown)
        self._verdict(area)

    def _divider(self, area: Rectangle) -> None:
        wanted, em = self._comparison.wanted, imgui.get_font_size()
        x = round(area.x + wanted.divider * area.width)
        grip = 2.0 * GRIP * em
        left = min(max(area.x, x - 0.5 * grip), area.x + area.width - grip)
        with widgets.mouse_area("compare divider", Rectangle(left, area.y, grip, max(1.0, area.height))):
            held, hovered = imgui.is_item_active(), imgui.is_item_hovered()
        if held or hovered:
            imgui.set_mouse_cursor(imgui.MouseCursor_.resize_ew)
        if held and imgui.is_mouse_double_clicked(0):
            wanted.divider = 0.5
        elif held and imgui.get_io().mouse_delta.x != 0.0:
            wanted.divider = min(1.0, max(0.0, (imgui.get_io().mouse_pos.x - area.x) / area.width))
        self._line(area, x, bright=held or hovered)

    def _line(self, area: Rectangle, x: float, *, bright: bool) -> None:
        em, draw_list = imgui.get_font_size(), imgui.get_background_draw_list()
        low, high = imgui.ImVec2(x, area.y), imgui.ImVec2(x, area.y + area.height)
        draw_list.add_line(low, high, widgets.color((0.0, 0.0, 0.0, 0.45)), 3.5)
        color = widgets.color(theme.ACCENT if bright else theme.TEXT)
        draw_list.add_line(low, high, color, 1.5)
        middle = area.y + 0.5 * area.height
        draw_list.add_circle_filled(
            imgui.ImVec2(x, middle), 0.8 * em, widgets.color(theme.with_alpha(theme.SURFACE, 0.9))
        )
        draw_list.add_circle(imgui.ImVec2(x, middle), 0.8 * em, color, 0, 1.5)
        for side in (-1.0, 1.0):
            tip, base = x + 0.55 * side * em, x + 0.2 * side * em
            corners = (
                imgui.ImVec2(tip, middle),
                imgui.ImVec2(base, middle - 0.3 * em),
                imgui.ImVec2(base, middle + 0.3 * em),
            )
            draw_list.add_triangle_filled(*corners, color)

    def _labels(self, area: Rectangle, shown: RenderResult) -> None:
        comparison, wanted = self._comparison, self._comparison.wanted
        shot, second = shown.request.shot, comparison.second
        devices = (shown.device, second.device if second is not None else "")
        names = side_names(shot, wanted, devices, comparison.photo_name)
        x = area.x + wanted.divider * area.width
        first_lines, second_lines = [_figures(shown)], []
        (first_lines if not shot.options.ess else second_lines).extend(self._fog(shot))
        if wanted.divider > 0.0:
            _label(area, x, 1.0, f"A   {names[0]}", first_lines)
        if wanted.divider < 1.0:
            title = f"B   {names[1]}"
            if wanted.difference:
                title = f"| A - B |   B: {names[1]}"
            _label(area, x, 0.0, title, [self._second_figures(), *second_lines])

    def _fog(self, shot: Shot) -> list[str]:
        either = self._comparison.wanted.against == "ess" or not shot.options.ess
        return [FOG] if either else []

    def _second_figures(self) -> str:
        comparison = self._comparison
        if comparison.together and comparison.second is not None:
            if comparison.wanted.difference and comparison.second.difference is None:
                return "at full size, in a moment"
            return _figures(comparison.second)
        if comparison.wanted.against == "photo":
            return "is shown at the cameras of photos:  ,  and  .  go there"
        return "is being made" if comparison.resting else "when the camera rests"

    def _verdict(self, area: Rectangle) -> None:
        comparison = self._comparison
        difference, em = comparison.difference, imgui.get_font_size()
        if difference is None:
            return
        text = difference.text
        extent = imgui.calc_text_size(text)
        if extent.x + 3.0 * em > area.width:
            text = text.replace("   ", "\n")
            extent = imgui.calc_text_size(text)
        x = area.x + 0.5 * (area.width - extent.x)
        y = area.y + area.height - extent.y - 1.9 * em
        scale = comparison.wanted.difference and area.height > 14.0 * em
        if scale and x + extent.x > area.x + area.width - (WIDTH + 2.5) * em:
            y -= 4.4 * em  # above the scale
        draw_list = imgui.get_background_draw_list()
        low, high = (
            imgui.ImVec2(x - 0.8 * em, y - 0.4 * em),
            imgui.ImVec2(x + extent.x + 0.8 * em, y + extent.y + 0.4 * em),
        )
        draw_list.add_rect_filled(low, high, widgets.color(theme.with_alpha(theme.SURFACE, 0.9)), 6.0)
        color = theme.GOOD if difference.identical else theme.TEXT
        draw_list.add_text(imgui.ImVec2(x, y), widgets.color(color), text)
        if scale:
            end = scale_end_text(comparison.wanted.gain)
            draw_scale(area, "Largest difference of a channel", ("0", "", end), right=True)


def _figures(result: RenderResult) -> str:
    """Time, samples, and the size if it is not the full one."""
    frame = result.frame
    if frame is None or (result.milliseconds == 0.0 and not frame.statistics.rays):
        return ""
    parts = []
    if result.milliseconds > 0.0:
        parts.append(widgets.short_time(result.milliseconds))
        parts.append(f"{widgets.thousands(frame.statistics.samples)} samples")
    if result.request.scale < 1.0:
        parts.append(f"{result.request.scale:.0%} of the size")
    return "   ".join(parts)


def _label(area: Rectangle, x: float, align: float, title: str, lines: list[str]) -> None:
    """A title and lines below it on a dark plate at the top of the picture.

    Args:
        area: where the picture is.
        x: where the plate is.
        align: which share of the plate is left of ``x``: 0, 0.5 or 1.
        title: in bright letters.
        lines: in dim ones, wrapped.
    """
    em, draw_list = imgui.get_font_size(), imgui.get_background_draw_list()
    room = {0.0: area.x + area.width - x, 1.0: x - area.x}.get(align, area.width) - 3.0 * em
    wrap = min(WRAP * em, room)
    if wrap < 4.0 * em:
        return
    texts = [(wrapped(title, wrap), theme.TEXT), *((wrapped(line, wrap), theme.DIM) for line in lines if line)]
    extents = [imgui.calc_text_size(text, wrap_width=wrap) for text, _ in texts]
    while len(texts) > 1 and sum(extent.y for extent in extents) > LABEL_SHARE * area.height:
        texts, extents = texts[:-1], extents[:-1]  # a small window has the title alone
    width = max(extent.x for extent in extents) + 1.4 * em
    height = sum(extent.y for extent in extents) + 0.8 * em + 0.2 * em * (len(texts) - 1)
    gap = (1.0 - 2.0 * align) * 1.0 * em
    left, top = round(x - align * width + gap), area.y + MARGIN * em
    back = widgets.color(theme.with_alpha(theme.SURFACE, 0.86))
    draw_list.add_rect_filled(imgui.ImVec2(left, top), imgui.ImVec2(left + width, top + height), back, 6.0)
    y = top + 0.4 * em
    for (text, color), extent in zip(texts, extents, strict=True):
        place = imgui.ImVec2(left + 0.7 * em, y)
        draw_list.add_text(imgui.get_font(), em, place, widgets.color(color), text, wrap_width=wrap)
        y += extent.y + 0.2 * em
