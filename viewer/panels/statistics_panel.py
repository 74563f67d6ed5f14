"""Live figures of the newest picture, where its time went, and the short history of frame times."""

from collections.abc import Mapping

import numpy as np
from imgui_bundle import imgui

from kilonerf.kernels import FrameStatistics

from .. import theme
from ..live_statistics import LiveStatistics
from ..numbers.plots import frame_times
from ..settings import ViewerSettings
from . import widgets

TRANSFER_TIP = (
    "How pictures come from the GPU to the window: straight into its texture, through a buffer, or through the host, "
    "which takes longest. The messages say what was in the way."
)


class StatisticsPanel:
    """Milliseconds in all and per stage, samples, resolution, rates."""

    def __init__(self, statistics: LiveStatistics, settings: ViewerSettings) -> None:
        self._statistics, self._settings = statistics, settings

    def draw(self, now: float) -> None:
        """Draw the section; ``now`` is the time that the rates refer to."""
        if not widgets.section("Statistics"):
            return
        frame = self._statistics.frame
        if frame is None:
            imgui.text_disabled("No picture yet")
            return
        self._times(frame)
        self._plot()
        self._figures(frame, now)

    def _times(self, frame: FrameStatistics) -> None:
        imgui.push_font(None, 1.5 * theme.FONT_SIZE)
        imgui.text_unformatted(f"{frame.total_ms:.1f} ms")
        imgui.pop_font()
        widgets.tip("The newest picture, from the request to the last pixel.")
        imgui.same_line()
        imgui.align_text_to_frame_padding()
        width, height = self._statistics.size
        imgui.text_disabled(f"{width} x {height}  ({self._statistics.scale:.0%})")
        widgets.tip("Pixels of the newest picture, and its scale against the window.")
        if frame.stages_ms:
            _stacked_bar(frame.stages_ms)
            _legend(frame.stages_ms)

    def _plot(self) -> None:
        milliseconds = self._statistics.milliseconds
        if len(milliseconds) < 2:
            return
        settings = self._settings
        frame_times(milliseconds, settings.target_fps if settings.automatic_resolution else None)
        widgets.tip(
            f"Times of the last {len(milliseconds)} pictures: "
            f"median {np.median(milliseconds):.1f} ms, longest {milliseconds.max():.1f} ms."
        )

    def _figures(self, frame: FrameStatistics, now: float) -> None:
        statistics = self._statistics
        pictures, window = statistics.picture_rate.rate(now), statistics.window_rate.rate(now)
        widgets.figures(
            [
                (
                    ("Samples", widgets.thousands(frame.samples), "Network evaluations that count for the picture."),
                    _beside_samples(frame),
                ),
                (
                    ("Per ray", f"{frame.samples_per_ray:.2f}", "Samples per ray, over all rays."),
                    ("If hit", f"{frame.samples_per_hit_ray:.2f}", "Samples per ray that has any."),
                ),
                (
                    ("Pictures", f"{pictures:.0f} / s", "New pictures in the last second; none at rest."),
                    ("Window", f"{window:.0f} fps", "How often the window is redrawn; less at rest."),
                ),
                *_levels(frame),
                (("Device", statistics.device, "What makes the pictures."),),
                *([(("Transfer", statistics.transfer, TRANSFER_TIP),)] if statistics.transfer else []),
            ]
        )


def _levels(frame: FrameStatistics) -> list[tuple[tuple[str, str, str]]]:
    """Network evaluations by level, a row for each; nothing for a scene of one level."""
    counts = frame.evaluations_by_level
    if len(counts) < 2:
        return []
    tip = "Network evaluations in this level of the nested boxes; 0 is the innermost."
    return [((f"Level {level}", widgets.thousands(count), tip),) for level, count in enumerate(counts)]


def _beside_samples(frame: FrameStatistics) -> tuple[str, str, str]:
    """Evaluations in vain where a backend makes any (CUDA, whose rays end within a batch), else how many rays hit."""
    vain = frame.evaluations - frame.samples
    if vain > 0:
        tip = f"Evaluations in vain, {vain / max(1, frame.samples):.1%} more: of samples after the end of their ray."
        return "In vain", widgets.thousands(vain), tip
    share = frame.rays_hit / max(1, frame.rays)
    return "Rays hit", f"{share:.0%}", f"{frame.rays_hit:,} of {frame.rays:,} rays have a sample."


def _stacked_bar(stages: Mapping[str, float]) -> None:
    """One bar whose parts are the stages' shares of the frame."""
    width, height = imgui.get_content_region_avail().x, 0.6 * imgui.get_font_size()
    corner = imgui.get_cursor_screen_pos()
    draw_list = imgui.get_window_draw_list()
    total = sum(stages.values()) or 1.0
    left = corner.x
    for index, milliseconds in enumerate(stages.values()):
        right = left + width * milliseconds / total
        draw_list.add_rect_filled(
            imgui.ImVec2(left, corner.y),
            imgui.ImVec2(max(left, right - 1.0), corner.y + height),
            widgets.color(theme.STAGES[index % len(theme.STAGES)]),
            2.0,
        )
        left = right
    imgui.dummy(imgui.ImVec2(width, height))
    widgets.tip("\n".join(f"{name}: {milliseconds:.2f} ms" for name, milliseconds in stages.items()))


def _legend(stages: Mapping[str, float]) -> None:
    """Names and times of the stages, two to a row, in their colours."""
    square = 0.55 * imgui.get_font_size()
    width, left = imgui.get_content_region_avail().x, imgui.get_cursor_pos_x()
    total = sum(stages.values()) or 1.0
    for index, (name, milliseconds) in enumerate(stages.items()):
        start = left + widgets.COLUMN_SHARE * width * (index % 2)
        if index % 2:
            imgui.same_line(start)
        corner = imgui.get_cursor_screen_pos()
        top = corner.y + 0.5 * (imgui.get_text_line_height() - square)
        imgui.get_window_draw_list().add_rect_filled(
            imgui.ImVec2(corner.x, top),
            imgui.ImVec2(corner.x + square, top + square),
            widgets.color(theme.STAGES[index % len(theme.STAGES)]),
            2.0,
        )
        imgui.set_cursor_pos_x(start + 1.5 * square)
        imgui.begin_group()
        imgui.text_disabled(name)
        imgui.same_line(widgets.NAME_SHARE * width - 1.5 * square)  # from the group's left edge
        imgui.text_unformatted(widgets.short_time(milliseconds))
        imgui.end_group()
        widgets.tip(f"{name}: {milliseconds:.2f} ms, {milliseconds / total:.0%} of the picture")
