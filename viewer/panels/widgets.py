"""Rows and small drawings that the panels share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from imgui_bundle import imgui

from .. import theme
from ..appearance import folding
from ..appearance.reading_order import displayed, wrapped
from ..rectangle import Rectangle

LABEL_SHARE = 0.36  # of the panel: names of rows with one control or value
COLUMN_SHARE = 0.54  # of the row: where the second of two columns begins
NAME_SHARE = 0.29  # of the row: names in rows of two columns


TIP_WIDTH = 22.0  # font heights
SLIMMEST_TIP = 7.0
TIP_GAP = 0.5


def section(title: str, *, is_open: bool = True) -> bool:
    """A foldable heading; whether its content is to be drawn. What the user folds stays so, in later runs too.

    Args:
        title: of its own in all of the program.
        is_open: until the user has chosen.
    """
    wanted = folding.sections.is_open(title, default=is_open)
    imgui.set_next_item_open(wanted, imgui.Cond_.always.value)
    imgui.push_style_color(imgui.Col_.header, theme.RAISED)
    imgui.push_style_color(imgui.Col_.header_hovered, theme.HOVERED)
    imgui.push_style_color(imgui.Col_.header_active, theme.HOVERED)
    shown = imgui.collapsing_header(title)
    imgui.pop_style_color(3)
    if shown != wanted:
        folding.sections.choose(title, is_open=shown)
    return shown


def subsection(title: str, of: str, name: str = "") -> bool:
    """A foldable heading inside of the section ``of``, folded at first; whether its content is to be drawn.

    ``name`` is what it is remembered by, if the title changes.
    """
    key = f"{of}: {name or title}"
    wanted = folding.sections.is_open(key, default=False)
    imgui.set_next_item_open(wanted, imgui.Cond_.always.value)
    flags = imgui.TreeNodeFlags_.no_tree_push_on_open.value | imgui.TreeNodeFlags_.span_avail_width.value
    imgui.push_style_color(imgui.Col_.text, theme.DIM)
    shown = imgui.tree_node_ex(f"{title}###{key}", flags)
    imgui.pop_style_color()
    if shown != wanted:
        folding.sections.choose(key, is_open=shown)
    return shown


@contextmanager
def mouse_area(name: str, place: Rectangle, *, in_front: bool = False) -> Iterator[None]:
    """Something over the picture that cannot be seen and keeps the mouse from the camera; within, ImGui's last item.

    Args:
        name: of its own in all of the program.
        place: where.
        in_front: it comes before others of its kind when it is clicked.
    """
    size = imgui.ImVec2(place.width, place.height)
    imgui.set_next_window_pos(imgui.ImVec2(place.x, place.y))
    imgui.set_next_window_size(size)
    flags = (
        imgui.WindowFlags_.no_decoration.value
        | imgui.WindowFlags_.no_background.value
        | imgui.WindowFlags_.no_move.value
        | imgui.WindowFlags_.no_saved_settings.value
        | imgui.WindowFlags_.no_focus_on_appearing.value
    )
    if not in_front:
        flags |= imgui.WindowFlags_.no_bring_to_front_on_focus.value
    imgui.push_style_var(imgui.StyleVar_.window_padding, imgui.ImVec2(0.0, 0.0))
    imgui.push_style_var(imgui.StyleVar_.window_min_size, imgui.ImVec2(1.0, 1.0))
    imgui.begin(name, None, flags)
    imgui.invisible_button(name, size)
    yield
    imgui.end()
    imgui.pop_style_var(2)


class Dialog:
    """A modal dialog in the middle of the window, as tall as its content and the window allow.

    Args:
        identity: by which ImGui knows it.
        width: in font heights, if the window is as wide.
    """

    def __init__(self, identity: str, width: float) -> None:
        self._identity, self._width = identity, width
        self._wanted = False

    def open(self) -> None:
        """Open it when it is drawn next."""
        self._wanted = True

    @contextmanager
    def drawn(self, title: str) -> Iterator[bool]:
        """Draw it around what is drawn within; whether it is open."""
        if self._wanted:
            imgui.open_popup(f"###{self._identity}")
            self._wanted = False
        em, display = imgui.get_font_size(), imgui.get_io().display_size
        imgui.set_next_window_pos(
            imgui.ImVec2(0.5 * display.x, 0.5 * display.y), imgui.Cond_.always.value, imgui.ImVec2(0.5, 0.5)
        )
        wide = min(self._width * em, 0.95 * display.x)
        imgui.set_next_window_size_constraints(imgui.ImVec2(wide, 0.0), imgui.ImVec2(wide, 0.97 * display.y))
        imgui.set_next_window_size(imgui.ImVec2(wide, 0.0), imgui.Cond_.always.value)
        flags = imgui.WindowFlags_.no_saved_settings.value | imgui.WindowFlags_.no_move.value
        is_open, _ = imgui.begin_popup_modal(f"{displayed(title)}###{self._identity}", None, flags)
        try:
            yield is_open
        finally:
            if is_open:
                imgui.end_popup()


def paragraph(text: str, color: theme.RGBA | None = None) -> None:
    """Text that is wrapped at the window's edge, in any script."""
    imgui.push_style_color(imgui.Col_.text, color or theme.TEXT)
    imgui.push_text_wrap_pos(0.0)
    imgui.text_unformatted(wrapped(text, imgui.get_content_region_avail().x))
    imgui.pop_text_wrap_pos()
    imgui.pop_style_color()


def label(text: str, tooltip: str) -> None:
    """A row's name on the left; the control that follows takes the rest of the row."""
    imgui.align_text_to_frame_padding()
    imgui.push_style_color(imgui.Col_.text, theme.DIM)
    imgui.text(text)
    imgui.pop_style_color()
    tip(tooltip)
    imgui.same_line(LABEL_SHARE * imgui.get_window_width())
    imgui.set_next_item_width(-imgui.FLT_MIN)


def tip(text: str) -> None:
    """Explain the last item when the mouse rests on it."""
    if imgui.is_item_hovered(imgui.HoveredFlags_.for_tooltip.value | imgui.HoveredFlags_.allow_when_disabled.value):
        width = _place_tip(text)
        imgui.begin_tooltip()
        imgui.push_text_wrap_pos(width)
        imgui.text_unformatted(wrapped(text, width - imgui.get_style().window_padding.x))
        imgui.pop_text_wrap_pos()
        imgui.end_tooltip()


def _place_tip(text: str) -> float:
    """Put the next tooltip beside the last item's window, or above the item: it never covers the next control.

    Returns:
        The width at which its text is wrapped.
    """
    em, display = imgui.get_font_size(), imgui.get_io().display_size
    window = imgui.internal.get_current_window().root_window
    low, high = imgui.get_item_rect_min(), imgui.get_item_rect_max()
    gap, padding = TIP_GAP * em, imgui.get_style().window_padding
    sides = {0.0: display.x - window.pos.x - window.size.x, 1.0: window.pos.x}  # by pivot: right of it, left of it
    pivot, space = max(sides.items(), key=lambda side: side[1])
    beside = space - 2.0 * gap - 2.0 * padding.x >= SLIMMEST_TIP * em
    width = min(TIP_WIDTH * em, (space if beside else display.x) - 2.0 * gap - 2.0 * padding.x)
    height = imgui.calc_text_size(text, wrap_width=width).y + 2.0 * padding.y
    if beside:
        x = window.pos.x - gap if pivot else window.pos.x + window.size.x + gap
        place, corner = (x, max(0.0, min(low.y, display.y - height))), (pivot, 0.0)
    elif low.y >= height + gap:
        place, corner = (low.x, low.y - gap), (0.0, 1.0)
    else:
        place, corner = (low.x, high.y + gap), (0.0, 0.0)
    imgui.set_next_window_pos(imgui.ImVec2(*place), imgui.Cond_.always.value, imgui.ImVec2(*corner))
    return width


def switch(text: str, on: bool, tooltip: str) -> bool:
    """A check box; its new state."""
    _, on = imgui.checkbox(text, on)
    tip(tooltip)
    return on


def choice(text: str, current: str, options: Sequence[str], tooltip: str) -> str:
    """A drop-down list on a row of its own; what is chosen now."""
    label(text, tooltip)
    index = options.index(current) if current in options else 0
    changed, index = imgui.combo(f"##{text}", index, list(options))
    tip(tooltip)
    return options[index] if changed else current


def slider(
    text: str, value: float, low: float, high: float, shown_as: str, tooltip: str, *, logarithmic: bool = False
) -> float:
    """A slider on a row of its own; its new value, within the bounds also where one was typed in (Ctrl + click)."""
    label(text, tooltip)
    flags = imgui.SliderFlags_.always_clamp.value
    if logarithmic:
        flags |= imgui.SliderFlags_.logarithmic.value
    changed, moved_to = imgui.slider_float(f"##{text}", value, low, high, shown_as, flags)
    tip(tooltip)
    return moved_to if changed else value  # ImGui rounds to float32 even where nothing moved


def figures(rows: Sequence[tuple[tuple[str, str, str], ...]]) -> None:
    """Read-only rows of one or two (name, value, tooltip), the names dimmed."""
    width = imgui.get_content_region_avail().x
    left = imgui.get_cursor_pos_x()
    for row in rows:
        for column, (name, value, tooltip) in enumerate(row):
            start = left + COLUMN_SHARE * width * column
            if column:
                imgui.same_line(start)
            imgui.begin_group()
            imgui.text_disabled(name)
            imgui.same_line((NAME_SHARE if len(row) > 1 else LABEL_SHARE) * width)  # from the group's left edge
            imgui.text_unformatted(value)
            imgui.end_group()
            tip(tooltip)


def wide_button(text: str, tooltip: str, *, share: float = 1.0, accent: bool = False) -> bool:
    """A button that takes a share of what is left of the row; whether it was pressed."""
    if accent:
        imgui.push_style_color(imgui.Col_.button, theme.with_alpha(theme.ACCENT, 0.85))
        imgui.push_style_color(imgui.Col_.button_hovered, theme.ACCENT)
        imgui.push_style_color(imgui.Col_.text, theme.ON_ACCENT)
    gap = imgui.get_style().item_spacing.x if share < 1.0 else 0.0
    pressed = imgui.button(text, imgui.ImVec2(share * (imgui.get_content_region_avail().x - gap), 0.0))
    if accent:
        imgui.pop_style_color(3)
    tip(tooltip)
    return pressed


def color(value: theme.RGBA) -> int:
    """A color as draw lists want it."""
    return imgui.get_color_u32(imgui.ImVec4(*value))


def thousands(count: float) -> str:
    """A count that a person can read: 812, 23.4 k, 1.07 M."""
    if count < 1000:
        return f"{count:.0f}"
    if count < 999_500:
        return f"{count / 1e3:.0f} k" if count >= 99_950 else f"{count / 1e3:.1f} k"
    return f"{count / 1e6:.2f} M"


def short_time(milliseconds: float) -> str:
    """A time in at most four characters and a unit: 12.3 ms, 345 ms, 1.23 s."""
    if milliseconds < 99.95:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1e3
    return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s" if seconds < 99.95 else f"{seconds:.0f} s"
