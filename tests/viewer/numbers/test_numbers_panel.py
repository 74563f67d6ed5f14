"""What is drawn: plots with axes and target, the table, the figures beside the samples; without a window."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from imgui_bundle import imgui, implot

from kilonerf.kernels import BackendChoice, FrameStatistics, RenderOptions
from kilonerf.kernels.measure.benchmark import PoseTiming, Timing, all_modes
from kilonerf.model_io import Camera
from kilonerf.viewer import theme
from kilonerf.viewer.numbers.benchmark import BenchmarkPlan, BenchmarkResult
from kilonerf.viewer.numbers.panel import NumbersPanel
from kilonerf.viewer.numbers.plots import frame_times, times_by_camera
from kilonerf.viewer.numbers.tool import SIZES
from kilonerf.viewer.panels.statistics_panel import _beside_samples


@pytest.fixture
def written(monkeypatch):
    """Every text that ImGui is given, newest last."""
    texts = []
    for name in ("text_unformatted", "text_disabled"):
        monkeypatch.setattr(imgui, name, texts.append)
    monkeypatch.setattr(imgui, "text_colored", lambda color, text: texts.append(text))
    return texts


@pytest.fixture
def plotted(monkeypatch):
    """Labels, limits and lines of the plots."""
    calls: dict[str, Any] = {"lines": {}}
    monkeypatch.setattr(implot, "setup_axes", lambda x, y: calls.update(labels=(x, y)))
    limits = implot.setup_axes_limits
    lines, reference = implot.plot_line, implot.plot_inf_lines

    def setup_axes_limits(*values):
        calls["limits"] = values[:4]
        limits(*values)

    def plot_line(name, places, values, **keywords):
        calls["lines"][name] = (places.copy(), values.copy())
        lines(name, places, values, **keywords)

    def plot_inf_lines(name, values, **keywords):
        calls["target"] = float(values[0])
        reference(name, values, **keywords)

    monkeypatch.setattr(implot, "setup_axes_limits", setup_axes_limits)
    monkeypatch.setattr(implot, "plot_line", plot_line)
    monkeypatch.setattr(implot, "plot_inf_lines", plot_inf_lines)
    return calls


def in_a_window(draw):
    def drawn():
        imgui.set_next_window_size(imgui.ImVec2(340.0, 900.0))
        imgui.begin("plots")
        draw()
        imgui.end()

    return drawn


def test_frame_times_have_axes_units_and_the_target(frames, plotted):
    theme.apply(1.0)
    times = np.array([10.0, 30.0, 20.0], np.float32)
    frames.frames(in_a_window(lambda: frame_times(times, 20.0)))
    assert plotted["labels"] == ("pictures ago", "ms")
    assert plotted["target"] == 50.0
    places, values = plotted["lines"]["times"]
    assert places.tolist() == [-2.0, -1.0, 0.0]
    assert values.tolist() == times.tolist()
    low, high, bottom, top = plotted["limits"]
    assert low <= -2.0
    assert (high, bottom) == (0.0, 0.0)
    assert top > 50.0  # the target is in sight


def test_pictures_of_a_fixed_size_have_no_target(frames, plotted):
    theme.apply(1.0)
    frames.frames(in_a_window(lambda: times_by_camera([("ESS", [4.0, 5.0]), ("Neither", [8.0, 9.0])], None)))
    assert "target" not in plotted
    assert plotted["labels"] == ("camera", "ms")
    assert set(plotted["lines"]) == {"ESS", "Neither"}
    assert plotted["limits"][:2] == (1.0, 2.0)


def tool(result):
    calls = []
    return SimpleNamespace(
        source="turntable", count=12, all_modes=True, size=next(iter(SIZES)), run=None, running=False, result=result,
        target_fps=20.0, calls=calls, start=lambda: calls.append("start"), save=lambda: calls.append("save"),
    )  # fmt: skip


def test_the_table_has_times_speedup_and_evaluations(frames, places, plotted, written, toy_scene):
    theme.apply(1.0)
    camera = Camera.look_at((3.0, 2.0, 1.0), (0.0, 0.0, 0.0), 800, 600)
    modes = tuple(all_modes(RenderOptions()))
    plan = BenchmarkPlan(toy_scene, "toy", BackendChoice("cpu"), (camera, camera), "turntable", modes)
    timings = [
        Timing(mode, (PoseTiming((ms,), {}, FrameStatistics(samples=480, evaluations=1000 * (k + 1), rays=240)),) * 2)
        for k, (mode, ms) in enumerate(zip(modes, (10.0, 20.0, 40.0, 80.0), strict=True))
    ]
    made = tool(BenchmarkResult(plan, tuple(timings), "AVX2", 0.5, 240.0))
    panel = NumbersPanel(made)  # type: ignore[arg-type]
    draw = in_a_window(panel.draw)
    frames.frames(draw)
    frames.click(draw, *places.at("Benchmark"))
    assert "toy, 400 x 300, 2 cameras (turntable), AVX2" in written
    assert "Made smaller: 800 x 600 would take about 4.0 minutes." in written
    first = written.index("ESS + ERT")
    assert written[first : first + 5] == ["ESS + ERT", "10.0", "8.0 x", "1.0 k", "2.00"]
    last = written.index("Neither")
    assert written[last : last + 4] == ["Neither", "80.0", "1.0 x", "4.0 k"]
    assert set(plotted["lines"]) == {"ESS + ERT", "ESS only", "ERT only", "Neither"}
    frames.click(draw, *places.at("Measure"))
    frames.click(draw, *places.at("Save CSV"))
    assert made.calls == ["start", "save"]


def test_evaluations_are_shown_where_they_differ_from_samples():
    equal = FrameStatistics(samples=1000, evaluations=1000, rays=400, rays_hit=100)
    assert _beside_samples(equal)[:2] == ("Rays hit", "25%")
    name, value, tip = _beside_samples(FrameStatistics(samples=1000, evaluations=1100, rays=400, rays_hit=100))
    assert (name, value) == ("In vain", "100")
    assert "10.0% more" in tip
