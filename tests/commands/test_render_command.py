"""kilonerf-render from its command line to its files, with the real backend and a small scene."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest
from PIL import Image

from kilonerf.commands import render as render_command
from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.model_io import Camera, CameraPath, load_scene

SIZE = ["--size", "32x24"]


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def call(call_command):
    return functools.partial(call_command, render_command.main)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def write_transforms(file, count=3, **changes):
    poses = [Camera.look_at((3 + k, 2, 1), (0, 0, 0), 8, 8).matrix.tolist() for k in range(count)]
    frames = [{"file_path": f"./test/r_{k}", "transform_matrix": pose} for k, pose in enumerate(poses)]
    file.write_text(json.dumps({"camera_angle_x": 0.7, "frames": frames} | changes))
    return file


def test_a_turntable_is_a_loop_of_seconds_times_fps_frames(call, scene_file, out):
    code, printed, complaints = call(scene_file, "--turntable", 0.5, "--fps", 24, *SIZE, "-o", out / "turn.webm")
    assert (code, complaints) == (0, "")
    assert re.fullmatch(r".*turn\.webm: 12 frames in .* s \(.+\)\n", printed)
    with av.open(str(out / "turn.webm")) as video:
        assert len(list(video.decode(video=0))) == 12
    assert names(out) == ["turn.webm"]


def test_poses_render_as_trained_exactly_as_the_renderer_does(call, scene_file, out, tmp_path):
    poses = write_transforms(tmp_path / "transforms_test.json")
    assert call(scene_file, "--poses", poses, *SIZE, "-o", out / "f_%02d.png", "--backend", "reference")[0] == 0
    assert names(out) == ["f_00.png", "f_01.png", "f_02.png"]
    scene = load_scene(scene_file)
    fx = 16 / np.tan(0.35)
    camera = Camera.from_matrix(Camera.look_at((4, 2, 1), (0, 0, 0), 8, 8).matrix, 32, 24, fx=fx, cx=16.5, cy=12.5)
    expected = create_renderer(scene, "reference").render(camera, RenderOptions.as_trained(scene)).to_rgb8()
    assert expected.std() > 5
    np.testing.assert_array_equal(np.asarray(Image.open(out / "f_01.png")), expected)


def test_a_path_renders_flying_and_a_single_frame_takes_a_plain_name(call, scene_file, out, tmp_path):
    ends = [Camera.look_at(eye, (0, 0, 0), 8, 8) for eye in ((1.2, 0.9, 0.7), (0.9, 1.2, 0.7))]
    path = CameraPath.from_cameras([0.0, 1.0], ends)
    path.save(tmp_path / "path.json")
    arguments = (scene_file, "--path", tmp_path / "path.json", *SIZE, "--fps", 10, "--frames", "10")
    assert call(*arguments, "-o", out / "last.png", "--no-ert")[0] == 0
    scene = load_scene(scene_file)
    renderer = create_renderer(scene)
    camera = path.camera_at(1.0, 32, 24)
    flying = renderer.render(camera, RenderOptions(ert=False)).to_rgb8()
    np.testing.assert_array_equal(np.asarray(Image.open(out / "last.png")), flying)
    assert not np.array_equal(renderer.render(camera, RenderOptions.as_trained(scene, ert=False)).to_rgb8(), flying)


def test_a_code_path_can_be_forced_and_a_wrong_one_writes_nothing(call, scene_file, out, fake_renderers):
    arguments = (scene_file, "--turntable", 1, "--fps", 1, *SIZE, "-o", out / "f.png")
    code, printed, complaint = call(*arguments, "--cpu-path", "sse9")
    assert (code, printed, complaint.count("\n"), names(out)) == (2, "", 1, [])
    assert "one that this machine has (" in complaint
    assert call(*arguments, "--cpu-path", "baseline")[0] == 0
    assert [renderer.cpu_path for renderer in fake_renderers] == ["baseline"]


def test_resume_leaves_what_is_there(call, scene_file, out):
    (out / "f_1.png").write_bytes(b"kept")
    arguments = (scene_file, "--turntable", 1, "--fps", 4, *SIZE, "-o", out / "f_%d.png", "--frames", "1:3")
    assert call(*arguments, "--resume")[0] == 0
    assert names(out) == ["f_1.png", "f_2.png"]
    assert (out / "f_1.png").read_bytes() == b"kept"
    assert call(*arguments)[0] == 0
    assert (out / "f_1.png").read_bytes() != b"kept"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--turntable", "1", "--size", "8x"], "--size: expected WIDTHxHEIGHT"),
        (["--turntable", "1", "--frames", "20:40"], "--frames: expected A:B within 0:30"),
        (["--turntable", "1", "--fps", "0"], "--fps"),
        (["--turntable", "1", "--fps", "nan"], "--fps"),
        (["--turntable", "0"], "--turntable"),
        (["--turntable", "nan"], "--turntable"),
        (["--turntable", "inf"], "at most 1000000 frames"),
        (["--turntable", "1", "--quality", "101"], "--quality"),
        (["--turntable", "1", "--resume"], "--resume"),
        (["--turntable", "1", "--backend", "opal"], "backend 'opal'"),
        (["--turntable", "1", "--codec", "vp9"], "holds h264 or av1, got vp9"),
        (["--turntable", "1", "--as-trained", "--flying"], "expected one of them"),
        (["--turntable", "1", "-o", "{out}/a.gif"], "expected a name ending in .mp4, .webm, .png, got '.gif'"),
        (["--turntable", "1", "-o", "{out}/a.png"], "such as frame_%04d.png for 30 frames"),
        (["--turntable", "1", "-o", "{out}/none/a.mp4"], "expected an existing folder"),
        (["--turntable", "1", "-o", "/proc/a.mp4"], "cannot write"),
        ([], "one of --poses, --path and --turntable"),
        (["--turntable", "1", "--path", "x.json"], "one of --poses, --path and --turntable"),
        (["--path", "{in}/none.json"], "expected a file, got nothing there"),
        (["--path", "{in}/toy.knf"], "toy.knf"),
        (["--poses", "{in}/none.json"], "none.json"),
        (["--poses", "{in}"], "transforms_test.json"),
        (["--poses", "{in}/toy.knf"], "toy.knf"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(call, scene_file, out, arguments, says):
    places = {"in": scene_file.parent, "out": out}
    arguments = [argument.format(**places) for argument in arguments]
    if "-o" not in arguments:
        arguments += ["-o", str(out / "a.mp4")]
    code, printed, complaints = call(scene_file, *arguments)
    assert (code, printed) == (2, "")
    assert says in complaints
    assert complaints.count("\n") == 1
    assert names(out) == []


@pytest.mark.parametrize("name", ["none.knf", "folder.knf", "broken.knf"])
def test_a_scene_that_cannot_be_read_is_one_line(call, out, tmp_path, name):
    (tmp_path / "folder.knf").mkdir()
    (tmp_path / "broken.knf").write_bytes(b"\x10" * 100)
    code, printed, complaints = call(tmp_path / name, "--turntable", 1, "-o", out / "a.mp4")
    assert (code, printed, complaints.count("\n")) == (2, "", 1)
    assert name in complaints
    assert names(out) == []


@pytest.mark.parametrize(("stop", "name"), [(signal.SIGINT, "a.mp4"), (signal.SIGTERM, "f_%05d.png")])
def test_an_interruption_ends_at_once_with_nothing_half_written(scene_file, out, stop, name):
    # Where the tests run in the background, interrupts may be ignored, and children inherit that.
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from kilonerf.commands.render import main; sys.argv[0] = 'kilonerf-render'; main()"
    arguments = [scene_file, "--turntable", "100", "--size", "256x256", "-o", out / name]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stderr=subprocess.PIPE, env=environment, text=True
    )
    while not names(out) and process.poll() is None:  # the output was opened: it renders
        time.sleep(0.01)
    process.send_signal(stop)
    _, complaints = process.communicate(timeout=30)
    assert process.returncode == 130
    assert complaints == "kilonerf-render: interrupted\n"
    assert not [file for file in names(out) if not re.fullmatch(r"f_\d{5}\.png", file)]
    for file in out.iterdir():
        with Image.open(file) as picture:
            picture.load()


@pytest.mark.parametrize("reason", ["", "backend 'cuda': no NVIDIA driver"])
def test_why_the_cpu_renders_is_said_once_if_a_gpu_seemed_to_be_there(call, scene_file, out, fake_renderers, reason):
    fake_renderers.prepare = lambda renderer: setattr(renderer, "fallback", reason)
    code, _, said = call(scene_file, "--turntable", 1, "--fps", 2, *SIZE, "-o", out / "f_%d.png")
    assert code == 0
    assert said == (f"rendering on the CPU: {reason}\n" if reason else "")


def write_path(file):
    cameras = [Camera.look_at((x, -4, 1), (0, 0, 0), 8, 8) for x in (0.0, 1.0, 3.0)]
    CameraPath.from_cameras([0.0, 0.3, 0.5], cameras).save(file)
    return file


def test_parts_joined_equal_the_whole_and_the_window_renders_the_same(call, scene_file, out, tmp_path, monkeypatch):
    from kilonerf.viewer.notices import Notices
    from kilonerf.viewer.recording.recording import Recording
    from kilonerf.viewer.settings import VideoSettings, ViewerSettings

    path = write_path(tmp_path / "p.json")
    arguments = (scene_file, "--camera-path", path, *SIZE, "--fps", 29.97, "--samples", 3, "--shutter", 180)
    assert call(*arguments, "-o", out / "whole_%03d.png")[0] == 0
    for part in ("0:7", "7:12", "12:"):
        assert call(*arguments, "-o", out / "part_%03d.png", "--frames", part)[0] == 0
    wholes = sorted(out.glob("whole_*.png"))
    assert len(wholes) == 15
    for whole in wholes:
        assert whole.read_bytes() == (out / whole.name.replace("whole", "part")).read_bytes()
    (tmp_path / "window").mkdir()
    video = VideoSettings(32, 24, 29.97, "png", samples=3, shutter=180.0)
    recording = Recording(ViewerSettings(video=video), tmp_path / "window", Notices())
    recording.render(CameraPath.load(path), load_scene(scene_file), 0.0)
    end = time.monotonic() + 60.0
    while recording.rendering:
        assert time.monotonic() < end
        recording.poll(0.0)
        time.sleep(0.01)
    made = sorted((tmp_path / "window" / "flight_001").iterdir())
    assert [file.read_bytes() for file in made] == [whole.read_bytes() for whole in wholes]


def test_a_video_of_29_97_frames_is_over_1001(call, scene_file, out, tmp_path):
    path = write_path(tmp_path / "p.json")
    assert call(scene_file, "--path", path, *SIZE, "--fps", "30000/1001", "-o", out / "v.mp4", "--codec", "av1")[0] == 0
    with av.open(str(out / "v.mp4")) as video:
        assert str(video.streams.video[0].average_rate) == "30000/1001"
        assert video.streams.video[0].codec_context.name in ("libdav1d", "av1", "libaom-av1")


def test_panoramas_and_depth(call, scene_file, out, tmp_path):
    path = write_path(tmp_path / "p.json")
    arguments = (scene_file, "--path", path, "--fps", 4)
    assert call(*arguments, "--projection", "equirectangular", "--size", "64x32", "-o", out / "v.mp4")[0] == 0
    with av.open(str(out / "v.mp4")) as video:
        assert [frame.to_ndarray(format="rgb24").shape for frame in video.decode(video=0)] == [(32, 64, 3)] * 3
    assert call(*arguments, "--depth", *SIZE, "-o", out / "d_%02d.exr")[0] == 0
    assert call(*arguments, "--depth", *SIZE, "--resume", "-o", out / "d_%02d.png")[0] == 0
    assert len(names(out)) == 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--turntable", "1", "--shutter", "180"], "--shutter"),
        (["--turntable", "1", "--samples", "0"], "--samples"),
        (["--turntable", "1", "--aperture", "0.1"], "--focus"),
        (["--turntable", "1", "--depth", "--samples", "4"], "--depth"),
        (["--turntable", "1", "--fps", "1/0"], "--fps"),
        (["--turntable", "1", "--projection", "equirectangular", "--samples", "4"], "--projection"),
    ],
)
def test_options_that_do_not_fit_are_named(call, scene_file, out, arguments, said):
    code, _, complaints = call(scene_file, *arguments, *SIZE, "-o", out / "f_%d.png")
    assert (code, complaints.count("\n")) == (2, 1)
    assert said in complaints
    assert names(out) == []
