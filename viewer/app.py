"""The desktop program: composes window, camera, render worker and panels, and runs the loop that joins them."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from imgui_bundle import imgui

from kilonerf.kernels import create_renderer
from kilonerf.model_io import Camera, KiloNeRFError, Scene

from . import theme
from .camera.input import Rectangle, ViewInput
from .camera.navigator import Navigator, scaled_camera
from .drawing.scene_view import SceneView
from .live_statistics import LiveStatistics
from .notices import Notices
from .panels import FileBrowser, HelpOverlay, PictureMessages, SidePanel
from .recording.output_files import PngWriter
from .recording.recording import Recording, VideoOrder
from .rendering import heat_maps
from .rendering.interop import TRANSFERS, Interop
from .rendering.resolution import FrameScheduler, ResolutionController, Shot
from .rendering.worker import RendererFactory, RenderRequest, RenderResult, RenderWorker
from .scene_loading import SceneLoader
from .settings import ViewerSettings
from .window import Window

PROGRAM = "kilonerf-view"
INTERACTIVE_INTERVAL = 1.0 / 60.0
SOFTWARE_INTERVAL = 1.0 / 40.0
"""The same where OpenGL runs on the CPU: each frame there takes time from the renderer."""
BUSY_INTERVAL = 1.0 / 36.0
IDLE_INTERVAL = 0.5
AWAKE_SECONDS = 0.6
"""The window keeps its full rate this long after the last event: tooltips and highlights need some frames."""
SPEED_SECONDS = 1.5
"""So long a new fly speed is shown over the picture."""
LONGEST_STEP = 0.1
"""Held keys never count for more than this at once: a stall must not throw the camera through a wall."""


class ViewerApp:
    """One window with everything in it. Implements :class:`~kilonerf.viewer.panels.Actions`.

    Args:
        settings: what is switched on at the start.
        size: width and height of the window.
        folder: where screenshots, paths and videos go.
        loader: reads scenes; may have begun with the first one already.
        make_renderer: makes the renderers.
        interop: how pictures come to the window that are on a CUDA device.

    Raises:
        DisplayError: there is no display, or no OpenGL 3.3.
    """

    def __init__(
        self,
        settings: ViewerSettings,
        size: tuple[int, int],
        folder: Path,
        loader: SceneLoader,
        make_renderer: RendererFactory = create_renderer,
        interop: Interop | None = None,
    ) -> None:
        self.settings = settings
        self.window = Window(PROGRAM, *size, on_drop=self.drop)
        theme.apply(self.window.content_scale)
        self._folder = folder
        self._loader = loader
        self._loader.on_done = Window.wake
        self._required: Path | None = loader.loading
        self.scene: Scene | None = None
        self.scene_path: Path | None = None
        self.navigator = Navigator()
        self.notices = Notices()
        self.statistics = LiveStatistics()
        self.recording = Recording()
        self._interop = interop or Interop(wanted=settings.interop)
        self.view = SceneView(self.window.ctx, self._interop)
        self.worker = RenderWorker(Window.wake, make_renderer)
        self.scheduler = FrameScheduler(ResolutionController(settings.target_fps))
        self._png_writer = PngWriter()
        self._screenshot: RenderRequest | None = None
        self._panel = SidePanel(settings, self.navigator, self.statistics, self.recording, self.notices, self)
        self._messages = PictureMessages(self.recording)
        self._browser = FileBrowser()
        self._help = HelpOverlay()
        self._input = ViewInput(self.navigator, self._shortcuts())
        self._scale = self.window.content_scale
        self._interval = SOFTWARE_INTERVAL if self.window.software else INTERACTIVE_INTERVAL
        self._steering = False
        self._fallback = ""  # why "auto" took the CPU, as it was last said
        self._speed = (self.navigator.speed, 0.0)  # and until when to say so
        self._awake_until = 0.0
        self._warned = False  # that leaving aborts a video
        self._last_step = time.perf_counter()
        self._resting = True  # nothing moved in the last frame, so held keys count from now on only
        self.window.show()

    def step(self) -> None:
        """Wait for the time of the next frame, handle events, draw one frame.

        Raises:
            KiloNeRFError: the scene that the program was started with cannot be loaded.
        """
        if self.window.wait_for_events(*self._next_frame_times()):
            self._awake_until = time.perf_counter() + AWAKE_SECONDS
        now = time.perf_counter()
        seconds = self._interval if self._resting else min(now - self._last_step, LONGEST_STEP)
        self._last_step = now
        self._take_outcomes(now)
        if self.window.content_scale != self._scale:
            self._scale = self.window.content_scale
            theme.apply(self._scale)
        self.window.begin_frame(theme.SURFACE[:3])
        area = self._draw_interface(now)
        self._steering = self._input.update(area, seconds, self.view.pick)
        self.navigator.advance(seconds)
        self._resting = not (self._steering or self.navigator.moving_by_itself)
        pixels = self._pixels_of(area)
        camera = self.navigator.camera(pixels[2], pixels[3])
        self.recording.add(camera, now)
        self._request_picture(camera, now)
        shown_for = camera if self.settings.reprojection else None
        self.view.draw(self.window.target, pixels, self.settings.overlays, shown_for)
        self.window.end_frame()
        self.statistics.window_rate.add(now)

    def close(self) -> None:
        """End every thread and close the window; the path of a flight that is being recorded is saved.

        Raises:
            OutputError: that path cannot be written.
        """
        self._loader.close()
        self.worker.close()
        self._png_writer.close()
        self.view.release()
        self.window.close()
        self.recording.close(self._folder)

    def leaving(self) -> bool:
        """Whether the user wants to leave; while a video is being rendered, only if they say so twice."""
        if not self.window.should_close:
            return False
        if self.recording.stage == "rendering" and not self._warned:
            self._warned = True
            self.window.ask_to_close(False)
            self._say("A video is being rendered; close the window again to abort it")
            return False
        return True

    @property
    def now(self) -> float:
        """The time of the newest frame, ``time.perf_counter``."""
        return self._last_step

    @property
    def settled(self) -> bool:
        """Whether the picture is final for the current view, and nothing is under way."""
        done = not self.scheduler.refining and not self.worker.busy and not self.view.busy
        return done and self._loader.loading is None and not self.navigator.moving_by_itself

    # Actions, called by panels, keys and scripts.

    def browse(self) -> None:
        """Open the file dialog, beside the current scene."""
        self._browser.open(self.scene_path.absolute().parent if self.scene_path else None)

    def open_scene(self, path: Path) -> None:
        """Load a scene beside the interface; the old one stays until it is there."""
        self._loader.load(path)

    def drop(self, paths: list[Path]) -> None:
        """Files were dropped on the window: open the first."""
        if paths:
            self.open_scene(paths[0])
        if len(paths) > 1:
            self._say(f"{len(paths)} files dropped: opening {paths[0].name} only")

    def toggle_recording(self) -> None:
        """Begin to record the flight, or end it and render the video."""
        if self.recording.stage == "rendering":
            self._say("A video is being rendered; abort it or wait for it first")
        elif self.recording.stage == "idle" and self.scene is not None:
            now = time.perf_counter()
            _, _, width, height = self._pixels_of(self._picture_area())
            self.recording.start(now)
            self.recording.add(self.navigator.camera(width, height), now)
        elif self.recording.stage == "recording":
            self.finish_recording()

    def finish_recording(self, output: Path | None = None) -> None:
        """End the recording and begin to render it, to ``output`` or under the next free name."""
        if self.scene is None:
            return
        options = self.settings.render_options(self.scene)
        order = VideoOrder(self.scene, options, self.settings.backend, self.settings.video, self._folder, output)
        try:
            json_file = self.recording.stop(order)
        except KiloNeRFError as error:
            self._say_error(str(error))
        else:
            self._warned = False
            self._say(f"Camera path saved: {json_file}; rendering {self.recording.output}")

    def abort_video(self) -> None:
        """Stop rendering the video."""
        self.recording.abort()

    def take_screenshot(self) -> None:
        """Save the picture at full size, as soon as that is rendered."""
        if self.scene is None or self._screenshot is not None:
            return
        _, _, width, height = self._pixels_of(self._picture_area())
        shot = self._shot_of(self.scene, self.navigator.camera(width, height))
        self._screenshot = RenderRequest(shot, 1.0, shot.camera)
        if self.view.shown is not None and self.view.shown.request == self._screenshot:
            self._save_screenshot()

    # One frame's parts.

    def _shortcuts(self) -> dict[imgui.Key, Callable[[], None]]:
        return {
            imgui.Key.r: self.navigator.reset,
            imgui.Key.t: lambda: self.navigator.set_turntable(not self.navigator.turntable),
            imgui.Key.o: self.browse,
            imgui.Key.h: self._toggle_help,
            imgui.Key.f1: self._toggle_help,
            imgui.Key.tab: self._toggle_panel,
            imgui.Key.f9: self.toggle_recording,
            imgui.Key.f12: self.take_screenshot,
            imgui.Key.escape: self._escape,
        }

    def _next_frame_times(self) -> tuple[float, float]:
        """When the next frame is due if something happens, and at the latest."""
        start = self._last_step
        if not self._resting or self.recording.stage == "recording" or start < self._awake_until:
            return start + self._interval, start + self._interval
        busy = (
            self.worker.busy
            or self._loader.loading is not None
            or self.recording.stage == "rendering"
            or self._png_writer.busy
            or self.view.busy
            or self.scheduler.refining
            or bool(self.notices.shown(start))
        )
        return start + self._interval, start + (BUSY_INTERVAL if busy else IDLE_INTERVAL)

    def _take_outcomes(self, now: float) -> None:
        """Everything that other threads have finished since the last frame."""
        self._take_scene()
        for result in self.worker.take_results():
            self._take_picture(result, now)
        for path, error in self._png_writer.take_outcomes():
            if error is None:
                self.notices.add(f"Screenshot saved: {path}", "good", now)
            else:
                self.notices.add(f"Screenshot failed: {error}", "error", now)
        message = self.recording.poll()
        if message is not None:
            self.notices.add(*message, now)
        for error in self.window.take_errors():
            self.notices.add(f"Window system: {error}", "error", now)

    def _take_scene(self) -> None:
        outcome = self._loader.take()
        if outcome is None:
            return
        required, self._required = self._required, None
        if outcome.scene is None:
            if outcome.error is not None and outcome.path == required:
                raise outcome.error
            self._say_error(f"Cannot open: {outcome.error}")
            return
        if self.recording.stage == "recording" and not outcome.again:
            self.finish_recording()  # of the old scene
        self.scene, self.scene_path = outcome.scene, outcome.path
        wanted, self._screenshot = self._screenshot, None
        if outcome.again:  # the same scene, further trained: all else stays
            self.view.set_scene(outcome.scene, keep_picture=True)
            if wanted is not None:
                self.take_screenshot()
            return
        self.settings.background = None
        turntable = self.navigator.turntable
        self.navigator.set_scene(outcome.scene)
        self.navigator.set_turntable(turntable)
        self.view.set_scene(outcome.scene)
        self.window.set_title(f"{outcome.path.name} - {PROGRAM}")

    def _take_picture(self, result: RenderResult, now: float) -> None:
        request = result.request
        if request.shot.scene is not self.scene:
            return
        result = self.view.show(result)
        self.scheduler.frame_done(request.shot, request.scale, None if result.frame is None else result.milliseconds)
        if result.frame is None:
            self.notices.add(f"Rendering failed: {result.error}{self._give_way(result)}", "error", now)
            if request == self._screenshot:
                self._screenshot = None
            return
        self.statistics.add(result, now)
        way = "host" if result.frame.resident is None else self._interop.way
        self.statistics.transfer = TRANSFERS[way] if result.backend == "cuda" else ""
        problem = self._interop.take_problem()
        if problem is not None:
            self._say(problem)
        if result.fallback and result.fallback != self._fallback:
            self._say(f"Rendering on the CPU: {result.fallback}")
        self._fallback = result.fallback
        if request == self._screenshot:
            self._save_screenshot()

    def _give_way(self, failed: RenderResult) -> str:
        """Go on without a heat map, or with the CPU if a GPU failed (memory, driver); returns what to say about it."""
        if failed.request.shot.heat_map != "off":
            self.settings.heat_map = "off"
            return "; going on with the picture itself"
        if failed.backend != "cuda" or self.settings.backend != failed.request.shot.backend:
            return ""
        self.settings.backend = replace(self.settings.backend, name="cpu")
        return "; going on with the CPU"

    def _request_picture(self, camera: Camera, now: float) -> None:
        if self.scene is None:
            return
        if self._screenshot is not None:
            self.worker.request(self._screenshot)
            return
        shot = self._shot_of(self.scene, camera)
        settings, scheduler = self.settings, self.scheduler
        self.worker.keep_on_device = self._interop.way != "host"
        scheduler.resolution.target_fps = settings.target_fps
        scheduler.fixed_scale = None if settings.automatic_resolution else settings.fixed_scale
        scale = scheduler.next_scale(shot, now)
        running = self.worker.running
        if running is not None and running[0].shot.backend == shot.backend:
            scheduler.resolution.still_running(running[0].scale ** 2, running[1])
        if scale is not None:
            self.worker.request(RenderRequest(shot, scale, scaled_camera(camera, scale)))

    def _shot_of(self, scene: Scene, camera: Camera) -> Shot:
        options, heat_map = self.settings.render_options(scene), self.settings.heat_map
        if heat_map != "off":
            options = replace(options, background=heat_maps.NOTHING)
        return Shot(scene, self.settings.backend, camera, options, heat_map)

    def _draw_interface(self, now: float) -> Rectangle:
        """Panels, dialogs and messages; returns what is left for the picture."""
        loading = self._loader.loading
        if self.settings.show_panel:
            self._panel.draw(self.scene, self.scene_path, loading, now)
        area = self._picture_area()
        self._messages.draw(area, self.notices.shown(now), loading, self.scene is None, self._hint(now))
        centre = (area.x + 0.5 * area.width, area.y + 0.5 * area.height)
        self.settings.show_help = self._help.draw(*centre, self.settings.show_help)
        chosen = self._browser.draw()
        if chosen is not None:
            self.open_scene(chosen)
        return area

    def _hint(self, now: float) -> str:
        """The line in the picture's lower left corner."""
        if self.navigator.speed != self._speed[0]:
            self._speed = (self.navigator.speed, now + SPEED_SECONDS)
        if self._screenshot is not None:
            return "Rendering the screenshot ...  Esc cancels"
        if now < self._speed[1]:
            return f"Fly speed {self._speed[0]:.2f} x"
        return "" if self.settings.show_panel else "Tab  panel      H  keys"

    def _picture_area(self) -> Rectangle:
        width, height = (max(1, side) for side in self.window.size)
        panel = SidePanel.width(width) if self.settings.show_panel else 0.0
        return Rectangle(0.0, 0.0, width - panel, height)

    def _pixels_of(self, area: Rectangle) -> tuple[int, int, int, int]:
        """The same area in the framebuffer: x, y from below, width, height in pixels."""
        window_width, window_height = (max(1, side) for side in self.window.size)
        width, height = self.window.pixel_size
        return (
            round(area.x * width / window_width),
            0,
            max(1, round(area.width * width / window_width)),
            max(1, round(area.height * height / window_height)),
        )

    def _save_screenshot(self) -> None:
        self._screenshot = None
        try:
            self._png_writer.write(self._folder, "screenshot", self.view.capture(self.settings.overlays))
        except KiloNeRFError as error:
            self._say_error(f"Screenshot failed: {error}")

    def _toggle_help(self) -> None:
        self.settings.show_help = not self.settings.show_help

    def _toggle_panel(self) -> None:
        self.settings.show_panel = not self.settings.show_panel

    def _escape(self) -> None:
        self.settings.show_help = False
        self._screenshot = None

    def _say(self, text: str) -> None:
        self.notices.add(text, "info", time.perf_counter())

    def _say_error(self, text: str) -> None:
        self.notices.add(text, "error", time.perf_counter())
