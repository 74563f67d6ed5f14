"""The benchmark of the window: by itself with fake renderers, and in the window under Xvfb."""

import csv
import shutil

import numpy as np
import pytest

from kilonerf.kernels import BackendChoice, FrameStatistics, RenderOptions
from kilonerf.kernels.measure.benchmark import PoseTiming, Timing, all_modes
from kilonerf.model_io import BackendError, Camera, CameraPath
from kilonerf.viewer.numbers.benchmark import (
    PROTOCOL,
    SMALLER,
    BenchmarkPlan,
    BenchmarkResult,
    BenchmarkRun,
    affordable_scale,
    mode_name,
)
from support.driving import Driver
from support.fake_renderer import MadeRenderers
from support.gated_renderer import GatedRenderer

CAMERAS = tuple(Camera.look_at((3.0, y, 1.0), (0.0, 0.0, 0.0), 160, 120) for y in (0.0, 1.0))
needs_window = pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")


def plan(scene, cameras=CAMERAS):
    modes = tuple(all_modes(RenderOptions()))
    return BenchmarkPlan(scene, "toy", BackendChoice("cpu"), cameras, "turntable", modes)


def finished(run):
    run.join()
    assert run.outcome is not None
    return run.outcome


def test_four_modes_at_each_camera(toy_scene):
    made, woken = MadeRenderers(), []
    run = BenchmarkRun(plan(toy_scene), made.create, lambda: woken.append(True))
    result = finished(run)
    assert isinstance(result, BenchmarkResult)
    assert [mode_name(timing.options) for timing in result.timings] == ["ESS + ERT", "ESS only", "ERT only", "Neither"]
    assert [timing.samples for timing in result.timings] == [1000, 4000, 10_000, 40_000]
    assert [timing.evaluations for timing in result.timings] == [1007, 4007, 10_007, 40_007]
    assert run.done == run.total == 2 * 4 * (PROTOCOL.frames + PROTOCOL.dropped)
    assert (result.scale, result.size, woken) == (1.0, (160, 120), [True])
    assert len(made) == 1


def test_the_file_has_a_line_for_each_camera_and_mode(toy_scene):
    statistics = FrameStatistics(samples=10, evaluations=12, rays=19_200, rays_hit=5)
    pose = PoseTiming((3.0, 1.0, 2.5), {}, statistics)
    timings = tuple(Timing(options, (pose, pose)) for options in all_modes(RenderOptions()))
    result = BenchmarkResult(plan(toy_scene), timings, "AVX2 int16, 2 threads")
    rows = list(csv.DictReader(result.csv().splitlines()))
    assert len(rows) == 8
    assert {(row["ess"], row["ert"], row["camera"]) for row in rows} == {
        (ess, ert, camera) for ess in "01" for ert in "01" for camera in "12"
    }
    first = rows[0]
    assert (first["ms_median"], first["ms_min"], first["ms_max"]) == ("2.500", "1.000", "3.000")
    assert (first["samples"], first["evaluations"], first["rays"], first["rays_hit"]) == ("10", "12", "19200", "5")
    assert first["device"] == "AVX2 int16, 2 threads"
    assert (first["width"], first["height"]) == ("160", "120")


@pytest.mark.parametrize(
    ("seconds", "scale"), [(1.0, 1.0), (60.0, 1.0), (61.0, 0.75), (240.0, 0.5), (1e9, SMALLER[-1])]
)
def test_what_would_take_minutes_is_made_smaller(seconds, scale):
    assert affordable_scale(seconds) == scale


def test_the_probe_decides_the_size_of_all_modes(toy_scene, monkeypatch):
    from kilonerf.viewer.numbers import benchmark

    made = MadeRenderers()
    monkeypatch.setattr(benchmark.BenchmarkRun, "_probed", lambda self, renderer: 200.0)
    result = finished(BenchmarkRun(plan(toy_scene), made.create, lambda: None))
    assert isinstance(result, BenchmarkResult)
    assert (result.scale, result.size, result.full_seconds) == (0.5, (80, 60), 200.0)
    assert {(camera.width, camera.height) for camera in made[0].cameras} == {(80, 60)}


@pytest.mark.parametrize(("seconds", "sizes"), [(0.0, [20]), (0.05, [20, 40]), (30.0, [20])])
def test_probes_are_small_and_larger_only_where_that_is_quick(toy_scene, monkeypatch, seconds, sizes):
    """``seconds`` for a frame of any size: a probe of 20 columns overrates the full picture by 64 times."""
    from kilonerf.viewer.numbers import benchmark

    made, probed = MadeRenderers(), []

    def measured(renderer, cameras, modes, protocol, **_):
        probed.extend(camera.width for camera in cameras)
        return [Timing(mode, (PoseTiming((1000.0 * seconds,), {}, FrameStatistics()),)) for mode in modes]

    monkeypatch.setattr(benchmark, "measure", measured)
    finished(BenchmarkRun(plan(toy_scene), made.create, lambda: None))
    assert probed == [*sizes, *[round(160 * affordable_scale(seconds * 4 * 8 * (160 / sizes[-1]) ** 2))] * 2]


def test_it_is_cancelled_in_the_middle_of_a_frame(toy_scene):
    made = MadeRenderers()
    made.prepare = lambda renderer: setattr(renderer, "block_at", 12)
    run = BenchmarkRun(plan(toy_scene), made.create, lambda: None)
    while not made:
        pass
    assert made[0].blocked.wait(20.0)
    run.cancel()
    assert finished(run) == ""


def test_a_failure_is_a_message(toy_scene):
    def fail(scene, backend):
        raise BackendError("backend 'cuda': no device")

    assert finished(BenchmarkRun(plan(toy_scene), fail, lambda: None)) == "backend 'cuda': no device"


@needs_window
def test_the_window_measures_waits_and_saves(driver, tmp_path):
    numbers = driver.app.numbers
    numbers.start()
    driver.steps(1)
    assert numbers.running
    assert not driver.app.settled
    driver.until(lambda: not numbers.running)
    result = numbers.result
    camera = driver.app.view.shown.request.shot.camera
    assert result.size == (camera.width, camera.height)
    assert [mode_name(timing.options) for timing in result.timings] == ["ESS + ERT", "ESS only", "ERT only", "Neither"]
    assert result.timings[0].samples < result.timings[3].samples
    numbers.save()
    rows = list(csv.DictReader((tmp_path / "benchmark_001.csv").read_text().splitlines()))
    assert [row["samples"] for row in rows] == [str(round(timing.samples)) for timing in result.timings]


@needs_window
def test_cameras_of_all_sources(driver, toy_scene):
    numbers, camera = driver.app.numbers, driver.app.view.shown.request.camera
    numbers.count, numbers.size = 5, "1280 x 720"
    for source in ("turntable", "path", "photos"):
        numbers.source = source
        if source == "path":
            assert numbers.plan(toy_scene, None, camera) is None
            driver.app.camera_path.editor.load(CameraPath.from_cameras([2.0, 3.0], CAMERAS))
        made = numbers.plan(toy_scene, None, camera)
        if source == "photos":
            assert made is None
            continue
        assert len(made.cameras) == 5
        assert {(one.width, one.height) for one in made.cameras} == {(1280, 720)}
        if source == "path":
            np.testing.assert_allclose(made.cameras[0].position, CAMERAS[0].position, atol=1e-6)
            np.testing.assert_allclose(made.cameras[-1].position, CAMERAS[1].position, atol=1e-6)


@pytest.mark.slow
@needs_window
def test_the_windows_own_pictures_wait_and_escape_cancels(toy_scene, tmp_path):
    made = []

    def make(scene, backend):
        made.append(GatedRenderer(scene, backend, seconds=0.0 if not made else 0.5))
        return made[-1]

    with Driver(tmp_path, toy_scene, make_renderer=make) as driver:
        driver.app.numbers.start()
        driver.until(lambda: driver.app.numbers.run is not None and driver.app.numbers.run.done > 0)
        before = len(made[0].started)
        driver.drag((250, 300), (400, 340))
        assert len(made[0].started) == before
        driver.press("Escape")
        driver.until(lambda: not driver.app.numbers.running)
        assert driver.app.notices.log[-1].text == "Measuring cancelled"
        driver.settle()
        assert len(made[0].started) > before


@pytest.mark.slow
@needs_window
def test_a_full_folder_is_a_message(driver, tmp_path):
    driver.app.numbers.start()
    driver.steps(1)
    driver.until(lambda: not driver.app.numbers.running)
    driver.app.recording.folder = tmp_path / "gone"
    driver.app.numbers.save()
    assert "Cannot save the benchmark" in driver.app.notices.log[-1].text


@needs_window
def test_without_a_scene_there_is_nothing_to_measure(tmp_path):
    with Driver(tmp_path) as driver:
        driver.app.numbers.start()
        driver.steps(2)
        assert not driver.app.numbers.running
