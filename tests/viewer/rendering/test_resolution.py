import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilonerf.kernels import BackendChoice, RenderOptions
from kilonerf.model_io import Camera
from kilonerf.viewer.rendering.resolution import (
    REST_SECONDS,
    SMALLEST_SCALE,
    FrameScheduler,
    ResolutionController,
    Shot,
)


@given(st.floats(0.1, 1e6), st.floats(1.0, 120.0), st.floats(SMALLEST_SCALE, 1.0))
def test_the_scale_finds_the_target_rate_and_stays(full_ms, target_fps, begin):
    controller = ResolutionController(target_fps, begin)
    for _ in range(3):
        controller.frame_done(controller.scale**2, full_ms * controller.scale**2)
    ideal = max(SMALLEST_SCALE, min(1.0, math.sqrt(1000.0 / target_fps / full_ms)))
    assert 0.8 <= ideal / controller.scale <= 1.25
    settled = controller.scale
    controller.frame_done(settled**2, full_ms * settled**2)
    assert controller.scale == settled


def test_the_formula_of_instant_ngp_by_hand():
    controller = ResolutionController(target_fps=25.0, scale=1.0)
    controller.frame_done(pixel_ratio=1.0, milliseconds=160.0)
    assert controller.scale == pytest.approx(0.5)  # sqrt(1 / 160 * 1000 / 25)


@pytest.mark.parametrize(("milliseconds", "changed"), [(41.0, False), (55.0, False), (90.0, True), (20.0, True)])
def test_a_fifth_is_tolerated(milliseconds, changed):
    controller = ResolutionController(target_fps=20.0, scale=0.5)
    controller.frame_done(0.25, milliseconds)
    assert (controller.scale != 0.5) == changed


def test_one_slow_picture_among_others_changes_nothing():
    controller = ResolutionController(target_fps=20.0, scale=0.5)
    for milliseconds in (50.0, 52.0, 300.0, 48.0, 5.0, 51.0):
        controller.frame_done(0.25, milliseconds)
        assert controller.scale == 0.5


def test_a_lasting_change_of_speed_is_followed_within_three_pictures():
    controller = ResolutionController(target_fps=20.0, scale=0.5)
    for _ in range(20):
        controller.frame_done(0.25, 50.0)
    for _ in range(3):
        controller.frame_done(0.25, 200.0)
    assert controller.scale == pytest.approx(0.25)


def test_an_overdue_frame_makes_the_next_one_smaller_but_never_larger():
    controller = ResolutionController(target_fps=20.0, scale=0.5)
    controller.still_running(0.25, 190.0)
    assert controller.scale == 0.5
    controller.still_running(0.25, 800.0)
    assert controller.scale == pytest.approx(0.125)
    controller.still_running(1.0, 201.0)
    assert controller.scale == pytest.approx(0.125)
    controller.still_running(0.01, 1e9)
    assert controller.scale == SMALLEST_SCALE


def test_a_fast_backend_is_refined_at_once_and_a_slow_one_step_by_step():
    controller = ResolutionController()
    controller.frame_done(0.25, 50.0)
    assert controller.refined(0.5) == 1.0
    controller.frame_done(0.25, 5000.0)
    assert controller.refined(1 / 16) == 1 / 8
    assert controller.refined(0.7) == 1.0


@pytest.fixture
def view(toy_scene):
    camera = Camera.look_at((3.0, 2.0, 1.0), (0.0, 0.0, 0.0), 640, 480)
    return Shot(toy_scene, BackendChoice("cpu"), camera, RenderOptions())


def moved(view, x):
    return replace(view, camera=Camera.look_at((x, 2.0, 1.0), (0.0, 0.0, 0.0), 640, 480))


def test_a_resting_view_is_made_small_then_full_then_not_again(view):
    scheduler = FrameScheduler(ResolutionController(20.0, 0.25))
    assert scheduler.next_scale(view, 0.0) == 0.25
    assert scheduler.refining
    scheduler.frame_done(view, 0.25, 4.0)  # so full size takes 64 ms
    assert scheduler.next_scale(view, 0.5 * REST_SECONDS) is None
    assert scheduler.next_scale(view, REST_SECONDS) == 1.0
    scheduler.frame_done(view, 1.0, 64.0)
    assert scheduler.next_scale(view, 10.0) is None
    assert not scheduler.refining


def test_a_moving_camera_is_never_refined(view):
    scheduler = FrameScheduler(ResolutionController(20.0, 0.25))
    for frame in range(50):
        now = moved(view, 3.0 + 0.01 * frame)
        scale = scheduler.next_scale(now, 0.02 * frame)
        assert scale is not None
        assert scale == scheduler.resolution.scale < 1.0
        scheduler.frame_done(now, scale, 16.0 * 50.0 * scale**2)


def test_any_change_of_options_makes_the_picture_anew(view):
    scheduler = FrameScheduler(ResolutionController(20.0, 1.0))
    assert scheduler.next_scale(view, 0.0) == 1.0
    scheduler.frame_done(view, 1.0, 10.0)
    assert scheduler.next_scale(view, 1.0) is None
    assert scheduler.next_scale(replace(view, options=RenderOptions(ess=False)), 1.1) == 1.0


def test_another_backend_begins_small(view):
    scheduler = FrameScheduler(ResolutionController(20.0, 1.0))
    scheduler.next_scale(view, 0.0)
    assert scheduler.next_scale(replace(view, backend="reference"), 0.1) == SMALLEST_SCALE


def test_a_failed_picture_is_not_tried_again_until_something_changes(view):
    scheduler = FrameScheduler(ResolutionController())
    scale = scheduler.next_scale(view, 0.0)
    assert scale is not None
    scheduler.frame_done(view, scale, None)
    assert scheduler.next_scale(view, 5.0) is None
    assert not scheduler.refining
    assert scheduler.next_scale(moved(view, 2.9), 5.1) is not None


def test_a_fixed_scale_is_made_once_and_kept(view):
    scheduler = FrameScheduler(ResolutionController())
    scheduler.fixed_scale = 0.5
    assert scheduler.next_scale(view, 0.0) == 0.5
    scheduler.frame_done(view, 0.5, 1000.0)
    assert scheduler.next_scale(view, 5.0) is None
    assert not scheduler.refining
    scheduler.frame_done(view, 0.5, None)
    assert scheduler.next_scale(view, 6.0) is None
