import math
from dataclasses import replace

import numpy as np
import pytest

from kilonerf.kernels import BackendChoice, Frame, FrameStatistics, RenderOptions, create_renderer
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.model_io import Camera, load_scene
from kilonerf.viewer.camera.navigator import MotionKeys, Navigator, scaled_camera
from kilonerf.viewer.drawing.overlays import OverlayOptions
from kilonerf.viewer.drawing.picture import Picture
from kilonerf.viewer.drawing.projection import ClipPlanes
from kilonerf.viewer.drawing.reprojection import Reprojection
from kilonerf.viewer.drawing.scene_view import SceneView
from kilonerf.viewer.rendering.resolution import Shot
from kilonerf.viewer.rendering.worker import RenderRequest, RenderResult
from support.opengl import Screen, flat_frame
from support.scenes import random_scene

PLANES = ClipPlanes(1.0, 9.0)
GREY = (0.5, 0.5, 0.5)
PICTURES = [("chair", 1.0, 8.0, 30.0), ("chair", 0.5, 5.0, 28.0), ("solid", 1.0, 4.0, 25.0), ("solid", 0.5, 4.0, 25.0)]
"""Scene, scale, decibels that reprojection must gain, and decibels that it must reach."""
BOX = OverlayOptions(box=True)


class Reprojected:
    """A frame of one camera, shown for others."""

    def __init__(self, ctx, frame, source, background=GREY):
        self.screen = Screen(ctx, 1, 1)
        self._ctx, self._source, self._background = ctx, source, background
        self._picture = Picture(ctx)
        self.reprojection = Reprojection(ctx, self._picture)
        self._picture.upload(frame)
        self.reprojection.prepare(1.0, background)

    def shown_for(self, camera, *, depth=False):
        """uint8 [H, W, 3]."""
        self.screen = Screen(self._ctx, camera.width, camera.height)
        self.screen.clear(self._background)
        self.reprojection.draw(self._source, camera, PLANES, depth=depth)
        return self.screen.rgb()

    def place(self, camera, u, v, *, depth=False):
        return self.reprojection.source_place(self._source, camera, PLANES, u, v, depth=depth)

    def close(self):
        self.reprojection.release()
        self._picture.release()


@pytest.fixture
def show(ctx):
    made = []

    def make(*arguments, **options):
        made.append(Reprojected(ctx, *arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    assert ctx.error == "GL_NO_ERROR"


def camera_at(x=0.0, z=0.0, *, width=96, height=64, focal=80.0):
    """Looks along -z of the world from (x, 0, z)."""
    matrix = np.eye(4)
    matrix[:3, 3] = (x, 0.0, z)
    return Camera.from_matrix(matrix, width, height, fx=focal)


def colourful(camera, depth, seed=0):
    """Every pixel another colour."""
    rng = np.random.default_rng(seed)
    shape = (camera.height, camera.width)
    return Frame(
        rgb=rng.random((*shape, 3), dtype=np.float32),
        alpha=np.where(np.isfinite(depth), 1.0, 0.0).astype(np.float32) * np.ones(shape, np.float32),
        depth=np.broadcast_to(np.float32(depth), shape).copy(),
        statistics=FrameStatistics(),
    )


@pytest.mark.parametrize("depth", [False, True])
def test_a_wall_shifts_by_focal_length_times_motion_over_depth(show, depth):
    source = camera_at()
    frame = colourful(source, 4.0)
    picture = show(frame, source).shown_for(camera_at(x=0.35), depth=depth)  # 80 * 0.35 / 4 = 7 pixels to the left
    assert np.abs(picture[:, :-7].astype(int) - frame.to_rgb8()[:, 7:]).max() <= 1


def test_what_is_infinitely_far_does_not_shift(show):
    source = camera_at()
    frame = colourful(source, np.inf)
    picture = show(frame, source).shown_for(camera_at(x=0.35, z=-1.0))
    assert np.abs(picture.astype(int) - frame.to_rgb8()).max() <= 1


def test_background_turns_with_the_camera(show):
    source = camera_at(focal=80.0)
    frame = flat_frame(96, 64, depth=np.inf, color=GREY, alpha=0.0)
    frame.rgb[30:34, 46:50] = (1.0, 0.0, 0.0)  # in the middle
    turned = Camera.look_at((0.0, 0.0, 0.0), (math.tan(0.25), 0.0, -1.0), 96, 64, up=(0.0, 1.0, 0.0))
    turned = Camera.from_matrix(turned.matrix, 96, 64, fx=80.0)
    picture = show(frame, source).shown_for(turned)  # 0.25 to the right: the mark goes to the left
    ys, xs = np.nonzero(picture[..., 0].astype(int) - picture[..., 1] > 128)
    assert np.mean(xs + 0.5) == pytest.approx(48.0 - 80.0 * math.tan(0.25), abs=0.7)
    assert np.mean(ys + 0.5) == pytest.approx(32.0, abs=0.7)


def test_coming_nearer_magnifies_by_depth_and_the_depth_buffer_says_so(show):
    source = camera_at()
    frame = flat_frame(96, 64, depth=4.0, color=(0.0, 0.0, 1.0))
    frame.rgb[24:40, 32:64] = (1.0, 0.0, 0.0)
    one = show(frame, source)
    picture = one.shown_for(camera_at(z=-2.0), depth=True)  # from 4 to 2: twice as large
    red = picture[..., 0] > 128
    assert red.sum() == pytest.approx(4 * 16 * 32, rel=0.05)
    np.testing.assert_allclose(one.screen.depth(), 9.0 * (2.0 - 1.0) / (2.0 * 8.0), atol=1e-5)


@pytest.mark.parametrize("depth", [False, True])
@pytest.mark.parametrize("towards", [-1.0, 1.0])
def test_the_nearer_surface_hides_the_farther(show, towards, depth):
    source = camera_at()
    frame = flat_frame(96, 64, depth=8.0, color=(0.0, 0.0, 1.0))
    frame.rgb[:, 40:56], frame.depth[:, 40:56] = (1.0, 0.0, 0.0), 2.0
    picture = show(frame, source).shown_for(camera_at(x=1.0 * towards), depth=depth)  # 40 pixels, the wall only 10
    red = picture[32, :, 0] > 200
    expected = np.zeros(96, bool)
    expected[int(40 - 40 * towards) : int(56 - 40 * towards)] = True
    assert (red != expected).sum() <= 2


def test_a_gap_that_opens_is_filled_from_behind_without_a_hole(show):
    source = camera_at()
    frame = flat_frame(96, 64, depth=8.0, color=(0.0, 0.0, 1.0))
    frame.rgb[:, 40:56], frame.depth[:, 40:56] = (1.0, 0.0, 0.0), 2.0
    picture = show(frame, source, background=(0.0, 1.0, 0.0)).shown_for(camera_at(x=0.5))
    assert not np.any(picture[:, :90, 1] > 0)  # the clear colour is nowhere seen
    blue = picture[32, 40:90, 2] > 200  # where the near surface was
    assert blue.all()


def test_the_picture_goes_on_beyond_its_edge(show):
    source = camera_at()
    picture = show(flat_frame(96, 64, depth=4.0, color=(0.0, 0.0, 1.0)), source).shown_for(camera_at(x=0.5))
    assert np.all(picture == (0, 0, 255))


def test_what_lies_behind_the_camera_is_not_seen(show):
    source = camera_at()
    picture = show(flat_frame(96, 64, depth=2.0, color=(1.0, 0.0, 0.0)), source).shown_for(camera_at(z=-3.0))
    assert np.all(np.abs(picture.astype(int) - 127.5) <= 1)  # the background


def test_a_faint_haze_is_drawn_too_and_hides_nothing(show):
    source = camera_at()
    haze = flat_frame(96, 64, depth=2.0, color=(0.5, 0.6, 0.5), alpha=0.2)
    one = show(haze, source)
    picture = one.shown_for(camera_at(x=0.01), depth=True)
    assert np.all(np.abs(picture[..., 1].astype(int) - 153) <= 1)
    assert np.all(one.screen.depth() == 1.0)


def test_a_pixels_place_is_where_it_was_before_the_shift(show):
    source = camera_at()
    one = show(colourful(source, 4.0), source)
    for u, v in ((0.2, 0.3), (0.5, 0.5), (0.71, 0.9)):
        place = one.place(camera_at(x=0.35), u, v)
        assert place is not None
        assert place[0] == pytest.approx(u + 7 / 96, abs=0.51 / 96)
        assert place[1] == pytest.approx(v, abs=0.51 / 64)


def test_nothing_has_no_place(show):
    source = camera_at()
    one = show(flat_frame(96, 64, depth=np.inf, color=GREY, alpha=0.0), source)
    assert one.place(camera_at(x=0.1), 0.5, 0.5) is None
    assert np.all(np.abs(one.shown_for(camera_at(x=0.1)).astype(int) - 127.5) <= 1)


def test_a_frame_without_pixels_draws_nothing(show):
    source = camera_at()
    one = show(flat_frame(0, 3, depth=2.0), source)
    assert np.all(np.abs(one.shown_for(camera_at(x=0.1)).astype(int) - 127.5) <= 1)
    assert one.place(camera_at(x=0.1), 0.5, 0.5) is None


# Against true pictures of the other camera.


def motions(scene):
    """What a user does between two pictures, from the scene's start camera."""

    def moved(move):
        navigator = Navigator()
        navigator.set_scene(scene)
        move(navigator)
        return navigator.camera(480, 400)

    return {
        "orbit": moved(lambda navigator: navigator.drag(0.015, 0.005)),
        "look": moved(lambda navigator: (navigator.set_mode("fly"), navigator.drag(0.1, 0.03))),
        "translation": moved(lambda navigator: navigator.fly(MotionKeys(right=1), 0.08)),
        "forward": moved(lambda navigator: navigator.fly(MotionKeys(forward=1), 0.15)),
        "zoom": moved(lambda navigator: (navigator.wheel(1.0, None), navigator.advance(1.0))),
        "lens": moved(lambda navigator: setattr(navigator, "fov", 0.93 * navigator.fov)),
    }


def solid_scene():
    """Opaque voxels whose colour changes slowly: what a picture shows of it does not depend on where its pixels lie."""
    scene = random_scene(occupied=0.3, seed=5)
    layers = {name: array.copy() for name, array in scene.layers.items()}
    layers["pts_linears.0.weight"][:, 9:] = 0.0  # of the encoding only x, y, z and the lowest frequency
    layers["direction_layer.weight"][:, 32:] = 0.0
    layers["alpha_linear.bias"] += 100.0
    return replace(scene, layers=layers, num_samples=400)


@pytest.mark.parametrize("name", ["orbit", "look", "translation", "forward", "zoom", "lens"])
@pytest.mark.parametrize(("which", "scale", "gain", "least"), PICTURES)
def test_a_reprojected_picture_is_nearer_to_the_true_one_than_the_old(ctx, chair_path, which, scale, gain, least, name):
    scene = solid_scene() if which == "solid" else load_scene(chair_path)
    options = RenderOptions(background=scene.background)
    renderer = create_renderer(scene, backend="cpu")
    navigator = Navigator()
    navigator.set_scene(scene)
    begin, end = navigator.camera(480, 400), motions(scene)[name]
    true = renderer.render(end, options).to_rgb8()
    view = SceneView(ctx)
    view.show(result_of(renderer, Shot(scene, BackendChoice("cpu"), begin, options), scale))
    decibels = []
    for shown_for in (begin, end):
        screen = Screen(ctx, 480, 400)
        view.draw(screen.framebuffer, (0, 0, 480, 400), OverlayOptions(), shown_for)
        decibels.append(psnr(screen.rgb() / np.float32(255), true / np.float32(255)))
    view.release()
    before, after = decibels
    print(f"{which} {name} {scale}: {before:.1f} -> {after:.1f} dB")
    assert after > before + gain
    assert after > least


def result_of(renderer, view, scale):
    camera = scaled_camera(view.camera, scale)
    return RenderResult(RenderRequest(view, scale, camera), renderer.render(camera, view.options), 1.0)


# The view that the window draws.


@pytest.fixture
def toy(ctx, toy_scene):
    """A view of the toy scene, and its result."""
    camera = Camera.look_at((3.0, 2.0, 1.5), (0.0, 0.0, 0.0), 120, 90)
    renderer = create_renderer(toy_scene, backend="cpu")
    result = result_of(
        renderer, Shot(toy_scene, BackendChoice("cpu"), camera, RenderOptions(background=(0.2, 0.3, 0.4))), 1.0
    )
    view = SceneView(ctx)
    view.set_scene(toy_scene)
    view.show(result)
    yield view, result
    view.release()
    assert ctx.error == "GL_NO_ERROR"


def drawn(ctx, view, camera, overlays=OverlayOptions()):  # noqa: B008 - frozen
    screen = Screen(ctx, 120, 90)
    view.draw(screen.framebuffer, (0, 0, 120, 90), overlays, camera)
    return screen.rgb()


def test_at_rest_the_picture_is_the_rendered_one_bit_for_bit(ctx, toy):
    view, result = toy
    camera = result.request.shot.camera
    still = drawn(ctx, view, None)
    drawn(ctx, view, camera.moved(orbited(camera, 0.05)))
    np.testing.assert_array_equal(drawn(ctx, view, camera), still)
    np.testing.assert_array_equal(view.capture(OverlayOptions()), still)
    assert np.abs(still.astype(int) - result.frame.to_rgb8()).max() <= 1


def orbited(camera, angle):
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ camera.matrix


def test_a_pick_hits_what_the_reprojected_picture_shows(ctx, toy):
    view, result = toy
    frame, camera = result.frame, result.request.shot.camera
    moved = camera.moved(orbited(camera, 0.03))
    for overlays in (OverlayOptions(), BOX):
        picture = drawn(ctx, view, moved, overlays)
        assert view.displayed == moved
        hits = 0
        for y in range(5, 90, 9):
            for x in range(5, 120, 9):
                hit = view.pick((x + 0.5) / 120, (y + 0.5) / 90)
                if hit is None:
                    continue
                hits += 1
                local = np.linalg.inv(moved.matrix) @ (*hit[0], 1.0)
                assert hit[1] == pytest.approx(-local[2])
                seen = (moved.cx - moved.fx * local[0] / local[2], moved.cy + moved.fy * local[1] / local[2])
                # The mesh lies at the depth of its tile's nearest surface: a part of the motion apart.
                assert np.hypot(seen[0] - x - 0.5, seen[1] - y - 0.5) < 4.0
                # And that point's colour, in the picture that was rendered, is the one that is seen there.
                source = np.linalg.inv(camera.matrix) @ (*hit[0], 1.0)
                column = int(camera.cx - camera.fx * source[0] / source[2])
                row = int(camera.cy + camera.fy * source[1] / source[2])
                near = frame.to_rgb8()[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].reshape(-1, 3)
                if not overlays.visible:
                    assert np.all(picture[y, x] >= near.min(0).astype(int) - 1)
                    assert np.all(picture[y, x] <= near.max(0).astype(int) + 1)
        assert hits > 20


def test_a_pick_after_the_next_picture_came_is_still_of_what_the_window_shows(ctx, toy, toy_scene):
    view, result = toy
    camera = result.request.shot.camera
    drawn(ctx, view, None)
    ahead = replace(result.request.shot, camera=camera.moved(orbited(camera, 0.06)))
    view.show(result_of(create_renderer(toy_scene, backend="cpu"), ahead, 1.0))
    assert view.displayed == camera
    seen = []
    for y in range(5, 90, 9):
        for x in range(5, 120, 9):
            hit = view.pick((x + 0.5) / 120, (y + 0.5) / 90)  # the window still shows the old camera's view
            if hit is not None:
                local = np.linalg.inv(camera.matrix) @ (*hit[0], 1.0)
                seen.append(
                    (camera.fx * local[0] / -local[2] + camera.cx - x, camera.cy + camera.fy * local[1] / local[2] - y)
                )
    assert len(seen) > 20
    assert np.median(np.abs(np.array(seen) - 0.5)) < 1.5


def test_the_newest_picture_is_the_one_that_is_reprojected(ctx, toy, toy_scene):
    view, result = toy
    camera = result.request.shot.camera
    moved = camera.moved(orbited(camera, 0.03))
    drawn(ctx, view, moved)
    other = replace(result.request.shot, camera=camera.moved(orbited(camera, 0.4)))
    newest = result_of(create_renderer(toy_scene, backend="cpu"), other, 1.0)
    fresh = SceneView(ctx)
    for each in (view, fresh):
        each.show(newest)
    np.testing.assert_array_equal(drawn(ctx, view, moved), drawn(ctx, fresh, moved))
    fresh.release()


def test_outside_the_picture_nothing_is_picked(ctx, toy):
    view, result = toy
    camera = result.request.shot.camera
    drawn(ctx, view, camera.moved(orbited(camera, 0.03)))
    for u, v in ((-0.1, 0.5), (1.0, 0.5), (0.5, -1e-9), (0.5, 1.0)):
        assert view.pick(u, v) is None


def test_overlays_follow_the_displayed_camera(ctx, toy):
    view, result = toy
    camera = result.request.shot.camera
    moved = camera.moved(orbited(camera, 0.05))
    lines = {}
    for shown_for in (camera, moved):
        drawn(ctx, view, shown_for, BOX)
        while view.busy:  # lines are computed beside the interface
            drawn(ctx, view, shown_for, BOX)
        plain = drawn(ctx, view, shown_for).astype(int)
        lines[shown_for] = np.abs(drawn(ctx, view, shown_for, BOX) - plain).max(axis=2) > 40
    true = result_of(
        create_renderer(result.request.shot.scene, backend="cpu"), replace(result.request.shot, camera=moved), 1.0
    )
    view.show(true)
    expected = np.abs(drawn(ctx, view, moved, BOX) - drawn(ctx, view, moved).astype(int)).max(axis=2) > 40
    assert expected.sum() > 100
    agree = (lines[moved] & expected).sum() / (lines[moved] | expected).sum()
    stale = (lines[camera] & expected).sum() / (lines[camera] | expected).sum()
    assert agree > 0.8
    assert stale < 0.5
