"""One desktop window: GLFW, an OpenGL 3.3 core context, ImGui, and frames that can be read back."""

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# imgui_bundle first: it tells glfw which shared library to load, and both must use the same one.
from imgui_bundle import imgui  # isort: skip
import glfw
import moderngl
import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import DisplayError

from .rectangle import Rectangle

OPENGL = (3, 3)
SMALLEST_WINDOW = (480, 320)
"""At 96 dots per inch."""
SOFTWARE_RENDERERS = ("llvmpipe", "softpipe", "swiftshader", "software")


class Window:
    """Opens at once and closes with :meth:`close`; one at a time in a process.

    Attributes:
        ctx: the OpenGL context.
        target: the framebuffer that the current frame is drawn into: the screen, or one of our own for a frame
            that is to be read (reading the screen is an OpenGL error on some drivers, and a copy of every frame
            would cost 12 ms on Mesa's llvmpipe).
        software: whether OpenGL runs on the CPU, where every frame takes time from the renderer.
        content_scale: of the monitor: 2.0 on a HiDPI one.

    Raises:
        DisplayError: there is no display, or no OpenGL 3.3.
    """

    def __init__(self, title: str, width: int, height: int, on_drop: Callable[[list[Path]], None]) -> None:
        self._errors: list[str] = []
        glfw.set_error_callback(self._on_error)
        if not glfw.init():
            raise DisplayError(f"no display to open a window on: {self._why()}; kilonerf-render works without one")
        try:
            self._handle = self._open(title, width, height)
            self.content_scale = max(1.0, glfw.get_window_content_scale(self._handle)[0])
            self._limit_size()
            self._install_callbacks(on_drop)
            self.ctx = moderngl.create_context(require=100 * OPENGL[0] + 10 * OPENGL[1])
        except DisplayError:
            glfw.terminate()
            raise
        except Exception as error:  # moderngl raises plain Exception
            glfw.terminate()
            raise DisplayError(f"OpenGL 3.3 is needed: {' '.join(str(error).split())}") from error
        glfw.swap_interval(1)
        self.software = any(name in self.ctx.info["GL_RENDERER"].lower() for name in SOFTWARE_RENDERERS)
        self.target = self.ctx.detect_framebuffer(0)
        self._capture_wanted = False
        self._captured: NDArray[np.uint8] | None = None
        self._imgui = imgui.create_context()
        imgui.get_io().set_ini_filename("")  # window positions are ours to decide
        imgui.backends.glfw_init_for_opengl(ctypes.cast(self._handle, ctypes.c_void_p).value or 0, True)
        imgui.backends.opengl3_init("#version 330")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in ImGui's and the cursor's units."""
        return glfw.get_window_size(self._handle)

    @property
    def interface_scale(self) -> float:
        """Size of the interface in ImGui's units; where those are not pixels, they are larger on a HiDPI monitor."""
        return max(1.0, self.content_scale * self.size[0] / self.pixel_size[0])

    @property
    def pixel_size(self) -> tuple[int, int]:
        """Width and height in pixels, at least 1."""
        width, height = glfw.get_framebuffer_size(self._handle)
        return max(1, width), max(1, height)

    def pixels_of(self, area: Rectangle) -> tuple[int, int, int, int]:
        """A part of the window in the framebuffer, in pixels: x, y from below, width and height of at least 1."""
        window_width, window_height = (max(1, side) for side in self.size)
        width, height = self.pixel_size
        return (
            round(area.x * width / window_width),
            max(0, round((window_height - area.y - area.height) * height / window_height)),
            max(1, round(area.width * width / window_width)),
            max(1, round(area.height * height / window_height)),
        )

    @property
    def should_close(self) -> bool:
        """Whether the user (or :meth:`ask_to_close`) wants it closed."""
        return bool(glfw.window_should_close(self._handle))

    def ask_to_close(self, wanted: bool = True) -> None:
        """Set or take back the wish to close."""
        glfw.set_window_should_close(self._handle, wanted)

    def set_title(self, title: str) -> None:
        """Change the title bar's text."""
        glfw.set_window_title(self._handle, title)

    def show(self) -> None:
        """Make the window visible (it opens hidden, so that it never appears empty)."""
        glfw.show_window(self._handle)

    def take_errors(self) -> list[str]:
        """GLFW errors since the last call, one line each."""
        errors, self._errors = self._errors, []
        return errors

    @staticmethod
    def wake() -> None:
        """End the wait of :meth:`wait_for_events` from any thread."""
        glfw.post_empty_event()

    @staticmethod
    def wait_for_events(earliest: float, latest: float) -> bool:
        """Handle events until ``latest``; once there was one, only until ``earliest`` (both ``time.perf_counter``).

        Returns:
            Whether anything happened.
        """
        happened = False
        while True:
            remaining = (earliest if happened else latest) - time.perf_counter()
            if remaining <= 0.0:
                glfw.poll_events()
                return happened
            glfw.wait_events_timeout(remaining)
            happened = happened or time.perf_counter() < latest

    def begin_frame(self, color: tuple[float, float, float]) -> None:
        """Begin to draw: :attr:`target` is bound at the window's current size and cleared; ImGui takes its input."""
        width, height = self.pixel_size
        if self._capture_wanted:
            self.target = self.ctx.framebuffer([self.ctx.renderbuffer((width, height), 4)])
        else:
            self.target = self.ctx.detect_framebuffer(0)
        self.target.use()
        self.target.viewport = (0, 0, width, height)
        self.target.clear(*color, 1.0)
        imgui.backends.opengl3_new_frame()
        imgui.backends.glfw_new_frame()
        imgui.new_frame()

    def end_frame(self) -> None:
        """Draw ImGui on top and show the frame."""
        imgui.render()
        self.target.use()
        self.target.viewport = (0, 0, *self.pixel_size)
        imgui.backends.opengl3_render_draw_data(imgui.get_draw_data())
        if self._capture_wanted:
            self._capture_wanted = False
            self._captured = read_framebuffer(self.target).copy()
            self.ctx.copy_framebuffer(self.ctx.detect_framebuffer(0), self.target)
            for attachment in self.target.color_attachments:
                attachment.release()
            self.target.release()
        glfw.swap_buffers(self._handle)

    def capture_next_frame(self) -> None:
        """Keep the pixels of the frame that begins next, for :meth:`take_capture`."""
        self._capture_wanted = True

    def take_capture(self) -> NDArray[np.uint8]:
        """The frame that was to be kept, uint8 [H, W, 3], row 0 on top."""
        if self._captured is None:
            raise RuntimeError("Window.take_capture: no frame was drawn since capture_next_frame")
        captured, self._captured = self._captured, None
        return captured

    def close(self) -> None:
        """Close the window and let go of everything."""
        imgui.backends.opengl3_shutdown()
        imgui.backends.glfw_shutdown()
        imgui.destroy_context(self._imgui)
        self.ctx.release()
        glfw.terminate()

    def _open(
        self, title: str, width: int, height: int
    ) -> Any:  # pyGLFW names no type for a window that its own functions accept
        glfw.default_window_hints()
        glfw.window_hint(glfw.CONTEXT_VERSION_MAJOR, OPENGL[0])
        glfw.window_hint(glfw.CONTEXT_VERSION_MINOR, OPENGL[1])
        glfw.window_hint(glfw.OPENGL_PROFILE, glfw.OPENGL_CORE_PROFILE)
        glfw.window_hint(glfw.OPENGL_FORWARD_COMPAT, glfw.TRUE)
        glfw.window_hint(glfw.DEPTH_BITS, 0)  # what needs depth is drawn into a texture first (SceneView)
        glfw.window_hint(glfw.STENCIL_BITS, 0)
        glfw.window_hint(glfw.SCALE_TO_MONITOR, glfw.TRUE)
        glfw.window_hint(glfw.VISIBLE, glfw.FALSE)
        glfw.window_hint_string(glfw.X11_CLASS_NAME, "kilonerf-view")
        handle = glfw.create_window(width, height, title, None, None)
        if not handle:
            raise DisplayError(f"OpenGL 3.3 is needed: {self._why()}")
        glfw.make_context_current(handle)
        return handle

    def _limit_size(self) -> None:
        width, height = (round(side * self.interface_scale) for side in SMALLEST_WINDOW)
        glfw.set_window_size_limits(self._handle, width, height, glfw.DONT_CARE, glfw.DONT_CARE)

    def _install_callbacks(self, on_drop: Callable[[list[Path]], None]) -> None:
        # Before ImGui's, which chain to these.
        def drop(_: Any, names: Any) -> None:  # pyGLFW has made a list of the C array; its stub does not say so
            on_drop([Path(name) for name in names])

        glfw.set_drop_callback(self._handle, drop)  # pyright: ignore[reportArgumentType]
        glfw.set_window_content_scale_callback(self._handle, self._on_content_scale)

    def _on_content_scale(self, _: object, x_scale: float, __: float) -> None:
        self.content_scale = max(1.0, x_scale)
        self._limit_size()

    def _on_error(self, code: int, description: Any) -> None:  # bytes, whatever the stub says
        text = description.decode("utf-8", "replace")
        self._errors.append(f"{' '.join(text.split())} (GLFW error {code:#x})")

    def _why(self) -> str:
        return "; ".join(self.take_errors()) or "GLFW gives no reason"


def read_framebuffer(framebuffer: moderngl.Framebuffer) -> NDArray[np.uint8]:
    """Colour as uint8 [H, W, 3], row 0 on top."""
    width, height = framebuffer.size
    pixels = np.frombuffer(framebuffer.read(components=3, alignment=1), np.uint8)
    return pixels.reshape(height, width, 3)[::-1]
