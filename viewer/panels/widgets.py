"""Rows and small drawings that the panels share."""

from collections.abc import Sequence

from imgui_bundle import imgui

from .. import theme

LABEL_SHARE = 0.36  # of the panel: names of rows with one control or value
COLUMN_SHARE = 0.54  # of the row: where the second of two columns begins
NAME_SHARE = 0.29  # of the row: names in rows of two columns


def section(title: str, *, is_open: bool = True) -> bool:
    """A foldable heading; whether its content is to be drawn."""
    flags = imgui.TreeNodeFlags_.default_open.value if is_open else 0
    imgui.dummy(imgui.ImVec2(0.0, 0.0))
    imgui.push_style_color(imgui.Col_.header, theme.RAISED)
    imgui.push_style_color(imgui.Col_.header_hovered, theme.HOVERED)
    imgui.push_style_color(imgui.Col_.header_active, theme.HOVERED)
    shown = imgui.collapsing_header(title, flags)
    imgui.pop_style_color(3)
    return shown


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
        imgui.begin_tooltip()
        imgui.push_text_wrap_pos(22.0 * imgui.get_font_size())
        imgui.text_unformatted(text)
        imgui.pop_text_wrap_pos()
        imgui.end_tooltip()


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
        imgui.push_style_color(imgui.Col_.text, (0.04, 0.06, 0.09, 1.0))
    gap = imgui.get_style().item_spacing.x if share < 1.0 else 0.0
    pressed = imgui.button(text, imgui.ImVec2(share * (imgui.get_content_region_avail().x - gap), 0.0))
    if accent:
        imgui.pop_style_color(3)
    tip(tooltip)
    return pressed


def color(value: theme.RGBA) -> int:
    """A colour as draw lists want it."""
    return imgui.get_color_u32(imgui.ImVec4(*value))


def thousands(count: float) -> str:
    """A count that a person can read: 812, 23.4 k, 1.07 M."""
    if count < 1000:
        return f"{count:.0f}"
    if count < 999_500:
        return f"{count / 1e3:.0f} k" if count >= 99_950 else f"{count / 1e3:.1f} k"
    return f"{count / 1e6:.2f} M"
