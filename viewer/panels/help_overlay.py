"""The list of keys, over the picture."""

from imgui_bundle import imgui

from .. import theme
from ..actions import KEY_TABLE

HALF_WIDTH = 15.0  # font heights


class HelpOverlay:
    """A small window in the middle of the picture."""

    def draw(self, centre_x: float, centre_y: float, shown: bool) -> bool:
        """Draw it if ``shown``; whether it stays."""
        if not shown:
            return False
        display = imgui.get_io().display_size
        centre_x = max(centre_x, min(0.5 * display.x, HALF_WIDTH * imgui.get_font_size()))  # over the panel if need be
        imgui.set_next_window_pos(imgui.ImVec2(centre_x, centre_y), imgui.Cond_.always.value, imgui.ImVec2(0.5, 0.5))
        flags = (
            imgui.WindowFlags_.no_title_bar.value
            | imgui.WindowFlags_.no_resize.value
            | imgui.WindowFlags_.always_auto_resize.value
            | imgui.WindowFlags_.no_move.value
            | imgui.WindowFlags_.no_saved_settings.value
        )
        # In a small window it scrolls.
        imgui.set_next_window_size_constraints(
            imgui.ImVec2(0.0, 0.0), imgui.ImVec2(display.x, 1.96 * min(centre_y, display.y - centre_y))
        )
        imgui.push_style_var(imgui.StyleVar_.window_rounding, 8.0)
        imgui.push_style_var(imgui.StyleVar_.window_padding, imgui.ImVec2(22.0, 18.0))
        imgui.push_style_color(imgui.Col_.window_bg, theme.with_alpha(theme.SURFACE, 0.96))
        imgui.begin("Keys", None, flags)
        for title, rows in KEY_TABLE:
            imgui.text_colored(theme.ACCENT, title)
            for keys, meaning in rows:
                imgui.text_unformatted(keys)
                imgui.same_line(13.0 * imgui.get_font_size())
                imgui.text_disabled(meaning)
            imgui.dummy(imgui.ImVec2(0.0, 0.3 * imgui.get_font_size()))
        imgui.end()
        imgui.pop_style_color()
        imgui.pop_style_var(2)
        return True
