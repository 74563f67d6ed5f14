"""Overlays drawn into pictures that other threads render: OpenGL belongs to the window's thread, which serves them."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import moderngl
import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import CancelToken, RenderCancelled
from kilonerf.model_io import BackendError, KiloNeRFError, Scene

from ..rendering.worker import RenderResult
from .overlays import OverlayOptions
from .scene_view import SceneView


@dataclass(eq=False)
class _Order:
    result: RenderResult
    overlays: OverlayOptions
    done: threading.Event = field(default_factory=threading.Event)
    pixels: NDArray[np.uint8] | None = None
    error: str = ""


class Compositor:
    """Takes orders from any thread by :meth:`draw`, and fills them in the window's by :meth:`serve`.

    Args:
        ctx: OpenGL.
        wake: wakes the window's thread.
    """

    def __init__(self, ctx: moderngl.Context, wake: Callable[[], None]) -> None:
        self._ctx, self._wake = ctx, wake
        self._orders: deque[_Order] = deque()
        self._view: SceneView | None = None
        self._scene: Scene | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether an order waits."""
        return bool(self._orders)

    def draw(self, result: RenderResult, overlays: OverlayOptions, cancel: CancelToken) -> NDArray[np.uint8]:
        """The picture with overlays, uint8 [H, W, 3]; waits for the window's thread.

        Raises:
            RenderCancelled: it was cancelled, or the window is being closed.
            BackendError: OpenGL cannot draw a picture of this size.
        """
        order = _Order(result, overlays)
        self._orders.append(order)
        self._wake()
        while not order.done.wait(0.05):
            if cancel.cancelled or self._closed:
                raise RenderCancelled
        if order.pixels is None:
            raise BackendError(order.error)
        return order.pixels

    def serve(self) -> None:
        """Draw what waits; to be called once for each frame of the window."""
        while self._orders:
            order = self._orders[0]
            try:
                order.pixels = self._filled(order)
            except (moderngl.Error, KiloNeRFError, ValueError) as error:
                order.error = f"OpenGL cannot draw the overlays: {error}"
            else:
                if order.pixels is None:
                    return  # lines are still being computed: try again in the next frame
            self._orders.popleft()
            order.done.set()

    def close(self) -> None:
        """Refuse what waits and what comes, and free everything on the GPU."""
        self._closed = True
        self._orders.clear()
        if self._view is not None:
            self._view.release()
            self._view = None

    def _filled(self, order: _Order) -> NDArray[np.uint8] | None:
        scene = order.result.request.shot.scene
        if self._view is None:
            self._view = SceneView(self._ctx)
        if scene is not self._scene:
            self._view.set_scene(scene)
            self._scene = scene
        self._view.show(order.result)
        pixels = self._view.capture(order.overlays)
        return None if self._view.busy else pixels
