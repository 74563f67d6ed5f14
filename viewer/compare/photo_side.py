"""The photo of a view as the other side: laid over the window's picture by the two lenses, in a thread."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import Frame
from kilonerf.model_io import Camera, Scene
from kilonerf.model_io.datasets.views import View, load_image

from ..orientation.photo_cameras import PhotoCamera
from ..rendering.worker import RenderRequest, RenderResult
from .difference import difference_between

NEAR = 1e-4
"""A camera this near to a photo's, as a share of the scene's box, sees what it saw: there is no parallax."""
FINER = 1.25
"""A photo with this many times the pixels is made smaller first: sampling it would alias."""
OUTSIDE = 0.25
"""How bright the rendered picture is shown where the photo does not reach."""


def nearest_photo(cameras: list[PhotoCamera], camera: Camera) -> tuple[int, float] | None:
    """Which photo was taken nearest to ``camera``, and at what distance; None if there is none with a file."""
    places = {number: one.camera.position for number, one in enumerate(cameras) if one.view is not None}
    if not places:
        return None
    away = {number: float(np.linalg.norm(place - camera.position)) for number, place in places.items()}
    # Of several in one place, that which looks the same way.
    ahead = {number: float(cameras[number].camera.matrix[:3, 2] @ camera.matrix[:3, 2]) for number in places}
    least = min(away.values())
    best = max((number for number in away if away[number] <= 1.001 * least), key=lambda number: ahead[number])
    return best, away[best]


def is_near(distance: float, scene: Scene) -> bool:
    """Whether a camera so far from a photo's sees what the photo shows."""
    return distance <= NEAR * float(scene.box.size.max())


def photo_in_view(
    photo: NDArray[np.float32],  # [h, w, 3] in [0, 1]
    taken: Camera,
    camera: Camera,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What ``camera`` sees of a photo that was taken from the same place.

    Returns:
        colours [H, W, 3], and which pixels [H, W] the photo reaches.
    """
    smaller = taken.fy / camera.fy
    if smaller > FINER:
        from PIL import Image

        size = (max(1, round(taken.width / smaller)), max(1, round(taken.height / smaller)))
        channels = [Image.fromarray(photo[..., channel]).resize(size, Image.Resampling.BOX) for channel in range(3)]
        photo = np.stack([np.asarray(channel) for channel in channels], axis=-1)
    x_scale, y_scale = photo.shape[1] / taken.width, photo.shape[0] / taken.height
    # Rays of the camera in the photo's axes: a homography, as both look from one place.
    turn = (taken.matrix[:3, :3].T @ camera.matrix[:3, :3]).astype(np.float32)
    x = ((np.arange(camera.width) + 0.5 - camera.cx) / camera.fx).astype(np.float32)[None, :, None]
    y = (-(np.arange(camera.height) + 0.5 - camera.cy) / camera.fy).astype(np.float32)[:, None, None]
    rays = x * turn[:, 0] + y * turn[:, 1] - turn[:, 2]
    ahead = -rays[..., 2]
    in_front = ahead > 1e-6
    ahead = np.where(in_front, ahead, np.float32(1.0))
    u = (taken.cx + taken.fx * rays[..., 0] / ahead) * x_scale
    v = (taken.cy - taken.fy * rays[..., 1] / ahead) * y_scale
    height, width = photo.shape[:2]
    covered = in_front & (u >= 0.0) & (u <= width) & (v >= 0.0) & (v <= height)
    return _bilinear(photo, np.clip(u - 0.5, 0.0, width - 1.0), np.clip(v - 0.5, 0.0, height - 1.0)), covered


class PhotoSide:
    """Makes results of photos, one at a time, the newest wish last."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kilonerf-photo-side")
        self._wanted: tuple[RenderResult, View] | None = None
        self._future: Future[RenderResult] | None = None
        self._photo: tuple[View, tuple[float, float, float], NDArray[np.float32]] | None = None

    @property
    def busy(self) -> bool:
        """Whether one is being made, or has not been taken."""
        return self._future is not None

    def request(self, first: RenderResult, one: PhotoCamera, wake: Callable[[], None]) -> None:
        """Ask for the photo beside ``first``, unless that was the last wish; ``wake`` is called when it is there."""
        if one.view is None or self.busy or (self._wanted is not None and self._wanted == (first, one.view)):
            return
        self._wanted = (first, one.view)
        self._future = self._executor.submit(self._make, first, one.view, one.camera)
        self._future.add_done_callback(lambda _: wake())

    def take(self) -> RenderResult | None:
        """What has been made since the last call.

        Raises:
            KiloNeRFError: the photo cannot be read.
        """
        if self._future is None or not self._future.done():
            return None
        future, self._future = self._future, None
        return future.result()

    def close(self) -> None:
        """Finish what is being made."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _make(self, first: RenderResult, view: View, taken: Camera) -> RenderResult:
        shot, camera = first.request.shot, first.request.camera
        background = shot.options.background
        if self._photo is None or self._photo[:2] != (view, background):
            self._photo = (view, background, load_image(view, background))
        frame = first.host_frame()
        request = RenderRequest(shot, first.request.scale, camera, beside=first)
        if frame is None:
            return RenderResult(request, None, 0.0, error="the picture is gone")
        colors, covered = photo_in_view(self._photo[2], taken, camera)
        colors = np.where(covered[..., None], colors, np.float32(OUTSIDE) * frame.rgb)
        photo: Frame = frame.with_colors(colors)
        return RenderResult(request, photo, 0.0, "Photo", difference=difference_between(frame, photo, covered))


def _bilinear(
    picture: NDArray[np.float32],  # [h, w, 3]
    u: NDArray[np.floating],  # [H, W], columns
    v: NDArray[np.floating],  # [H, W], rows
) -> NDArray[np.float32]:
    left, top = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    right, bottom = np.minimum(left + 1, picture.shape[1] - 1), np.minimum(top + 1, picture.shape[0] - 1)
    across, down = (u - left)[..., None].astype(np.float32), (v - top)[..., None].astype(np.float32)
    upper = picture[top, left] * (1 - across) + picture[top, right] * across
    lower = picture[bottom, left] * (1 - across) + picture[bottom, right] * across
    return (upper * (1 - down) + lower * down).astype(np.float32, copy=False)
