"""The look of the panels, dark or light: one surface, one accent color, one readable font.

The colors are attributes of this module that :func:`apply` changes: a process has one window, and so one theme, at a
time.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import imgui_bundle
from imgui_bundle import imgui

RGBA = tuple[float, float, float, float]
ThemeName = Literal["dark", "light"]

FONT_SIZE = 16.0
ACCENT: RGBA = (0.33, 0.64, 1.0, 1.0)
ON_ACCENT: RGBA = (0.04, 0.06, 0.09, 1.0)
SURFACE: RGBA = (0.085, 0.094, 0.115, 1.0)
RAISED: RGBA = (0.150, 0.163, 0.196, 1.0)
HOVERED: RGBA = (0.200, 0.218, 0.262, 1.0)
LINE: RGBA = (0.215, 0.232, 0.275, 1.0)
POPUP: RGBA = (0.105, 0.115, 0.140, 0.985)
TEXT: RGBA = (0.905, 0.918, 0.940, 1.0)
DIM: RGBA = (0.570, 0.605, 0.670, 1.0)
SELECTED: RGBA = (0.98, 0.74, 0.28, 1.0)
GOOD: RGBA = (0.40, 0.82, 0.55, 1.0)
BAD: RGBA = (1.0, 0.47, 0.43, 1.0)
RECORDING: RGBA = (0.95, 0.26, 0.24, 1.0)
LIGHT: Mapping[str, RGBA] = {
    "ACCENT": (0.07, 0.40, 0.82, 1.0),
    "ON_ACCENT": (1.0, 1.0, 1.0, 1.0),
    "SURFACE": (0.945, 0.950, 0.960, 1.0),
    "RAISED": (0.865, 0.878, 0.900, 1.0),
    "HOVERED": (0.800, 0.820, 0.850, 1.0),
    "LINE": (0.740, 0.760, 0.795, 1.0),
    "POPUP": (0.985, 0.988, 0.992, 0.99),
    "TEXT": (0.090, 0.105, 0.135, 1.0),
    "DIM": (0.345, 0.375, 0.430, 1.0),
    "SELECTED": (0.80, 0.50, 0.02, 1.0),
    "GOOD": (0.06, 0.50, 0.26, 1.0),
    "BAD": (0.76, 0.14, 0.12, 1.0),
    "RECORDING": (0.90, 0.22, 0.20, 1.0),
}
"""What the colors above become in the light theme."""
PALETTES: Mapping[ThemeName, Mapping[str, RGBA]] = {"dark": {name: globals()[name] for name in LIGHT}, "light": LIGHT}
BACKDROPS: Mapping[ThemeName, tuple[float, float, float]] = {"dark": (0.34, 0.36, 0.39), "light": (0.64, 0.66, 0.69)}
"""Behind objects in the window: neither white nor black ones are lost on it."""
STAGES: tuple[RGBA, ...] = (
    (0.33, 0.64, 1.0, 1.0),
    (0.36, 0.80, 0.72, 1.0),
    (0.96, 0.75, 0.35, 1.0),
    (0.83, 0.53, 0.95, 1.0),
    (0.95, 0.50, 0.46, 1.0),
    (0.62, 0.66, 0.74, 1.0),
)
"""Colors of a frame's stages, in their order."""

SIZES = {
    "window_rounding": 0.0,
    "child_rounding": 5.0,
    "frame_rounding": 5.0,
    "popup_rounding": 6.0,
    "grab_rounding": 5.0,
    "scrollbar_rounding": 6.0,
    "window_border_size": 0.0,
    "frame_border_size": 0.0,
    "popup_border_size": 1.0,
    "indent_spacing": 12.0,
    "scrollbar_size": 10.0,
    "grab_min_size": 12.0,
}
PAIRS = {
    "window_padding": (14.0, 10.0),
    "frame_padding": (9.0, 3.5),
    "item_spacing": (8.0, 5.0),
    "item_inner_spacing": (7.0, 5.0),
    "cell_padding": (6.0, 3.0),
}


def with_alpha(color: RGBA, alpha: float) -> RGBA:
    """The same color, more or less transparent."""
    return (*color[:3], alpha)


def font_height() -> float:
    """Of the interface's text in the window's present size; unlike ImGui's, the same between two frames."""
    style = imgui.get_style()
    return max(1.0, math.floor(style.font_size_base * style.font_scale_dpi + 0.5))  # as ImGui rounds it


def apply(scale: float, name: ThemeName = "dark") -> None:
    """Set fonts, sizes and colors of the current ImGui context.

    Args:
        scale: size of everything against its size at 96 dots per inch.
        name: the theme.
    """
    globals().update(PALETTES[name])
    (imgui.style_colors_light if name == "light" else imgui.style_colors_dark)()  # for what is not set below
    _load_font()
    style = imgui.get_style()
    for key, size in SIZES.items():
        setattr(style, key, size * scale)
    for key, (x, y) in PAIRS.items():
        setattr(style, key, imgui.ImVec2(x * scale, y * scale))
    style.font_size_base = FONT_SIZE
    style.font_scale_dpi = scale
    _set_colors(style)
    imgui.get_io().config_flags &= ~imgui.ConfigFlags_.nav_enable_keyboard.value  # keys belong to the camera


def _load_font() -> None:
    fonts = imgui.get_io().fonts
    if fonts.fonts:
        return
    roboto = Path(imgui_bundle.__file__).parent / "assets" / "fonts" / "Roboto" / "Roboto-Regular.ttf"
    if roboto.is_file():
        fonts.add_font_from_file_ttf(str(roboto), FONT_SIZE)
    else:  # a distribution may package imgui_bundle without its assets
        fonts.add_font_default()


def _set_colors(style: imgui.Style) -> None:
    colors: dict[imgui.Col_, RGBA] = {
        imgui.Col_.text: TEXT,
        imgui.Col_.text_disabled: DIM,
        imgui.Col_.window_bg: SURFACE,
        imgui.Col_.child_bg: with_alpha(SURFACE, 0.0),
        imgui.Col_.popup_bg: POPUP,
        imgui.Col_.border: LINE,
        imgui.Col_.frame_bg: RAISED,
        imgui.Col_.frame_bg_hovered: HOVERED,
        imgui.Col_.frame_bg_active: HOVERED,
        imgui.Col_.title_bg: SURFACE,
        imgui.Col_.title_bg_active: RAISED,
        imgui.Col_.scrollbar_bg: with_alpha(SURFACE, 0.0),
        imgui.Col_.scrollbar_grab: RAISED,
        imgui.Col_.scrollbar_grab_hovered: HOVERED,
        imgui.Col_.check_mark: ACCENT,
        imgui.Col_.slider_grab: with_alpha(ACCENT, 0.62),
        imgui.Col_.slider_grab_active: with_alpha(ACCENT, 0.85),
        imgui.Col_.button: RAISED,
        imgui.Col_.button_hovered: HOVERED,
        imgui.Col_.button_active: with_alpha(ACCENT, 0.55),
        imgui.Col_.header: with_alpha(ACCENT, 0.16),
        imgui.Col_.header_hovered: with_alpha(ACCENT, 0.26),
        imgui.Col_.header_active: with_alpha(ACCENT, 0.38),
        imgui.Col_.separator: LINE,
        imgui.Col_.plot_lines: ACCENT,
        imgui.Col_.plot_histogram: ACCENT,
        imgui.Col_.text_selected_bg: with_alpha(ACCENT, 0.35),
        imgui.Col_.modal_window_dim_bg: (0.0, 0.0, 0.0, 0.45),
    }
    selected = getattr(imgui.Col_, "checkbox_selected_bg", None)  # from ImGui 1.93 on
    if selected is not None:
        colors[selected] = RAISED
    for color, value in colors.items():
        style.set_color_(color, value)
