"""One finished picture for a file: samples per pixel, transparency, heat map and overlays, on any renderer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import PICTURE, BackendChoice, CancelToken, Frame, Renderer, RenderOptions
from kilonerf.model_io import Camera

from ..camera.navigator import scaled_camera
from ..drawing.compositor import Compositor
from ..drawing.overlays import OverlayOptions
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
        side_samples: samples of a pixel along each side: 2 is four a pixel.
        transparent: RGBA without the background; overlays are then left out.
        heat_scale: from which value to which false colours go.
    """

    options: RenderOptions
    heat_map: HeatMap = "off"
    overlays: OverlayOptions | None = None
    compositor: Compositor | None = None
    side_samples: int = 1
    transparent: bool = False
    heat_scale: HeatScale = "fixed"

    def picture(self, renderer: Renderer, camera: Camera, cancel: CancelToken) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3] or [H, W, 4].

        Raises:
            RenderCancelled: ``cancel`` says so.
            KiloNeRFError: it cannot be made.
        """
        fine = scaled_camera(camera, self.side_samples)
        frame = self._frame(renderer, fine, cancel)
        if self.transparent:
            return _to_bytes(_reduced(_straight_alpha(frame, self.options), self.side_samples, alpha=True))
        if self.overlays is None or not self.overlays.visible or self.compositor is None:
            if self.side_samples == 1:
                return frame.to_rgb8()
            return _to_bytes(_reduced(frame.rgb, self.side_samples))
        # The overlays see the fine picture, so that their lines are smooth, too.
        shot = Shot(renderer.scene, BackendChoice(), fine, self.options, self.heat_map)
        result = RenderResult(RenderRequest(shot, 1.0, fine), frame, 0.0)
        pixels = self.compositor.draw(result, self.overlays, cancel)
        return pixels if self.side_samples == 1 else _to_bytes(_reduced(pixels / 255.0, self.side_samples))

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


def _reduced(picture: NDArray[np.floating], side: int, *, alpha: bool = False) -> NDArray[np.floating]:
    """The mean of each ``side`` x ``side`` pixels of [H, W, C]; with alpha, colours count as much as they are seen."""
    if side == 1:
        return picture
    height, width, channels = picture.shape
    if alpha:
        weight = picture[..., 3:]
        picture = np.concatenate([picture[..., :3] * weight, weight], axis=-1)
    mean = picture.reshape(height // side, side, width // side, side, channels).mean(axis=(1, 3))
    if alpha:
        weight = mean[..., 3:]
        mean[..., :3] = np.divide(mean[..., :3], weight, out=np.zeros_like(mean[..., :3]), where=weight > 1e-6)
    return mean


def _to_bytes(picture: NDArray[np.floating]) -> NDArray[np.uint8]:
    return (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
