"""What tests of OpenGL drawing share."""

from collections.abc import Iterator
from contextlib import contextmanager

import moderngl
import numpy as np
import pytest

from kilonerf.kernels import Frame, FrameStatistics


def flat_frame(width, height, *, depth, color=(0.2, 0.4, 0.6), alpha=1.0) -> Frame:
    """A picture of one colour at one z-depth."""
    return Frame(
        rgb=np.broadcast_to(np.asarray(color, np.float32), (height, width, 3)).copy(),
        alpha=np.full((height, width), alpha, np.float32),
        depth=np.full((height, width), depth, np.float32),
        statistics=FrameStatistics(),
    )


class Screen:
    """A framebuffer to draw on and to read from; row 0 is on top, as in frames."""

    def __init__(self, ctx: moderngl.Context, width: int, height: int) -> None:
        self.ctx = ctx
        self.size = (width, height)
        self._color = ctx.texture(self.size, 4)
        self._depth = ctx.depth_texture(self.size)
        self.framebuffer = ctx.framebuffer([self._color], self._depth)
        self.clear((1.0, 1.0, 1.0))

    def clear(self, color: tuple[float, float, float]) -> None:
        """Bind it and fill it with one colour; the depth buffer with what is farthest."""
        self.framebuffer.use()
        self.framebuffer.viewport = (0, 0, *self.size)
        self.framebuffer.clear(*color, 1.0, depth=1.0)

    def rgb(self):
        """uint8 [H, W, 3]."""
        pixels = np.frombuffer(self.framebuffer.read(components=3, alignment=1), np.uint8)
        return pixels.reshape(self.size[1], self.size[0], 3)[::-1]

    def depth(self):
        """float32 [H, W], what the depth buffer holds."""
        pixels = np.frombuffer(self._depth.read(alignment=1), np.float32)
        return pixels.reshape(self.size[1], self.size[0])[::-1]


@contextmanager
def standalone_context() -> Iterator[moderngl.Context]:
    """OpenGL 3.3 without a window, or the test is skipped for the reason that OpenGL gives.

    It is not current any more afterwards: a thread that still has an EGL context cannot take a window's GLX one.
    """
    try:
        context = moderngl.create_standalone_context(require=330, backend="egl")  # pyright: ignore[reportArgumentType] - the stub is wrong
    except Exception as error:  # moderngl raises bare Exception
        pytest.skip(f"needs OpenGL 3.3 through EGL: {error}")
    with context:
        yield context
    context.release()
