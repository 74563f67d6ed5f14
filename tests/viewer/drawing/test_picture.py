import numpy as np
import pytest

from kilonerf.kernels import Frame, FrameStatistics
from kilonerf.viewer.drawing.picture import Picture
from kilonerf.viewer.drawing.projection import ClipPlanes
from support.opengl import Screen, flat_frame

PLANES = ClipPlanes(1.0, 5.0)


@pytest.fixture
def picture(ctx):
    picture = Picture(ctx)
    yield picture
    picture.release()
    assert ctx.error == "GL_NO_ERROR"


def random_frame(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return Frame(
        rgb=rng.random((height, width, 3), dtype=np.float32),
        alpha=np.ones((height, width), np.float32),
        depth=(1.0 + 4.0 * rng.random((height, width))).astype(np.float32),
        statistics=FrameStatistics(),
    )


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (37, 53), (1, 9)])
def test_at_its_own_size_every_pixel_is_the_frames(ctx, picture, size):
    screen, frame = Screen(ctx, *size), random_frame(*size)
    picture.upload(frame)
    picture.draw(PLANES)
    assert np.abs(screen.rgb().astype(int) - frame.to_rgb8()).max() <= 1
    expected = 5.0 * (frame.depth - 1.0) / (frame.depth * 4.0)
    assert np.allclose(screen.depth(), expected, atol=1e-6)


def test_a_smaller_frame_is_magnified_smoothly_and_clamped_at_its_edges(ctx, picture):
    screen = Screen(ctx, 8, 4)
    frame = flat_frame(2, 1, depth=2.0, color=(0.0, 0.0, 0.0))
    frame.rgb[0, 1] = 1.0
    picture.upload(frame)
    picture.draw(PLANES)
    row = screen.rgb()[1, :, 0].astype(int)
    assert row[:2].tolist() == [0, 0]  # repeat instead of clamp would mix in the other edge
    assert row[-2:].tolist() == [255, 255]
    assert np.all(np.diff(row) >= 0)
    assert len(set(row.tolist())) > 2


def test_depth_is_not_mixed_between_pixels(ctx, picture):
    screen = Screen(ctx, 9, 3)
    frame = flat_frame(2, 1, depth=2.0)
    frame.depth[0, 1] = 4.0
    picture.upload(frame)
    picture.draw(PLANES)
    assert len(np.unique(screen.depth())) == 2


def test_nothing_there_is_as_far_as_can_be(ctx, picture):
    screen = Screen(ctx, 4, 4)
    picture.upload(flat_frame(4, 4, depth=np.inf))
    picture.draw(PLANES)
    assert np.all(screen.depth() == 1.0)


@pytest.mark.parametrize(("depth", "expected"), [(0.2, 0.0), (1.0, 0.0), (5.0, 1.0), (70.0, 1.0)])
def test_depths_outside_the_planes_are_clamped(ctx, picture, depth, expected):
    screen = Screen(ctx, 2, 2)
    picture.upload(flat_frame(2, 2, depth=depth))
    picture.draw(PLANES)
    assert np.all(screen.depth() == expected)


def test_a_faint_haze_hides_nothing(ctx, picture):
    screen = Screen(ctx, 2, 2)
    picture.upload(flat_frame(2, 2, depth=2.0, alpha=0.1))
    picture.draw(PLANES)
    assert np.all(screen.depth() == 1.0)


def test_the_newest_frame_is_drawn_over_what_was_there(ctx, picture):
    screen = Screen(ctx, 6, 5)
    for width, height, depth, color in ((6, 5, 2.0, (1, 0, 0)), (3, 2, 4.0, (0, 1, 0)), (3, 2, 4.5, (0, 0, 1))):
        picture.upload(flat_frame(width, height, depth=depth, color=color))
        picture.draw(PLANES)
        assert picture.size == (width, height)
        assert np.all(screen.rgb() == np.array(color) * 255)
        assert np.allclose(screen.depth(), 5.0 * (depth - 1.0) / (depth * 4.0), atol=1e-6)


def test_no_frame_and_an_empty_frame_draw_nothing(ctx, picture):
    screen = Screen(ctx, 3, 3)
    picture.draw(PLANES)
    assert np.all(screen.rgb() == 255)
    picture.upload(flat_frame(3, 3, depth=2.0))
    picture.upload(flat_frame(0, 3, depth=2.0))
    picture.draw(PLANES)
    assert picture.size is None
    assert np.all(screen.rgb() == 255)
