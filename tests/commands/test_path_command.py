"""kilonerf-path, and kilonerf-render with other programs' paths."""

import functools
import json

import numpy as np
import pytest

from kilonerf.commands import convert_path
from kilonerf.commands import render as render_command
from kilonerf.model_io import Camera, CameraPath

CAMERAS = [Camera.look_at((x, -4.0, 1.0), (0.0, 0.0, 0.0), 32, 24) for x in (0.0, 1.0, 3.0)]


@pytest.fixture
def call(call_command):
    return functools.partial(call_command, convert_path.main)


@pytest.fixture
def path(tmp_path):
    CameraPath.from_cameras([0.0, 0.3, 0.5], CAMERAS).save(tmp_path / "p.json")
    return tmp_path / "p.json"


@pytest.mark.parametrize("to", ["nerfstudio", "nerfstudio-old", "instant-ngp", "lichtfeld"])
def test_a_converted_path_renders_the_same_frames(call, call_command, path, scene_file, tmp_path, to):
    other = tmp_path / "other.json"
    code, said, complaints = call(path, "-o", other, "--to", to, "--fps", 10, "--every", 0.1)
    assert (code, complaints) == (0, "")
    assert said.startswith(f"{other}: 3 keys, 0.50 s, from kilonerf to {to}")
    render = functools.partial(call_command, render_command.main)
    for name, file in (("a", path), ("b", other)):
        arguments = (scene_file, "--camera-path", file, "--fps", 10, "--size", "32x24", "--backend", "reference")
        assert render(*arguments, "-o", tmp_path / f"{name}_%d.png")[0] == 0
    assert len(list(tmp_path.glob("a_*.png"))) == len(list(tmp_path.glob("b_*.png"))) == 6
    assert (tmp_path / "a_0.png").read_bytes() == (tmp_path / "b_0.png").read_bytes()


def test_nerfstudio_s_dataparser_is_asked_for_by_name(call, path, tmp_path):
    (tmp_path / "d.json").write_text(json.dumps({"transform": np.eye(4)[:3].tolist(), "scale": 0.5}))
    assert call(path, "-o", tmp_path / "o.json", "--to", "nerfstudio", "--dataparser", tmp_path / "d.json")[0] == 0
    first = json.loads((tmp_path / "o.json").read_text())["keyframes"][0]["matrix"]
    np.testing.assert_allclose(np.array(first).reshape(4, 4)[:3, 3], 0.5 * CAMERAS[0].position)
    code, _, complaints = call(path, "-o", tmp_path / "x.json", "--to", "nerfstudio", "--dataparser", tmp_path / "no")
    assert code == 2
    assert "no" in complaints
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("wrong", [["--every", "-1"], ["--fps", "0"], ["--size", "big"]])
def test_a_wrong_option_is_named(call, path, tmp_path, wrong):
    code, _, complaints = call(path, "-o", tmp_path / "o.json", *wrong)
    assert (code, complaints.count("\n")) == (2, 1)
    assert wrong[0] in complaints
