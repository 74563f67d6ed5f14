"""One finished picture for a file: samples per pixel, transparency, heat map and overlays, on any renderer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import PICTURE, BackendChoice, CancelToken, Frame, RenderCancelled, Renderer, RenderOptions
from kilonerf.model_io import Camera

from ..drawing.compositor import Compositor
from ..drawing.overlays import OverlayOptions
from ..rendering.accumulation import LinearMean, offset_camera, to_bytes
from ..rendering.heat_maps import NEEDED, NOTHING, HeatMap, HeatScale, check_heat_map, false_colors
from ..rendering.resolution import Shot
from ..rendering.worker import RenderRequest, RenderResult


@dataclass(frozen=True)
class PictureMaker:
    """How a picture is made.

    Attributes:
        options: of the renderer.
        heat_map: false colours in place of the scene's.
        overlays: what is drawn over it; None: nothing.
        compositor: draws the overlays.
        samples: pictures that are averaged into one; false colours are never averaged.
        transparent: RGBA without the background; overlays are then left out.
        heat_scale: from which value to which false colours go.
    """

    options: RenderOptions
    heat_map: HeatMap = "off"
    overlays: OverlayOptions | None = None
    compositor: Compositor | None = None
    samples: int = 1
    transparent: bool = False
    heat_scale: HeatScale = "fixed"

    def picture(self, renderer: Renderer, camera: Camera, cancel: CancelToken) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3] or [H, W, 4].

        Raises:
            RenderCancelled: ``cancel`` says so.
            KiloNeRFError: it cannot be made.
        """
        return to_bytes(self.values(renderer, camera, cancel))

    def values(self, renderer: Renderer, camera: Camera, cancel: CancelToken) -> NDArray[Any]:
        """The same in float32 from 0 to 1; with overlays, which OpenGL draws, in uint8 all the same.

        Raises:
            RenderCancelled: ``cancel`` says so.
            KiloNeRFError: it cannot be made.
        """
        frame = self._frame(renderer, camera, cancel)
        picture = self._colors(frame)
        if self.samples > 1 and self.heat_map == "off":  # the mean of two false colors is the color of nothing
            mean = LinearMean()
            mean.add(picture)
            for number in range(1, self.samples):
                if cancel.cancelled:
                    raise RenderCancelled
                mean.add(self._colors(self._frame(renderer, offset_camera(camera, number), cancel)))
            picture = mean.mean()
        if self.transparent or self.overlays is None or not self.overlays.visible or self.compositor is None:
            return picture
        shot = Shot(renderer.scene, BackendChoice(), camera, self.options, self.heat_map)
        result = RenderResult(RenderRequest(shot, 1.0, camera), frame.with_colors(picture), 0.0)
        return self.compositor.draw(result, self.overlays, cancel)

    def _colors(self, frame: Frame) -> NDArray[np.float32]:
        return _straight_alpha(frame, self.options) if self.transparent else frame.rgb

    def _frame(self, renderer: Renderer, camera: Camera, cancel: CancelToken) -> Frame:
        if self.heat_map == "off":
            options = self.options.before(self.options.background) if self.transparent else self.options
            return renderer.render(camera, options, cancel=cancel)
        check_heat_map(self.heat_map, renderer.backend, renderer.outputs)
        options = self.options.before(NOTHING)
        frame = renderer.render(camera, options, PICTURE | NEEDED[self.heat_map], cancel=cancel)
        return false_colors(frame, self.heat_map, self.heat_scale, camera)


def _straight_alpha(frame: Frame, options: RenderOptions) -> NDArray[np.float32]:
    """RGBA [H, W, 4], colours not multiplied by alpha, the background taken out again."""
    alpha = np.clip(frame.alpha, 0.0, 1.0)[..., None]
    own = frame.rgb - (1.0 - alpha) * np.asarray(options.background, np.float32)
    return np.concatenate([np.divide(own, alpha, out=np.zeros_like(own), where=alpha > 1e-3), alpha], axis=-1)
