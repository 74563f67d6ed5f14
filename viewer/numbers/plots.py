"""Plots with axes, units and a target line, drawn by ImPlot in the panel's colours."""

from collections.abc import Sequence

import numpy as np
from imgui_bundle import imgui, implot
from numpy.typing import NDArray

from .. import theme

HEIGHT = 8.5  # font heights
CLEARANCE = 1.15
"""The vertical axis ends this much above the longest time."""


def frame_times(milliseconds: NDArray[np.float32], fps: float | None) -> None:
    """Times of the newest pictures, the newest on the right.

    Args:
        milliseconds: float32 [N], oldest first.
        fps: the target, pictures per second; None: there is none.
    """
    count = len(milliseconds)
    ages = np.arange(1 - count, 1, dtype=np.float32)
    lines = [("times", ages, milliseconds, theme.ACCENT)]
    _plot("##frame times", "pictures ago", (min(-10.0, 1.0 - count), 0.0), lines, fps, legend=False, positive=True)


def times_by_camera(lines: Sequence[tuple[str, Sequence[float]]], fps: float | None) -> None:
    """Milliseconds at each camera, a line for each mode.

    Args:
        lines: a mode's name and a time for each camera.
        fps: the target, as above.
    """
    drawn: list[tuple[str, NDArray[np.float32], NDArray[np.float32], theme.RGBA]] = []
    for number, (name, milliseconds) in enumerate(lines):
        places = np.arange(1, len(milliseconds) + 1, dtype=np.float32)
        drawn.append((name, places, np.asarray(milliseconds, np.float32), theme.STAGES[number % len(theme.STAGES)]))
    last = max(2.0, float(max(len(milliseconds) for _, milliseconds in lines)))
    _plot("##times by camera", "camera", (1.0, last), drawn, fps, legend=len(lines) > 1)


def _plot(
    name: str,
    x_label: str,
    x_range: tuple[float, float],
    lines: Sequence[tuple[str, NDArray[np.float32], NDArray[np.float32], theme.RGBA]],
    fps: float | None,
    *,
    legend: bool,
    positive: bool = False,
) -> None:
    if implot.get_current_context() is None:
        implot.create_context()
    target = 0.0 if fps is None else 1000.0 / fps
    longest = max(float(values.max(initial=0.0)) for _, _, values, _ in lines)
    flags = implot.Flags_.no_title.value | implot.Flags_.no_inputs.value | implot.Flags_.no_mouse_text.value
    if not legend:
        flags |= implot.Flags_.no_legend.value
    implot.push_style_color(implot.Col_.frame_bg, (0.0, 0.0, 0.0, 0.0))
    implot.push_style_color(implot.Col_.plot_bg, theme.with_alpha(theme.RAISED, 0.55))
    implot.push_style_color(implot.Col_.plot_border, theme.LINE)
    implot.push_style_color(implot.Col_.axis_text, theme.DIM)
    implot.push_style_color(implot.Col_.axis_grid, theme.with_alpha(theme.DIM, 0.35))
    implot.push_style_color(implot.Col_.legend_bg, theme.with_alpha(theme.SURFACE, 0.8))
    implot.push_style_var(implot.StyleVar_.plot_padding, imgui.ImVec2(0.0, 0.3 * imgui.get_font_size()))
    implot.push_style_var(implot.StyleVar_.label_padding, imgui.ImVec2(3.0, 2.0))
    imgui.push_font(None, 0.82 * theme.FONT_SIZE)
    height = HEIGHT + (2.0 if legend else 0.0)
    size = imgui.ImVec2(imgui.get_content_region_avail().x, height * imgui.get_font_size())
    if implot.begin_plot(name, size, flags):
        implot.setup_axes(x_label, "ms")
        implot.setup_axes_limits(*x_range, 0.0, CLEARANCE * max(longest, target, 1e-3), imgui.Cond_.always.value)
        if positive:
            implot.setup_axis_format(implot.ImAxis_.x1.value, "%g")
        if legend:
            where = implot.Location_.north.value
            layout = implot.LegendFlags_.horizontal.value | implot.LegendFlags_.outside.value
            implot.setup_legend(where, layout)
        implot.setup_finish()
        if target:
            _target_line(x_range, target, fps or 0.0)
        for label, places, values, color in lines:
            marker = implot.Marker_.circle.value if len(values) <= 20 and legend else implot.Marker_.none.value
            spec = implot.Spec(line_color=color, line_weight=1.6, marker=marker, marker_size=2.5)
            implot.plot_line(label, places, values, spec=spec)
        implot.end_plot()
    imgui.pop_font()
    implot.pop_style_var(2)
    implot.pop_style_color(6)


def _target_line(x_range: tuple[float, float], target: float, fps: float) -> None:
    color = theme.with_alpha(theme.SELECTED, 0.9)
    horizontal = implot.InfLinesFlags_.horizontal.value | implot.ItemFlags_.no_legend.value
    spec = implot.Spec(line_color=color, line_weight=1.2, flags=horizontal)
    implot.plot_inf_lines("target", np.array([target], np.float32), spec=spec)
    text = f"target {fps:.0f} fps"
    low = implot.plot_to_pixels(x_range[0], target)
    em = imgui.get_font_size()
    top = implot.get_plot_pos().y
    above = low.y - top > 1.3 * em  # else its text would leave the plot
    place = imgui.ImVec2(low.x + 0.4 * em, low.y - 1.15 * em if above else low.y + 0.1 * em)
    implot.get_plot_draw_list().add_text(place, imgui.get_color_u32(imgui.ImVec4(*color)), text)
