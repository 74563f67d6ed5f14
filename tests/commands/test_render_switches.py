from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilonerf.commands.render_switches import RenderSwitches, parse_frames, parse_size
from kilonerf.kernels import Crop, RenderOptions
from kilonerf.kernels.measure.poses import evenly_chosen
from kilonerf.model_io import UsageError
from kilonerf.model_io.camera.turntable import occupied_middle, turntable_cameras
from support.scenes import sky_scene


@pytest.mark.parametrize(("text", "size"), [("800x600", (800, 600)), (" 1X1 ", (1, 1)), ("16384x2", (16384, 2))])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["8x", "x8", "8", "", "0x5", "-3x5", "8x8x8", "1e3x5", "20000x5", "9999999x1", "²x5"])
def test_sizes_that_are_none(text):
    with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "frames"),
    [("0:10", range(10)), (":", range(10)), ("3:", range(3, 10)), (":4", range(4)), ("7", range(7, 8))],
)
def test_frames(text, frames):
    assert parse_frames(text, 10) == frames


@pytest.mark.parametrize("text", ["", "10", "5:5", "6:5", "0:11", "-1:5", "a:b", "1:2:3", "1.5"])
def test_frames_that_are_none(text):
    with pytest.raises(UsageError, match="A:B"):
        parse_frames(text, 10)


@given(st.integers(1, 50), st.integers(1, 60))
def test_evenly_chosen_items_are_distinct_in_order_and_spread(length, count):
    chosen = evenly_chosen(range(length), count)
    assert len(chosen) == min(count, length)
    assert chosen[0] == 0
    gaps = np.diff([*chosen, length])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


def test_switches_become_options(toy_scene):
    trained = RenderOptions.as_trained(toy_scene)
    assert RenderSwitches().options(toy_scene, as_trained=True) == trained
    assert RenderSwitches(as_trained=True).options(toy_scene, as_trained=False) == trained
    flying = RenderSwitches(flying=True, ess=False, ert=False, ert_threshold=0.2, background=(0.0, 0.5, 1.0))
    expected = RenderOptions(ess=False, ert=False, ert_threshold=0.2, background=(0.0, 0.5, 1.0))
    half = RenderSwitches(precision="float16", device=1).options(toy_scene, as_trained=True)
    assert half == RenderOptions.as_trained(toy_scene, precision="float16")
    assert flying.options(toy_scene, as_trained=True) == expected
    assert RenderSwitches().options(toy_scene, as_trained=False) == RenderOptions(background=toy_scene.background)
    for as_trained in (True, False):
        assert RenderSwitches().options(sky_scene(), as_trained=as_trained).sky
        assert not RenderSwitches(background=(0.0, 0.0, 0.0)).options(sky_scene(), as_trained=as_trained).sky


@pytest.mark.parametrize(
    ("switches", "says"),
    [
        ({"as_trained": True, "flying": True}, "one of them"),
        ({"threads": 0}, "--threads"),
        ({"backend": "cpu", "device": 0}, "--device"),
        ({"cpu_path": "sse9"}, r"--cpu-path: expected auto or one that this machine has \(.*baseline.*\), got 'sse9'"),
        ({"cpu_path": "baseline", "backend": "reference"}, "--cpu-path: expected --backend cpu"),
        ({"cpu_path": "baseline", "device": 0}, "--cpu-path and --device"),
        ({"ert_threshold": 1.0}, "--ert-threshold"),
        ({"ert_threshold": float("nan")}, "--ert-threshold"),
        ({"background": (0.0, 0.0, 1.1)}, "--background"),
        ({"background": (0.0, 0.0, float("nan"))}, "--background"),
    ],
)
def test_switches_that_make_no_sense(toy_scene, switches, says):
    with pytest.raises(UsageError, match=says):
        RenderSwitches(**switches).options(toy_scene, as_trained=True)


def test_a_turntable_keeps_height_distance_and_what_it_looks_at(toy_scene):
    cameras = turntable_cameras(toy_scene, 8, 64, 48)
    np.testing.assert_allclose(cameras[0].matrix, toy_scene.start_camera.matrix, atol=1e-12)
    middle = occupied_middle(toy_scene)
    in_view = [camera.matrix[:3, :3].T @ (middle - camera.position) for camera in cameras]
    np.testing.assert_allclose(in_view, np.broadcast_to(in_view[0], (8, 3)), atol=1e-9)
    np.testing.assert_allclose([c.position[2] for c in cameras], toy_scene.start_camera.position[2])
    angles = np.unwrap([np.arctan2(*(c.position - middle)[[1, 0]]) for c in cameras])
    np.testing.assert_allclose(np.diff(angles), 2 * np.pi / 8)


def test_the_middle_is_that_of_what_is_occupied(toy_scene):
    occupancy = np.zeros_like(toy_scene.occupancy)
    kept = np.argwhere(toy_scene.occupancy)[0]
    occupancy[tuple(kept)] = True
    scene = replace(toy_scene, occupancy=occupancy, start_camera=None)
    voxel = (scene.box_max - scene.box_min) / occupancy.shape
    np.testing.assert_allclose(occupied_middle(scene), scene.box_min + (kept + 0.5) * voxel, rtol=1e-5)
    for camera in turntable_cameras(scene, 3, 30, 20):
        towards = camera.matrix[:3, :3].T @ (occupied_middle(scene) - camera.position)
        np.testing.assert_allclose(towards[:2], 0.0, atol=1e-6)
        assert towards[2] < 0.0


def test_a_crop_becomes_an_option(toy_scene):
    switches = RenderSwitches(crop=(-1.0, -2.0, -3.0, 0.5, 1.0, 2.0))
    assert switches.options(toy_scene, as_trained=False).crop == Crop((-1.0, -2.0, -3.0), (0.5, 1.0, 2.0))
    with pytest.raises(UsageError, match=r"--crop: expected X0 Y0 Z0 X1 Y1 Z1, .* got -1 0 0 1 0 2"):
        RenderSwitches(crop=(-1.0, 0.0, 0.0, 1.0, 0.0, 2.0)).options(toy_scene, as_trained=False)
