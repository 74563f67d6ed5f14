"""The CPU benchmark: turns, summaries, synthetic scenes, and its sections on a small scene. No test depends on time."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.performance import __main__ as performance
from benchmarks.performance import processes, sections
from benchmarks.performance.measure import FrameTime, SectionSkipped, Setup, measure_frames, summary
from benchmarks.performance.nerf_baseline import DTYPES, Setting, encode, layer_sizes, network, seconds_for
from benchmarks.performance.scenes import random_networks
from kilonerf.kernels import RenderOptions
from kilonerf.kernels.cpu.paths import available_cpu_paths
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.model_io import Camera


@pytest.fixture
def setup(toy_scene, scene_file):
    return Setup(scene_file, toy_scene, threads=2, views=2, rounds=1, size=40)


def frame(ms: float, march: float, evaluations: int = 10) -> FrameTime:
    return FrameTime(ms, {"march": march}, evaluations, evaluations)


def test_jobs_take_turns_and_the_first_turn_does_not_count(setup):
    order = []
    jobs = {name: lambda name=name: (order.append(name), len(order))[1] for name in "ab"}
    assert setup.take_turns(jobs, 2) == {"a": [3, 5], "b": [4, 6]}
    assert order == list("ababab")


def test_a_summary_is_the_mean_of_the_views_medians():
    views = [[frame(10, 1), frame(30, 5), frame(11, 2)], [frame(20, 4, 30), frame(22, 3, 30), frame(90, 9, 30)]]
    found = summary(views)
    assert found["ms"] == pytest.approx((11 + 22) / 2)
    assert found["ms_min"] == pytest.approx((10 + 20) / 2)
    assert found["ms_max"] == pytest.approx((30 + 90) / 2)
    assert found["stages_ms"] == {"march": pytest.approx((2 + 4) / 2)}
    assert found["evaluations"] == 20


def test_each_configuration_has_its_own_frames_and_others_run_among_them(setup):
    renderer = CpuRenderer(setup.scene, threads=1)
    options = RenderOptions.as_trained(setup.scene)
    far = replace(options, ert=False)
    cameras = setup.cameras()
    times, others = measure_frames(
        setup, {"near": (renderer, options, cameras), "all": (renderer, far, cameras)}, {"other": lambda: 7.0}, rounds=3
    )
    for name, made in (("near", options), ("all", far)):
        expected = [renderer.render(camera, made).statistics.evaluations for camera in cameras]
        assert times[name]["evaluations"] == pytest.approx(np.mean(expected))
    assert times["near"]["evaluations"] < times["all"]["evaluations"]
    assert others == {"other": [7.0] * 3}


def test_cameras_are_the_training_poses_or_a_ring(setup):
    poses = np.stack([Camera.look_at((3, k, 1), (0, 0, 0), 8, 8).matrix for k in range(4)]).astype(np.float32)
    of_poses = replace(setup, scene=replace(setup.scene, training_poses=poses)).cameras(30)
    assert [(camera.width, camera.height) for camera in of_poses] == [(30, 30)] * 2
    np.testing.assert_allclose([camera.matrix for camera in of_poses], poses[::2], atol=1e-6)
    assert len({camera.position.tobytes() for camera in setup.cameras(views=3)}) == 3


def test_grids_of_random_networks_take_the_same_samples(toy_scene, monkeypatch):
    monkeypatch.setattr("benchmarks.performance.scenes.OCCUPANCY", 32)
    scenes = [random_networks(toy_scene, cells) for cells in (1, 4, 8)]
    assert [scene.resolution for scene in scenes] == [(1, 1, 1), (4, 4, 4), (8, 8, 8)]
    assert scenes[0].num_networks == 1 < scenes[1].num_networks < scenes[2].num_networks
    assert toy_scene.occupancy.mean() == pytest.approx(scenes[0].occupancy.mean(), abs=0.1)
    counts = set()
    points = toy_scene.box_min + np.random.default_rng(1).random((500, 3)) * (toy_scene.box_max - toy_scene.box_min)
    for scene in scenes:
        rgb, density = CpuRenderer(scene, path="baseline").query(points, np.broadcast_to((0, 0, 1), points.shape))
        assert set(np.unique(density)) == {0.0, 100.0}
        assert rgb[density > 0].std(axis=0).min() > 0.01
        assert np.array_equal(scene.occupancy, scenes[0].occupancy)
        frame = CpuRenderer(scene, path="baseline").render(toy_scene.start_camera, RenderOptions.as_trained(scene))
        counts.add(frame.statistics.samples)
    assert len(counts) == 1
    assert counts.pop() > 100
    with pytest.raises(ValueError, match="divisor of 32, got 5"):
        random_networks(toy_scene, 5)


def test_multiply_adds_counted_by_hand():
    assert sections.AS_TRAINED == 63 * 32 + 32 * 32 + 32 + 32 * 32 + 59 * 32 + 32 * 3 == 6080
    assert sections.FOLDED == 5056
    assert sections.FITTED == 4192


def test_every_path_is_compared_with_a_kind_that_its_machine_has():
    from kilonerf.kernels import _cpu

    kinds = _cpu.matrix_kinds()
    for path in available_cpu_paths():
        kind = sections.peak_kind(path.name, kinds)
        assert kind in kinds
        assert kind.startswith(path.precision)


@pytest.mark.slow
def test_sections_of_frames_measure_every_path(setup):
    found = sections.frames(setup)
    assert [path["name"] for path in found["paths"]] == [path.name for path in available_cpu_paths()]
    for path in found["paths"]:
        assert path["ratio"] == pytest.approx(path["ms"] / path["networks_alone_ms"])
        assert path["evaluations"] > 100
        assert (path["psnr_to_baseline"] is None) == (path["precision"] == "float32")
        assert path["psnr_to_baseline"] is None or path["psnr_to_baseline"] > 30.0
    found = sections.networks(setup)
    for path in found["paths"]:
        assert [run["threads"] for run in path["threads"]] == [1, 2]
        for run in path["threads"]:
            assert run["share"] == pytest.approx(run["samples_per_s"] * path["multiply_adds"] / run["peak_per_s"])
    assert set(found["peaks"]) >= {path["kind"] for path in found["paths"]}


@pytest.mark.parametrize(("cores", "counts"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8])])
def test_threads_go_up_in_powers_of_two_to_all(setup, cores, counts):
    found = sections.threads(replace(setup, threads=cores))["counts"]
    assert [run["threads"] for run in found] == counts
    assert found[0]["speedup"] == 1.0
    assert found[-1]["speedup"] == pytest.approx(found[0]["ms"] / found[-1]["ms"])


def test_more_pixels_and_more_samples_are_more_evaluations(setup, monkeypatch):
    monkeypatch.setattr(sections, "SIZES", (20, 40))
    monkeypatch.setattr(sections, "SAMPLES", (24, 96))
    monkeypatch.setattr(sections, "GRIDS", (4, 8))
    found = sections.scaling(setup)
    for group in ("sizes", "samples"):
        few, many = found[group]
        assert many["evaluations"] > 2 * few["evaluations"]
        assert few["ns_per_evaluation"] == pytest.approx(1e6 * few["ms"] / few["evaluations"])
    assert [run["cells"] for run in found["grids"]] == [4, 8]


@pytest.mark.skipif(not processes.STATUS.exists(), reason="needs Linux's /proc")
def test_memory_counts_the_frame_at_least(setup):
    found = sections.memory(replace(setup, size=1000))
    assert found["scene_bytes"] == setup.scene_path.stat().st_size
    assert found["used_bytes"] == found["peak_bytes"] - found["before_bytes"] >= 1000 * 1000 * 20
    with pytest.raises(SectionSkipped, match="no start camera"):
        sections.memory(replace(setup, scene=replace(setup.scene, start_camera=None)))


def test_a_profile_is_read_function_by_function():
    tab = "\t"
    text = f"""# Overhead{tab}Shared Object{tab}Symbol
 60.50% {tab}_cpu.cpython-311.so {tab}[.] knf::avx2::evaluate(knf::Network const&) {tab}-      -
 20.00% {tab}_cpu.cpython-311.so {tab}[.] knf::avx2::render_tile {tab}-      -
 1.50%  {tab}_cpu.cpython-311.so {tab}[.] 0x000000000001de9d {tab}-      -
 0.50%  {tab}_cpu.cpython-311.so {tab}[.] 0x000000000001dead {tab}-      -
 10.00% {tab}libpython3.11.so.1.0 {tab}[.] _PyEval_EvalFrameDefault {tab}-      -
 7.50%  {tab}[kernel.kallsyms] {tab}[k] clear_page_erms {tab}-      -
"""
    found = {entry["name"]: round(entry["share"], 6) for entry in processes.parse_report(text)}
    assert found == {
        "knf::avx2::evaluate": 0.605,
        "knf::avx2::render_tile": 0.2,
        processes.ELSEWHERE: 0.175,
        processes.OTHER_FUNCTIONS: 0.02,
    }
    with pytest.raises(SectionSkipped, match="saw nothing"):
        processes.parse_report(text.replace("_cpu.", "other."))


def test_what_is_missing_is_said(setup, monkeypatch):
    monkeypatch.setattr("benchmarks.performance.processes.shutil.which", lambda name: None)
    with pytest.raises(SectionSkipped, match="perf is not installed"):
        sections.profile(setup)
    monkeypatch.setattr(sections, "torch_is_installed", lambda: False)
    with pytest.raises(SectionSkipped, match="torch is not installed"):
        sections.speedup(setup)
    with pytest.raises(SectionSkipped, match=r"the process that was measured failed: .*no such thing"):
        processes._python("raise SystemExit('no such thing')")


def test_sections_end_as_done_skipped_or_failed_and_each_is_saved(setup):
    def skipped(setup):
        raise SectionSkipped("no torch")

    def failed(setup):
        raise ZeroDivisionError("by\nzero")

    saved, results = [], {"kept": {"status": "done"}}
    chosen = {"good": lambda setup: {"value": setup.size}, "skipped": skipped, "failed": failed}
    names = performance.run_sections(results, chosen, setup, "c0", lambda: saved.append(set(results)))
    assert names == ["failed"]
    assert saved == [{"kept", "good"}, {"kept", "good", "skipped"}, {"kept", "good", "skipped", "failed"}]
    assert results["good"] == {**results["good"], "status": "done", "value": 40, "commit": "c0"}
    assert results["skipped"]["reason"] == "no torch"
    assert results["failed"]["reason"] == "ZeroDivisionError: by zero"


def test_only_this_machines_results_are_kept_and_only_this_commits_are_done(tmp_path):
    machine = performance.machine_facts()
    file = tmp_path / "results.json"
    assert performance.read_sections(file, machine) == {}
    file.write_text(json.dumps({"machine": machine, "sections": {"a": {"status": "done"}}}))
    assert performance.read_sections(file, {**machine, "os": "2"}) == {"a": {"status": "done"}}
    assert performance.read_sections(file, {**machine, "cores": machine["cores"] + 1}) == {}
    done = {"status": "done", "commit": "c1"}
    assert performance.is_done(done, "c1")
    assert performance.is_done(done, "c1-dirty")
    assert not performance.is_done(done, "c2")
    assert not performance.is_done({**done, "status": "failed"}, "c1")
    assert not performance.is_done(None, "c1")


def test_the_command_measures_writes_and_says_what_is_wrong(scene_file, tmp_path, call_command, monkeypatch):
    output = tmp_path / "out.json"
    arguments = ("--scene", scene_file, "--output", output, "--rounds", 1, "--views", 1, "--no-page")
    code, printed, _ = call_command(performance.main, *arguments, "--only", "memory")
    assert code == 0
    assert json.loads(output.read_text())["sections"]["memory"]["status"] in ("done", "skipped")
    assert "memory: " in printed
    code, printed, complaints = call_command(performance.main, "--scene", tmp_path / "none.knf", "--no-page")
    assert (code, complaints.count("\n")) == (2, 1)
    assert "none.knf" in complaints
    page = Path(tmp_path / "page.md")
    page.write_text("<!-- performance: opal -->\n<!-- performance: end -->\n")
    monkeypatch.setattr(performance, "PAGE", page)
    code, _, complaints = call_command(performance.main, "--page-only")
    assert (code, "marker 'opal'" in complaints) == (2, True)


def test_nerf_is_of_the_papers_size():
    assert sum(inputs * outputs for inputs, outputs in layer_sizes()) == 593_408
    assert sum((inputs + 1) * outputs for inputs, outputs in layer_sizes()) == 595_844  # as in NeRF's own code


@pytest.mark.parametrize("dtype", DTYPES)
def test_nerf_is_evaluated(dtype):
    torch = pytest.importorskip("torch")
    x = torch.tensor([[0.1, -0.2, 0.3]])
    encoded = encode(x, 10)
    angles = np.outer(2.0 ** np.arange(10), x[0]).ravel()
    assert encoded.shape == (1, 63)
    np.testing.assert_allclose(encoded[0, :3], x[0])
    np.testing.assert_allclose(encoded[0, 3:33], np.sin(angles), atol=1e-5)
    np.testing.assert_allclose(encoded[0, 33:], np.cos(angles), atol=1e-5)
    kind = getattr(torch, dtype)
    found = network(dtype)(torch.rand(5, 63).to(kind), torch.rand(5, 27).to(kind))
    assert (found.shape, found.dtype) == ((5, 4), kind)
    assert seconds_for(Setting(dtype, 64), 100, 1) > 0
