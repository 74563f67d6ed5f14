"""The section "Benchmark" of the side panel: frame times and evaluations with ESS and ERT on and off, along cameras."""

import statistics

from imgui_bundle import imgui

from .. import actions, theme
from ..panels import widgets
from .benchmark import BenchmarkResult, mode_name
from .plots import times_by_camera
from .tool import LARGEST_COUNT, MODES, SIZES, SOURCES, NumbersTool

HEADINGS = ("", "ms", "speed", "evaluated", "per ray")
TIPS = (
    "ESS: empty-space skipping. ERT: early ray termination.",
    "Median of three frames at each camera.",
    "Against the slowest row.",
    "Network evaluations of a frame, mean over the cameras.",
    "Samples for each ray of the picture, mean over the cameras.",
)


class NumbersPanel:
    """Draws a :class:`NumbersTool`."""

    def __init__(self, tool: NumbersTool) -> None:
        self._tool = tool

    def draw(self) -> None:
        """Draw the section."""
        if not widgets.section("Benchmark", is_open=False):
            return
        tool = self._tool
        imgui.begin_disabled(tool.running)
        self._choices()
        imgui.end_disabled()
        if tool.running:
            self._progress()
        elif widgets.wide_button(
            "Measure",
            "Time frames in the background. The window makes no other pictures meanwhile, which would cost time.",
            share=0.6,
        ):
            tool.start()
        if not tool.running:
            imgui.same_line()
            imgui.begin_disabled(tool.result is None)
            if widgets.wide_button("Save CSV", "Save a line for each camera and mode to the folder for recordings."):
                tool.save()
            imgui.end_disabled()
        if tool.result is not None:
            self._result(tool.result)
        imgui.dummy(imgui.ImVec2(0.0, 0.0))

    def _choices(self) -> None:
        tool = self._tool
        names = list(SOURCES.values())
        tip = "From where: this view, a turn around the scene, cameras of the photos, or along the camera path."
        name = widgets.choice("Cameras", SOURCES[tool.source], names, tip)
        tool.source = next(source for source, shown in SOURCES.items() if shown == name)
        if tool.source != "view":
            tip = "How many cameras, evenly chosen."
            tool.count = round(widgets.slider("Number", float(tool.count), 2.0, float(LARGEST_COUNT), "%.0f", tip))
        tip = "All four: with and without ESS and ERT, as in table 2 of the KiloNeRF paper."
        name = widgets.choice("Modes", MODES[tool.all_modes], list(MODES.values()), tip)
        tool.all_modes = name == MODES[True]
        names = list(SIZES)
        tool.size = widgets.choice("Pictures", tool.size, names, "Size of the measured pictures in pixels.")

    def _progress(self) -> None:
        run = self._tool.run
        if run is None:
            return
        width = imgui.get_content_region_avail().x - 5.5 * imgui.get_font_size()
        text = f"{run.done} of {run.total} frames" if run.done else "finding a size"
        imgui.push_style_color(imgui.Col_.plot_histogram, theme.with_alpha(theme.ACCENT, 0.6))
        imgui.progress_bar(run.done / max(1, run.total), imgui.ImVec2(width, 0.0), text)
        imgui.pop_style_color()
        imgui.same_line()
        if widgets.wide_button("Cancel", actions.CANCEL.tooltip("Stop measuring")):
            self._tool.cancel()

    def _result(self, result: BenchmarkResult) -> None:
        plan = result.plan
        width, height = result.size
        imgui.push_text_wrap_pos(0.0)
        cameras = f"{len(plan.cameras)} camera{'s' * (len(plan.cameras) > 1)} ({plan.source})"
        imgui.text_disabled(f"{plan.name}, {width} x {height}, {cameras}, {result.device}")
        if result.full_seconds:
            full = f"{plan.cameras[0].width} x {plan.cameras[0].height}"
            text = f"Made smaller: {full} would take about {result.full_seconds / 60.0:.1f} minutes."
            imgui.text_colored(imgui.ImVec4(*theme.SELECTED), text)
        imgui.pop_text_wrap_pos()
        self._table(result)
        if len(plan.cameras) > 1:
            lines = [
                (mode_name(timing.options), [statistics.median(pose.ms) for pose in timing.poses])
                for timing in result.timings
            ]
            times_by_camera(lines, self._tool.target_fps)

    def _table(self, result: BenchmarkResult) -> None:
        flags = imgui.TableFlags_.borders_inner_h.value | imgui.TableFlags_.sizing_stretch_prop.value
        if not imgui.begin_table("benchmark", len(HEADINGS), flags):
            return
        for heading, tip in zip(HEADINGS, TIPS, strict=True):
            imgui.table_next_column()
            imgui.text_disabled(heading)
            if heading:
                widgets.tip(tip)
        slowest = max(timing.ms_median for timing in result.timings)
        for timing in result.timings:
            values = (
                f"{timing.ms_median:.1f}",
                f"{slowest / timing.ms_median:.1f} x",
                widgets.thousands(timing.evaluations),
                f"{timing.samples_per_ray:.2f}",
            )
            imgui.table_next_column()
            imgui.text_unformatted(mode_name(timing.options))
            low, high = min(timing.ms), max(timing.ms)
            widgets.tip(
                f"{len(timing.ms)} frames: {low:.1f} to {high:.1f} ms, {1000.0 / timing.ms_median:.1f} a second"
            )
            for value in values:
                imgui.table_next_column()
                imgui.text_unformatted(value)
        imgui.end_table()
