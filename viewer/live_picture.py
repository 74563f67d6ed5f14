"""The picture in the window: what is asked of the renderer for each view, and what becomes of its answers."""

from dataclasses import replace

from kilonerf.kernels import RenderOptions
from kilonerf.model_io import Camera, Scene

from .camera.navigator import scaled_camera
from .compare.comparison import Comparison
from .drawing.compositor import Compositor
from .drawing.scene_view import SceneView
from .live_statistics import LiveStatistics
from .notices import Notices
from .recording.screenshots import Screenshots
from .rendering.heat_maps import NOTHING
from .rendering.interop import TRANSFERS, Interop
from .rendering.resolution import FrameScheduler, ResolutionController, Shot
from .rendering.worker import RenderRequest, RenderResult, RenderWorker
from .settings import ViewerSettings


class LivePicture:
    """Keeps the picture up to date with the camera and the settings.

    Args:
        settings: what is switched on; a backend or heat map that fails is switched off in it.
        worker: renders.
        view: shows.
        interop: how pictures of a CUDA device reach the window.
        statistics: is told of each picture.
        screenshots: takes those that are not on the screen already.
        compositor: draws their overlays.
        notices: is told what went wrong.
        comparison: has the other side of each picture, if that is wanted.

    Attributes:
        scheduler: decides at what size a picture is made.
        gave_up: what was asked for and could not be shown ("heat map", "backend"), and why.
    """

    def __init__(
        self,
        settings: ViewerSettings,
        worker: RenderWorker,
        view: SceneView,
        interop: Interop,
        statistics: LiveStatistics,
        screenshots: Screenshots,
        compositor: Compositor,
        notices: Notices,
        comparison: Comparison,
    ) -> None:
        self.scheduler = FrameScheduler(ResolutionController(settings.target_fps))
        self._settings, self._worker, self._view, self._interop = settings, worker, view, interop
        self._statistics, self._screenshots, self._notices = statistics, screenshots, notices
        self._compositor, self._comparison = compositor, comparison
        self._compared = False
        self.gave_up: list[tuple[str, str]] = []
        self._fallback = ""  # why "auto" took the CPU, as it was last said

    @property
    def settled(self) -> bool:
        """Whether the picture is final for the current view."""
        return not (self._worker.busy or self._view.busy or self.scheduler.refining or self._lacks_samples) and (
            not self._comparison.busy
        )

    def seen(self, scene: Scene | None, *, resting: bool) -> bool:
        """Whether this state of a scene has been on the screen, at rest at full resolution, or cannot be."""
        shown = self._view.shows(scene) and not (resting and self.scheduler.refining)
        return shown or not (self._worker.busy or self.scheduler.refining)

    @property
    def busy(self) -> bool:
        """Whether a picture is being rendered or redrawn."""
        if self._worker.sampling:
            return self._view.busy
        return not self.settled

    @property
    def progress(self) -> str:
        """How many samples of each pixel the picture of a view at rest has, of how many; "" while there is none."""
        shown, wanted = self._view.shown, self._wanted_samples
        if shown is None or wanted == 1 or self.scheduler.refining:
            return ""
        return f"{shown.request.samples} of {wanted} samples per pixel"

    @property
    def _wanted_samples(self) -> int:
        """At rest; one where pictures are compared, and of false colours: the mean of two is the colour of nothing."""
        return 1 if self._comparison.active or self._settings.heat_map != "off" else self._settings.rest_samples

    @property
    def _lacks_samples(self) -> bool:
        return self.scheduler.lacks_samples(self._wanted_samples)

    def request(self, scene: Scene, camera: Camera, now: float, *, as_saved: bool = False) -> None:
        """Ask for the picture of a camera, if the newest one will not do; ``as_saved``: with a video's background."""
        settings = self._settings
        options = settings.render_options(scene) if as_saved else settings.window_options(scene)
        shot = self._shot_of(scene, camera, options)
        if self._comparison.active != self._compared:  # pictures of one sample are compared: make another
            self._compared = self._comparison.active
            self.scheduler = FrameScheduler(self.scheduler.resolution)
        if self._comparison.holds(shot):
            return
        scheduler = self.scheduler
        self._worker.keep_on_device = self._interop.way != "host"
        scheduler.resolution.target_fps = settings.target_fps
        scheduler.fixed_scale = None if settings.automatic_resolution else settings.fixed_scale
        scale = scheduler.next_scale(shot, now)
        running = self._worker.running
        if running is not None and running[0].shot.backend == shot.backend and running[0].beside is None:
            scheduler.resolution.still_running(running[0].scale ** 2, running[1])
        if scale is not None:
            self._worker.request(RenderRequest(shot, scale, scaled_camera(camera, scale)))
            return
        self._comparison.request(shot)
        samples = scheduler.next_samples(now, self._wanted_samples)
        if samples is not None:
            final = 1.0 if scheduler.fixed_scale is None else scheduler.fixed_scale
            self._worker.request(RenderRequest(shot, final, scaled_camera(camera, final), samples))

    def take_screenshot(self, scene: Scene, camera: Camera, now: float) -> None:
        """Save the picture of ``camera``: the one on the screen if it is that, else one rendered beside it."""
        settings = self._settings
        shot = self._shot_of(scene, camera, settings.render_options(scene))
        shown = self._view.shown
        samples = settings.screenshot.samples or settings.rest_samples
        wanted = RenderRequest(shot, 1.0, camera, samples if settings.heat_map == "off" else 1)
        both = self._comparison.capture(camera, settings.overlays) if settings.screenshot.as_shown else None
        if both is not None:
            self._screenshots.save_or_say(both, now)
            return
        if settings.screenshot.as_shown and shown is not None and shown.request == wanted:
            self._screenshots.save_or_say(self._view.capture(settings.overlays), now)
            return
        from .recording.stills import PictureMaker

        maker = PictureMaker(
            options=shot.options,
            heat_map=settings.heat_map,
            overlays=settings.overlays,
            compositor=self._compositor,
            samples=samples,
            transparent=settings.screenshot.transparent,
            heat_scale=settings.heat_scale,
        )
        self._screenshots.take(scene, settings.backend, camera, maker)

    def take_results(self, scene: Scene | None, now: float) -> None:
        """Show what has been rendered since the last call; pictures of another scene are dropped."""
        late = self._comparison.go_on(now)
        results = [self._comparison.take(result) for result in self._worker.take_results()]
        for result in (late, *results):
            if result is not None and result.request.shot.scene is scene:
                self._take(result, now)

    def _take(self, result: RenderResult, now: float) -> None:
        request = result.request
        result = self._view.show(result)
        if request.samples > 1 and result.frame is not None:
            self.scheduler.samples_done(request.shot, request.samples)
            return
        milliseconds = result.milliseconds + self._comparison.extra_ms(result)
        self.scheduler.frame_done(request.shot, request.scale, None if result.frame is None else milliseconds)
        if result.frame is None:
            self._notices.add(f"Rendering failed: {result.error}{self._give_way(result)}", "error", now)
            return
        self._statistics.add(result, now)
        way = "host" if result.frame.resident is None else self._interop.way
        self._statistics.transfer = TRANSFERS[way] if result.backend == "cuda" else ""
        problem = self._interop.take_problem()
        if problem is not None:
            self._notices.add(problem, "info", now)
        if result.fallback and result.fallback != self._fallback:
            self._notices.add(f"Rendering on the CPU: {result.fallback}", "info", now)
        self._fallback = result.fallback

    def _give_way(self, failed: RenderResult) -> str:
        """Go on without a heat map, or with the CPU if a GPU failed (memory, driver); returns what to say about it."""
        if failed.request.shot.heat_map != "off":
            self._settings.heat_map = "off"
            self.gave_up.append(("heat map", failed.error or ""))
            return "; going on with the picture itself"
        if failed.backend != "cuda" or self._settings.backend != failed.request.shot.backend:
            return ""
        if self._settings.backend.name == "cuda":
            self.gave_up.append(("backend", failed.error or ""))
        self._settings.backend = replace(self._settings.backend, name="cpu")
        return "; going on with the CPU"

    def _shot_of(self, scene: Scene, camera: Camera, options: RenderOptions) -> Shot:
        heat_map = self._settings.heat_map
        if heat_map != "off":
            options = options.before(NOTHING)
        return Shot(scene, self._settings.backend, camera, options, heat_map, self._settings.heat_scale)
