"""A small picture of what the path shows at the playhead, in a corner of the window's picture."""

from collections.abc import Callable
from dataclasses import replace

import moderngl
import numpy as np
from imgui_bundle import imgui

from kilonerf.model_io import Camera, Scene

from .. import theme
from ..panels.widgets import color
from ..rectangle import Rectangle
from ..rendering.resolution import Shot
from ..rendering.worker import RendererFactory, RenderRequest, RenderWorker
from ..settings import ViewerSettings

SHARE = 0.32  # of the picture's width
LARGEST = 20.0  # font heights


class PathPreview:
    """Rendered by a worker of its own, started when the inset is first shown.

    Args:
        ctx: OpenGL.
        settings: how pictures are made.
        wake: wakes the window's thread.
        make_renderer: makes the renderer.
    """

    def __init__(
        self,
        ctx: moderngl.Context,
        settings: ViewerSettings,
        wake: Callable[[], None],
        make_renderer: RendererFactory,
    ) -> None:
        self._ctx, self._settings = ctx, settings
        self._wake, self._make_renderer = wake, make_renderer
        self._worker: RenderWorker | None = None
        self._texture: moderngl.Texture | None = None
        self._asked: RenderRequest | None = None
        self._shown: RenderRequest | None = None

    @property
    def busy(self) -> bool:
        """Whether a picture is on its way."""
        return self._worker is not None and self._worker.busy

    def draw(self, area: Rectangle, scene: Scene, view: Callable[[int, int], Camera | None], scale: float) -> None:
        """Draw it in the upper right corner of ``area``.

        Args:
            area: where the window's picture is.
            scene: what is rendered.
            view: the camera for a width and a height in pixels.
            scale: pixels of a unit of the window.
        """
        em = imgui.get_font_size()
        width = min(SHARE * area.width, LARGEST * em)
        inset = Rectangle(0.0, 0.0, width, 0.5 * area.height).fitted(self._settings.video.aspect)
        x, y = area.x + area.width - inset.width - 0.8 * em, area.y + 0.8 * em
        camera = view(max(1, round(inset.width * scale)), max(1, round(inset.height * scale)))
        if camera is None:
            return
        self._request(scene, camera)
        low, high = imgui.ImVec2(round(x), round(y)), imgui.ImVec2(round(x + inset.width), round(y + inset.height))
        imgui.set_next_window_pos(low)
        imgui.set_next_window_size(imgui.ImVec2(high.x - low.x, high.y - low.y))
        flags = imgui.WindowFlags_.no_decoration.value | imgui.WindowFlags_.no_inputs.value
        imgui.begin("path preview", None, flags | imgui.WindowFlags_.no_saved_settings.value)
        draw_list = imgui.get_window_draw_list()
        if self._texture is not None and self._shown is not None and self._shown.shot.scene is scene:
            draw_list.add_image(imgui.ImTextureRef(self._texture.glo), low, high)
        draw_list.add_rect(low, high, color(theme.RECORDING), 0.0, 3.0)
        imgui.end()

    def release(self) -> None:
        """End the worker, free the texture."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        if self._texture is not None:
            self._texture.release()
            self._texture = None

    def _request(self, scene: Scene, camera: Camera) -> None:
        if self._worker is None:
            self._worker = RenderWorker(self._wake, self._make_renderer)
        shot = Shot(scene, self._settings.backend, camera, self._settings.render_options(scene), "off")
        request = RenderRequest(shot, 1.0, camera)
        if request != self._asked:
            self._asked = request
            self._worker.request(request)
        for result in self._worker.take_results():
            if result.frame is not None:
                self._show(replace(result.request), np.ascontiguousarray(result.frame.to_rgb8()))

    def _show(self, request: RenderRequest, pixels: np.ndarray) -> None:
        size = (pixels.shape[1], pixels.shape[0])
        if self._texture is None or self._texture.size != size:
            if self._texture is not None:
                self._texture.release()
            self._texture = self._ctx.texture(size, 3, alignment=1)
        self._texture.write(pixels.tobytes(), alignment=1)
        self._shown = request
