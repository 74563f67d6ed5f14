"""kilonerf-bench: its protocol with a fake renderer and clock, its output with the real one."""

import functools
import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from kilonerf.commands import bench as bench_command
from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure.benchmark import Protocol, all_modes, measure
from kilonerf.kernels.measure.machine import parse_cpuinfo, program_commit, this_machine
from kilonerf.model_io import Camera, load_scene, save_scene
from kilonerf.model_io.camera.turntable import turntable_cameras
from support.fake_renderer import FakeRenderer
from support.scenes import nested_scene

QUICK = ("--size", "40x30", "--cooldown", "0", "--frames", "2", "--dropped", "1", "--views", "3")
MODES = [(True, True), (True, False), (False, True), (False, False)]


@pytest.fixture
def call(call_command):
    return functools.partial(call_command, bench_command.main)


def test_the_protocol_rests_before_each_pose_and_drops_the_first_frames(toy_scene):
    renderer = FakeRenderer(toy_scene)
    cameras = [Camera.look_at((3 + k, 0, 0), (0, 0, 0), 8, 8) for k in range(2)]
    events = []
    # Two readings around each frame: two dropped frames, then 100, 300 and 200 ms; the same for the second pose.
    seconds = np.cumsum([0.0, 0.9, 5.0, 0.8, 5.0, 0.1, 5.0, 0.3, 5.0, 0.2])
    readings = iter([*seconds, *(seconds + 60.0)])
    clock = functools.partial(next, readings)
    render = renderer.render
    renderer.render = lambda camera, options: (events.append(camera), render(camera, options))[1]  # type: ignore
    protocol = Protocol(frames=3, dropped=2, cooldown=3.0)
    (timing,) = measure(renderer, cameras, [RenderOptions()], protocol, clock=clock, sleep=events.append)
    assert events == [3.0, *[cameras[0]] * 5, 3.0, *[cameras[1]] * 5]
    np.testing.assert_allclose(timing.ms, [100.0, 300.0, 200.0] * 2)
    assert timing.ms_median == pytest.approx(200.0)
    # The fake frame k takes 2 + k ms to march: 2, 3, 4 -> 5 and 7, 8, 9 -> 10 are the medians of the poses.
    assert timing.stages_ms == {"march": pytest.approx((5.0 + 10.0) / 2), "networks": 3.0}


def test_modes_of_a_pose_are_measured_side_by_side(toy_scene):
    renderer = FakeRenderer(toy_scene)
    cameras = [Camera.look_at((3 + k, 0, 0), (0, 0, 0), 8, 8) for k in range(2)]
    timings = measure(renderer, cameras, all_modes(RenderOptions()), Protocol(1, 0, 0.0), sleep=lambda seconds: None)
    assert [(o.ess, o.ert) for o in renderer.options] == MODES * 2
    assert renderer.cameras == [cameras[0]] * 4 + [cameras[1]] * 4
    assert [timing.samples for timing in timings] == [1000, 4000, 10000, 40000]
    assert [timing.evaluations for timing in timings] == [1007, 4007, 10007, 40007]


def test_json_has_what_programs_need(call, scene_file, tmp_path):
    code, printed, complaints = call(scene_file, *QUICK, "--json", "-o", tmp_path / "bench.json", "--threads", 1)
    assert (code, complaints) == (0, "")
    result = json.loads(printed)
    assert json.loads((tmp_path / "bench.json").read_text()) == result
    assert 0 < result["ms_min"] <= result["ms_median"] <= result["ms_max"]
    assert result["backend"] == "cpu"
    assert "1 thread" in result["device"]
    assert result["size"] == [40, 30]
    assert result["poses"] == {"source": "ring", "count": 3}
    assert result["stages_ms"]
    assert result["commit"] == program_commit()
    assert result["machine"]["cores"] >= 1
    assert [len(pose["ms"]) for pose in result["per_pose"]] == [2, 2, 2]
    assert result["evaluations"] >= result["samples"] > 0
    assert result["evaluations_by_level"] == [result["evaluations"]]
    assert "modes" not in result


def test_evaluations_are_told_by_level(call, tmp_path):
    save_scene(nested_scene(), tmp_path / "nested.knf")
    code, printed, _ = call(tmp_path / "nested.knf", *QUICK, "--json", "-o", tmp_path / "bench.json", "--flying")
    assert code == 0
    levels = json.loads(printed)["evaluations_by_level"]
    assert len(levels) == 3
    assert min(levels) > 0
    assert sum(levels) == pytest.approx(json.loads(printed)["evaluations"], abs=2)
    code, printed, _ = call(tmp_path / "nested.knf", *QUICK, "--flying")
    assert f"evaluations by level of the first row: {levels[0]:,}, {levels[1]:,}, {levels[2]:,}" in printed


def test_the_named_code_path_is_measured(call, scene_file):
    code, printed, _ = call(scene_file, *QUICK, "--json", "--cpu-path", "baseline", "--threads", 1)
    assert code == 0
    device = json.loads(printed)["device"]
    assert device.startswith("baseline")
    assert device.endswith(", 1 thread")


def test_all_modes_count_the_samples_that_the_reference_counts(call, scene_file):
    code, printed, _ = call(scene_file, *QUICK, "--all-modes", "--json")
    assert code == 0
    modes = json.loads(printed)["modes"]
    assert [(mode["ess"], mode["ert"]) for mode in modes] == MODES
    scene = load_scene(scene_file)
    reference = create_renderer(scene, "reference")
    ring = turntable_cameras(scene, 3, 40, 30)
    for mode in modes:
        options = RenderOptions.as_trained(scene, ess=mode["ess"], ert=mode["ert"])
        expected = np.mean([reference.render(camera, options).statistics.samples for camera in ring])
        assert mode["samples"] == pytest.approx(expected, rel=2e-3)
    assert json.loads(printed)["samples"] == modes[0]["samples"]


def test_the_table_shows_all_four_modes_within_80_columns(call, scene_file, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, printed, _ = call(scene_file, *QUICK, "--all-modes")
    assert code == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if line.startswith("│")]
    assert [row[:2] for row in rows] == [["on", "on"], ["on", "off"], ["off", "on"], ["off", "off"]]
    counts = [int(row[6].replace(",", "")) for row in rows]
    assert counts[0] < counts[1] <= counts[3]
    assert "…" not in printed


def test_training_poses_come_before_the_ring_and_given_poses_before_both(call, toy_scene, tmp_path, fake_renderers):
    poses = np.stack([Camera.look_at((3, k, 1), (0, 0, 0), 8, 8).matrix for k in range(6)]).astype(np.float32)
    save_scene(replace(toy_scene, training_poses=poses), tmp_path / "toy.knf")
    call(tmp_path / "toy.knf", *QUICK)
    np.testing.assert_allclose([c.matrix for c in fake_renderers[0].cameras[::3]], poses[::2], atol=1e-6)
    assert fake_renderers[0].cameras[0].fov_y == pytest.approx(toy_scene.start_camera.fov_y)
    frames = [{"file_path": "r_0", "transform_matrix": poses[5].tolist()}]
    (tmp_path / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": frames}))
    call(tmp_path / "toy.knf", *QUICK, "--poses", tmp_path / "transforms.json", "--flying")
    assert len(fake_renderers[1].cameras) == 3
    np.testing.assert_allclose(fake_renderers[1].cameras[0].matrix, poses[5], atol=1e-6)
    assert fake_renderers[1].options[0].near is None
    assert fake_renderers[0].options[0].near == 2.0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--size", "8x"], "--size"),
        (["--frames", "0"], "--frames"),
        (["--views", "0"], "--views"),
        (["--dropped", "-1"], "--dropped"),
        (["--cooldown", "nan"], "--cooldown"),
        (["--cooldown", "-1"], "--cooldown"),
        (["--poses", "none.json"], "none.json"),
        (["--backend", "opal"], "backend 'opal'"),
        (["--cpu-path", "opal"], "one that this machine has ("),
        (["-o", "/proc/none/bench.json"], "cannot write"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(call, scene_file, arguments, says):
    code, printed, complaints = call(scene_file, *arguments)
    assert (code, printed, complaints.count("\n")) == (2, "", 1)
    assert says in complaints


def test_processors_are_read_from_cpuinfo():
    x86 = "processor\t: 0\nmodel name\t: A Processor  \nflags\t\t: fpu avx2 fma avx512f amx_tile amx_bf16 xyz\n\n" * 2
    assert parse_cpuinfo(x86) == ("A Processor", ("avx2", "fma", "avx512f", "amx_tile", "amx_bf16"))
    assert parse_cpuinfo("processor : 0\nFeatures : fp asimd sve\n") == ("", ("asimd", "sve"))
    assert parse_cpuinfo("") == ("", ())
    assert this_machine().cpu


def test_the_commit_is_that_of_the_checkout_and_of_no_other_repository(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "other.txt").write_text("a")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert program_commit(tmp_path).startswith("version ")
    (tmp_path / "pyproject.toml").write_text("a")
    git("add", ".")
    git("commit", "-q", "-m", "second")
    git("tag", "v1")
    assert program_commit(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "other.txt").write_text("b")
    assert program_commit(tmp_path) == git("rev-parse", "HEAD") + "-dirty"
