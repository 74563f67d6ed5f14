"""`kilonerf-view` as a person or a script starts it."""

import os
import shutil
import subprocess
import sys
import time

import av
import numpy as np
import pytest
from PIL import Image

from kilonerf.model_io import CameraPath, save_scene

needs_xvfb = pytest.mark.skipif(not shutil.which("Xvfb"), reason="needs Xvfb")
COMMAND = (sys.executable, "-c", "from kilonerf.commands.view import main; main()")


def run(*arguments, **environment):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def assert_one_line(result, *parts):
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("kilonerf-view: error: ")
    for part in parts:
        assert part in line


@pytest.fixture
def scene_file(toy_scene, tmp_path):
    save_scene(toy_scene, tmp_path / "toy.knf")
    return tmp_path / "toy.knf"


def test_no_display_is_one_line(scene_file):
    assert_one_line(run(scene_file, DISPLAY="", WAYLAND_DISPLAY="", XDG_SESSION_TYPE=""), "no display")


def test_a_display_that_does_not_answer_is_one_line(scene_file):
    assert_one_line(run(scene_file, DISPLAY=":4242", WAYLAND_DISPLAY=""), "no display")


@needs_xvfb
def test_too_old_an_opengl_is_one_line(scene_file):
    assert_one_line(run(scene_file, MESA_GL_VERSION_OVERRIDE="2.1"), "OpenGL 3.3 is needed")


def test_a_missing_file_is_one_line(tmp_path):
    assert_one_line(run(tmp_path / "missing.knf"), "missing.knf")


@needs_xvfb
@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{", b"\xff" * 500])
def test_a_broken_file_is_one_line(tmp_path, content):
    (tmp_path / "broken.knf").write_bytes(content)
    assert_one_line(run(tmp_path / "broken.knf"), "broken.knf")


@needs_xvfb
def test_a_folder_is_one_line(tmp_path):
    assert_one_line(run(tmp_path), str(tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--size", "big"),
        ("--video-fps", "0"),
        ("--target-fps", "0"),
        ("--exit-after", "-1"),
        ("--screenshot", "/nowhere/at/all.png"),
        ("--record", "film.gif"),
        ("--cpu-path", "sse9"),
        ("--compare", "essay"),
        ("--difference", "4"),
    ],
)
def test_options_out_of_range_are_one_line(arguments):
    assert_one_line(run(*arguments), arguments[1] if arguments[0] != "--size" else "big")


@pytest.mark.slow
@needs_xvfb
def test_without_a_scene_a_chair_is_shown(tmp_path):
    output = tmp_path / "window.png"
    result = run("--size", "700x500", "--exit-after", 0, "--screenshot", output)
    assert (result.returncode, result.stderr) == (0, "")
    with Image.open(output) as image:
        picture = np.asarray(image).astype(int)[150:450, :340]
    green = (picture[..., 1] > picture[..., 0] + 20) & (picture[..., 1] > picture[..., 2] + 40)
    assert green.mean() > 0.02


@needs_xvfb
def test_a_screenshot_shows_the_settled_window(scene_file, tmp_path):
    output = tmp_path / "window.png"
    result = run(scene_file, "--size", "700x500", "--show-box", "--exit-after", 0, "--screenshot", output)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    with Image.open(output) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (500, 700, 3)
    assert len(np.unique(pixels[:, :350].reshape(-1, 3), axis=0)) > 100  # a picture on the left
    assert pixels[:, 400:].mean() < 80  # a dark panel on the right
    assert pixels[:, 400:].max() > 200  # with bright text on it


@pytest.mark.slow
@needs_xvfb
def test_a_theme_that_is_asked_for_is_of_this_run(scene_file, tmp_path):
    output, panels = tmp_path / "window.png", []
    for arguments in (("--theme", "light"), ()):
        size = ("--size", "700x500", "--exit-after", 0, "--screenshot", output)
        result = run(scene_file, *size, *arguments)
        assert (result.returncode, result.stderr) == (0, "")
        with Image.open(output) as image:
            panels.append(np.asarray(image)[:, 400:].mean())
    assert panels[0] > 180
    assert panels[1] < 80


@pytest.mark.slow
@needs_xvfb
@pytest.mark.parametrize("arguments", [("--backend", "cuda"), ("--device", "0")])
def test_where_no_gpu_can_be_used_the_cpu_shows_the_picture_and_the_script_fails(scene_file, tmp_path, arguments):
    output = tmp_path / "window.png"
    size = ("--size", "700x500", "--exit-after", 0, "--screenshot", output)
    result = run(scene_file, *size, *arguments, CUDA_VISIBLE_DEVICES="")  # without CuPy, driver or device
    assert_one_line(result, " ".join(arguments))  # a script must not take it for what it asked for
    with Image.open(output) as image:
        assert len(np.unique(np.asarray(image)[:350, :350].reshape(-1, 3), axis=0)) > 100


@pytest.mark.slow
@needs_xvfb
def test_a_script_compares_and_gets_both_sides(scene_file, tmp_path):
    pictures = []
    for number, extra in enumerate(((), ("--compare", "ess"), ("--compare", "ess", "--difference", 64))):
        output = tmp_path / f"window_{number}.png"
        result = run(scene_file, "--size", "700x500", *extra, "--exit-after", 0, "--screenshot", output)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        with Image.open(output) as image:
            pictures.append(np.asarray(image)[120:220, :350].astype(int))
    plain, both, difference = pictures
    assert np.abs(plain - both)[:, :165].max() <= 1  # the window's own picture on the left of the divider
    assert np.abs(plain - both)[:, 185:].max() > 8
    assert np.abs(both - difference)[:, :165].max() <= 1
    assert np.abs(both - difference)[:, 185:].max() > 8


@pytest.mark.slow
@needs_xvfb
@pytest.mark.parametrize("against", ["cuda", "photo"])
def test_a_script_whose_comparison_cannot_be_made_fails(scene_file, against):
    result = run(scene_file, "--size", "500x400", "--compare", against, "--exit-after", 0, CUDA_VISIBLE_DEVICES="")
    assert_one_line(result, f"--compare {against}")


def test_a_code_path_is_of_the_cpu_backend():
    assert_one_line(run("--cpu-path", "baseline", "--backend", "reference"), "--cpu-path", "--backend cpu")
    assert_one_line(run("--cpu-path", "baseline", "--device", "0"), "--cpu-path and --device")


@pytest.mark.slow
@needs_xvfb
def test_an_empty_window_can_be_scripted_too(tmp_path):
    output = tmp_path / "window.png"
    assert run("--exit-after", 0, "--screenshot", output).returncode == 0
    with Image.open(output) as image:
        assert image.size == (1280, 800)


@pytest.mark.slow
@needs_xvfb
def test_a_turntable_is_recorded_and_rendered_before_leaving(scene_file, tmp_path):
    film = tmp_path / "film.webm"
    result = run(
        *(scene_file, "--size", "500x400", "--turntable", "--no-reprojection", "--no-interop", "--exit-after", 1),
        *("--record", film, "--video-size", "64x48", "--video-fps", 10),
    )
    assert (result.returncode, result.stderr) == (0, "")
    path = CameraPath.load(tmp_path / "film.json")
    with av.open(str(film)) as video:
        pictures = [picture.to_ndarray(format="rgb24") for picture in video.decode(video=0)]
    assert len(pictures) == int(path.duration * 10 + 1e-6) + 1 >= 10
    assert pictures[0].shape == (48, 64, 3)
    assert np.abs(pictures[0].astype(float) - pictures[-1]).mean() > 1.0


@pytest.mark.slow
@needs_xvfb
def test_leaving_at_once_still_gives_a_video_of_one_picture(scene_file, tmp_path):
    result = run(scene_file, "--exit-after", 0, "--record", tmp_path / "still.mp4", "--video-size", "64x48")
    assert (result.returncode, result.stderr) == (0, "")
    with av.open(str(tmp_path / "still.mp4")) as video:
        assert len(list(video.decode(video=0))) >= 1


def test_help_explains_every_option():
    result = run("--help")
    assert result.returncode == 0
    for word in (
        "--backend",
        "--turntable",
        "--show-occupancy-grid",
        "--no-reprojection",
        "--no-interop",
        "--record",
        "Press H",
    ):
        assert word in result.stdout


@needs_xvfb
def test_sigterm_saves_a_flight_as_ctrl_c_does(scene_file, tmp_path):
    folder = tmp_path / "flights"
    folder.mkdir()
    arguments = (scene_file, "--size", "500x400", "--output-folder", folder, "--record", folder / "film.mp4")
    program = subprocess.Popen([*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True)
    try:
        while not list(folder.glob("*.recording")):
            assert program.poll() is None
            time.sleep(0.05)
        program.terminate()
        _, said = program.communicate(timeout=60)
    finally:
        program.kill()
    assert (program.returncode, said) == (130, "kilonerf-view: interrupted\n")
    assert [path.name for path in folder.iterdir()] == ["flight_001.json"]
    assert CameraPath.load(folder / "flight_001.json").keyframes


def test_an_output_folder_that_is_not_there_is_an_error_at_the_start(tmp_path):
    assert_one_line(run("--output-folder", tmp_path / "missing"), "--output-folder", "missing")


def test_errors_name_the_option_that_was_typed(tmp_path):
    assert_one_line(run("--video-size", "big"), "--video-size: expected WIDTHxHEIGHT")
    assert_one_line(run("--record", tmp_path / "no" / "film.mp4"), "--record")
    assert_one_line(run("--record", tmp_path / "film.mp4"), "--record: expected a scene")


@pytest.mark.slow
@needs_xvfb
@pytest.mark.parametrize("heat_map", ["lookups"])
def test_a_heat_map_that_could_not_be_shown_is_one_line(scene_file, tmp_path, heat_map):
    asked = ("--heat-map", heat_map, "--backend", "reference", "--size", "120x90", "--exit-after", 0)
    assert_one_line(
        run(scene_file, *asked, "--screenshot", tmp_path / "a.png"),
        f"--heat-map {heat_map}: the heat map 'lookups' needs the CPU backend",
    )


@pytest.mark.parametrize("samples", ["0", "257"])
def test_a_number_of_samples_out_of_range_is_one_line(scene_file, samples):
    assert_one_line(run(scene_file, "--rest-samples", samples), f"--rest-samples: expected 1 to 256, got {samples}")


def test_a_crop_that_is_no_box_is_one_line(scene_file):
    assert_one_line(run(scene_file, "--crop", 1, 0, 0, 0, 1, 1), "--crop: expected X0 Y0 Z0 X1 Y1 Z1")


@pytest.mark.slow
@needs_xvfb
def test_a_script_s_picture_is_cropped_and_has_as_many_samples_as_are_asked_for(scene_file, tmp_path):
    pictures = []
    for name, asked in {"whole": (), "more": ("--rest-samples", 4), "part": ("--crop", -9, -9, -9, 9, 9, 0.1)}.items():
        saved = tmp_path / f"{name}.png"
        finished = run(
            scene_file, "--backend", "cpu", "--size", "500x400", "--exit-after", 0, "--screenshot", saved, *asked
        )
        assert finished.returncode == 0, finished.stderr
        with Image.open(saved) as image:
            pictures.append(np.asarray(image).astype(int))
    assert 1 < np.abs(pictures[1] - pictures[0]).max(axis=2)[:300, :200].mean() < 60
    assert (np.abs(pictures[2] - pictures[0]).max(axis=2)[:300, :200] > 60).mean() > 0.05
