"""Two pictures of one camera: when which one is made, and what is shown of them."""

import math
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import moderngl
import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera, KiloNeRFError, Scene

from ..camera.navigator import scaled_camera
from ..drawing.overlays import OverlayOptions
from ..drawing.scene_view import SceneView
from ..notices import Notices
from ..orientation.photo_cameras import PhotoCamera
from ..rendering.heat_maps import NOTHING, Range, shown_range
from ..rendering.resolution import REST_SECONDS, FrameScheduler, ResolutionController, Shot
from ..rendering.worker import RenderRequest, RenderResult, RenderWorker
from ..scene_loading import SceneLoader
from ..settings import ViewerSettings
from .choice import CompareSettings, other_shot
from .difference import Difference
from .layer import OtherLayer
from .photo_side import PhotoSide, is_near, nearest_photo

PAIR_SHARE = 0.4
"""In motion both pictures are made if they can be this large, linearly, against the first one alone."""
PATIENCE = 0.6
"""Seconds that a picture of a moving camera waits for its other side."""
MEMORY = 5
"""Times of the first picture that are kept."""


class Comparison:
    """The other side of the window's picture.

    Both sides are always of one camera. While the camera moves, each picture waits for its other side, and both get
    smaller together to keep the frame rate. Where the other side is so slow that they would get much too small, the
    window's own picture is shown everywhere until the camera rests.

    Args:
        ctx: OpenGL.
        settings: what is compared; switched off in it where it fails.
        worker: renders both.
        view: shows the window's own picture.
        notices: is told what went wrong.
        photos: the cameras of the photos of the moment.
        wake: wakes the window's thread.

    Attributes:
        first: the newest of the window's own pictures.
        second: the newest other one.
        gave_up: why what was asked for could not be shown; "" if it could.
    """

    def __init__(
        self,
        ctx: moderngl.Context,
        settings: ViewerSettings,
        worker: RenderWorker,
        view: SceneView,
        notices: Notices,
        photos: Callable[[], list[PhotoCamera]],
        wake: Callable[[], None],
    ) -> None:
        self._ctx, self._settings, self._worker, self._view = ctx, settings, worker, view
        self._notices, self._photos, self._wake = notices, photos, wake
        self._layer: OtherLayer | None = None
        self._scheduler = FrameScheduler(ResolutionController(settings.target_fps))
        self._alone_ms: deque[float] = deque(maxlen=MEMORY)  # of the first picture, for the full size
        self._held: tuple[RenderResult, float] | None = None  # waits for its other side, and since when
        self._wanted: Shot | None = None
        self._changed_at = -math.inf  # when that was another one
        self._now = 0.0
        self._of: tuple[object, ...] = ()  # what the newest pictures compare
        self._uploaded: tuple[object, ...] = ()
        self._loader = SceneLoader()
        self._loader.on_done = wake
        self.other_scene: Scene | None = None
        self._photo = PhotoSide()
        self.photo_name = ""
        self.first: RenderResult | None = None
        self.second: RenderResult | None = None
        self._heat_range: Range | None = None
        self.gave_up = ""

    @property
    def wanted(self) -> CompareSettings:
        """What is compared."""
        return self._settings.compare

    @property
    def active(self) -> bool:
        """Whether anything is."""
        return self.wanted.against != "off"

    @property
    def busy(self) -> bool:
        """Whether the other side of the window's picture is still to come."""
        if not self.active:
            return False
        if self.wanted.against == "photo":
            return self._photo.busy
        refining = self._scheduler.refining and self.first is not None and self.first.frame is not None
        return self._loader.loading is not None or self._held is not None or refining

    @property
    def resting(self) -> bool:
        """Whether the window's picture is of what the window wants: the camera is at rest."""
        shown = self._view.shown
        return shown is not None and shown.request.shot == self._wanted

    @property
    def together(self) -> bool:
        """Whether both pictures are of what the window shows."""
        second, shown = self.second, self._view.shown
        if not self.active or second is None or second.frame is None or second.request.beside is None or shown is None:
            return False
        return second.request.beside.request.shot == shown.request.shot

    @property
    def difference(self) -> Difference | None:
        """Of the two pictures that are shown, if they have one size and are no false colors."""
        second, shown = self.second, self._view.shown
        if not self.together or second is None or shown is None or second.request.shot.heat_map != "off":
            return None
        return second.difference if second.request.scale == shown.request.scale else None

    def go_on(self, now: float) -> RenderResult | None:
        """A frame of the window begins; a picture that has waited too long for its other side, to be shown now."""
        self._now = now
        self._follow_choice()
        self._take_scene()
        if self.wanted.against == "photo":
            self._take_photo()
        if self._held is None or (self.active and now - self._held[1] < PATIENCE):
            return None
        (first, since), self._held = self._held, None
        self._scheduler.resolution.frame_done(first.request.scale**2, 1000.0 * (now - since))  # at least
        self.first = first
        return first

    def holds(self, shot: Shot) -> bool:
        """The window wants ``shot``; whether it has to wait for the other side of the picture before."""
        if shot != self._wanted:
            self._wanted, self._changed_at = shot, self._now
        return self._held is not None

    def request(self, shot: Shot) -> None:
        """Ask for the other side of ``shot``, whose own picture is final or needs nothing for now."""
        first = self.first
        if not self.active or first is None or first.frame is None or first.request.shot != shot:
            return
        if self.wanted.against == "photo":
            self._request_photo(first)
            return
        other = self._other(shot)
        if other is None:
            return
        self._configure()
        scale = self._scheduler.next_scale(other, self._now)
        if scale is not None:
            self._worker.request(RenderRequest(other, scale, scaled_camera(shot.camera, scale), beside=first))

    def take(self, result: RenderResult) -> RenderResult | None:
        """Take a result of the worker; the one to show in the window now, if any."""
        if result.request.samples > 1:
            return result  # of a view at rest, asked for before anything was compared
        if result.request.beside is None:
            return self._take_first(result)
        held, self._held = self._held, None
        self._take_second(result)
        if held is None:
            return None
        self.first = held[0]
        return held[0]

    def extra_ms(self, first: RenderResult) -> float:
        """What the other side of a picture took, if the two were made together."""
        second = self.second
        return second.milliseconds if second is not None and second.request.beside is first else 0.0

    def draw(
        self,
        target: moderngl.Framebuffer,
        area: tuple[int, int, int, int],
        options: OverlayOptions,
        camera: Camera | None,
    ) -> None:
        """Draw the other side over the window's picture, which has just been drawn with the same arguments."""
        if not self.active:
            self.release_pictures()
            return
        if self._shows_second():
            self._upload()
            if self._layer is not None:
                divider = round(self.wanted.divider * area[2])
                self._layer.draw(target, area, options, camera, divider)

    def capture(self, camera: Camera, options: OverlayOptions) -> NDArray[np.uint8] | None:
        """What both sides show for ``camera``, uint8 [H, W, 3], a line between; None if they are not there in full."""
        shown = self._view.shown
        final = shown is not None and shown.request.shot.camera == camera and shown.request.scale == 1.0
        if not final or not self._shows_second() or self._layer is None or self._layer.view.shown is None:
            return None
        first, second = self._view.capture(options), self._layer.view.capture(options)
        if first.shape != second.shape:
            return None
        column = round(self.wanted.divider * first.shape[1])
        pixels = first.copy()
        pixels[:, column:] = second[:, column:]
        if 0 < column < first.shape[1]:
            pixels[:, max(0, column - 1) : column + 1] = 96  # seen on white and on black
        return pixels

    def release_pictures(self) -> None:
        """Forget the other side."""
        self.second = None
        self._uploaded = ()
        if self._layer is not None:
            self._layer.release()
            self._layer = None

    def close(self) -> None:
        """End what is under way, free everything on the GPU."""
        self._loader.close()
        self._photo.close()
        self.release_pictures()

    # The first picture.

    def _take_first(self, result: RenderResult) -> RenderResult | None:
        if result.frame is not None:
            self._alone_ms.append(result.milliseconds / result.request.scale**2)
            shot = result.request.shot
            fitted = self.active and shot.heat_map != "off" and shot.heat_scale == "fitted"
            self._heat_range = shown_range(result.frame, shot.heat_map, "fitted") if fitted else None
        if not self._is_pair(result):
            self._held = None
            self.first = result
            return result
        other = self._other(result.request.shot)
        if other is None:
            self.first = result
            return result
        self._held = (result, self._now)
        self._configure()
        self._scheduler.next_scale(other, self._now)
        scale, camera = result.request.scale, result.request.camera
        self._worker.request(RenderRequest(other, scale, camera, beside=result))
        return None

    def _is_pair(self, first: RenderResult) -> bool:
        """Whether the picture is to wait for its other side."""
        if not self.active or first.frame is None or self.wanted.against == "photo":
            return False
        scale = first.request.scale
        at_rest = first.request.shot == self._wanted and self._now - self._changed_at >= REST_SECONDS
        if at_rest and (scale >= 1.0 or not self._settings.automatic_resolution):
            return False
        second_ms = self._scheduler.resolution.full_ms
        if not self._alone_ms or second_ms is None:
            return True  # to find out
        alone, budget = statistics.median(self._alone_ms), 1000.0 / self._settings.target_fps
        if not self._settings.automatic_resolution:
            pixels = scale * scale
            return (alone + second_ms) * pixels <= max(budget, alone * pixels) / PAIR_SHARE**2

        def size(milliseconds: float) -> float:
            return min(1.0, math.sqrt(budget / max(milliseconds, 1e-3)))

        return size(alone + second_ms) >= PAIR_SHARE * size(alone)

    # The second one.

    def _take_second(self, result: RenderResult) -> None:
        request = result.request
        milliseconds = None if result.frame is None else result.milliseconds
        self._scheduler.frame_done(request.shot, request.scale, milliseconds)
        if result.frame is None:
            self.give_up(result.error or "it failed")
        else:
            self.second = result

    def _other(self, shot: Shot) -> Shot | None:
        return other_shot(shot, self.wanted, self.other_scene, self._heat_range)

    def _configure(self) -> None:
        settings, scheduler = self._settings, self._scheduler
        scheduler.resolution.target_fps = settings.target_fps
        scheduler.fixed_scale = None if settings.automatic_resolution else settings.fixed_scale
        self._worker.two_scenes = self.wanted.against == "scene"

    def _follow_choice(self) -> None:
        """Begin anew where something else is to be compared."""
        wanted = self.wanted
        of = (wanted.against, wanted.path, wanted.backend, wanted.scene)
        if of == self._of:
            return
        if wanted.against == "scene" and wanted.scene is not None and wanted.scene != self._scene_path:
            self.other_scene = None
            self._loader.load(wanted.scene)
        elif wanted.against != "scene":
            self.other_scene, self._worker.two_scenes = None, False
        self._of = of
        self._scheduler = FrameScheduler(ResolutionController(self._settings.target_fps))
        self.release_pictures()

    @property
    def _scene_path(self) -> Path | None:
        """The file of the other scene, once it has been read."""
        return self._of[3] if self.other_scene is not None and isinstance(self._of[3], Path) else None

    def _take_scene(self) -> None:
        outcome = self._loader.take()
        if outcome is None or self.wanted.against != "scene" or outcome.path != self.wanted.scene:
            return
        self.other_scene = outcome.scene
        if outcome.scene is None:
            self.give_up(str(outcome.error))

    def _request_photo(self, first: RenderResult) -> None:
        photos = self._photos()
        found = nearest_photo(photos, first.request.camera)
        self.photo_name = photos[found[0]].name if found is not None else ""
        if found is None or not is_near(found[1], first.request.shot.scene):
            return
        self._photo.request(first, photos[found[0]], self._wake)

    def _take_photo(self) -> None:
        try:
            result = self._photo.take()
        except (KiloNeRFError, OSError, MemoryError, ImportError) as error:
            self.give_up(str(error))
            return
        if result is not None and result.frame is not None:
            self.second = result

    def give_up(self, why: str) -> None:
        """Compare no more, and say why."""
        self.gave_up = why
        self._notices.add(f"Cannot compare: {why}", "error", self._now)
        self.wanted.against = "off"

    # On the screen.

    def _shows_second(self) -> bool:
        return self.together and not (self.wanted.difference and self._shown_difference() is None)

    def _shown_difference(self) -> Difference | None:
        return self.second.difference if self.second is not None else None

    def _upload(self) -> None:
        """The other picture, or the difference, to the GPU, unless it is there."""
        second, wanted = self.second, self.wanted
        if second is None or second.frame is None:
            return
        key = (second, wanted.difference, wanted.gain if wanted.difference else 0.0)
        if key == self._uploaded:
            return
        self._uploaded = key
        if self._layer is None:
            self._layer = OtherLayer(self._ctx, self._view)
        difference = self._shown_difference()
        shown, shot = second, second.request.shot
        if wanted.difference and difference is not None:
            shot = replace(shot, options=shot.options.before(NOTHING))
            frame = second.frame.with_colors(difference.colors(wanted.gain))
            shown = replace(second, frame=frame, request=replace(second.request, shot=shot))
        if self._layer.view.show(shown).frame is None:
            self.release_pictures()
