"""The desktop program: composes window, camera, picture, recording and panels, and runs the loop that joins them."""

import time
from collections.abc import Callable
from pathlib import Path

from kilonerf.kernels import create_renderer
from kilonerf.model_io import Camera, Scene
from kilonerf.model_io.streaming.address import Location, is_there

from . import actions, theme
from .appearance.look import Look
from .appearance.panel import WindowPanel
from .camera.input import ViewInput
from .camera.navigator import Navigator
from .camera_path.tool import CameraPathTool
from .compare.tool import CompareTool
from .cropping.tool import CropTool
from .drawing.compositor import Compositor
from .drawing.scene_view import SceneView
from .file_actions import FileActions
from .inspection.legend import Legend
from .live_picture import LivePicture
from .live_statistics import LiveStatistics
from .notices import Notices
from .numbers.panel import NumbersPanel
from .numbers.tool import NumbersTool
from .orientation.orientation import Orientation
from .orientation.panel import OrientationPanel
from .pacing import Pacing
from .panels import HelpOverlay, PictureMessages, SidePanel
from .panels.recent_files import RecentFiles, state_file
from .panels.status_bar import StatusBar
from .panels.status_line import StatusLine
from .recording.recording import Recording
from .recording.screenshots import Screenshots
from .rectangle import Rectangle
from .rendering.interop import Interop
from .rendering.worker import RendererFactory, RenderWorker
from .scene_loading import SceneLoader
from .settings import ViewerSettings
from .welcome import CHAIR
from .welcome.card import WelcomeCard
from .window import Window

PROGRAM = "kilonerf-view"


class ViewerApp:
    """One window with everything in it. Implements :class:`~kilonerf.viewer.actions.Program`.

    Args:
        settings: what is switched on at the start.
        size: width and height of the window.
        folder: where screenshots, paths and videos go.
        loader: reads scenes; may have begun with the first one already.
        make_renderer: makes the renderers.
        interop: how pictures on a CUDA device reach the window.

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
        self.window = Window(PROGRAM, *size, on_drop=lambda paths: self._files.drop(paths))
        self._loader = loader
        self._loader.on_done = Window.wake
        self._required: Location | None = loader.loading
        self.scene: Scene | None = None
        self.scene_path: Location | None = None
        self.navigator = Navigator()
        self.notices = Notices()
        self.look = Look(self.window, settings, self.notices)
        self.statistics = LiveStatistics()
        self._compositor = Compositor(self.window.ctx, Window.wake)
        self.recording = Recording(settings, folder, self.notices, self._compositor)
        self.recording.recover(time.perf_counter())
        self._screenshots = Screenshots(folder, self.notices, make_renderer)
        interop = interop or Interop(wanted=settings.interop)
        self.view = SceneView(self.window.ctx, interop)
        self.worker = RenderWorker(Window.wake, make_renderer)
        self.orientation = Orientation(
            self.navigator, settings, self.notices, self.view.guides, self.window.ctx, Window.wake
        )
        self._recent = RecentFiles(state_file())
        self.compare = CompareTool(
            self.window.ctx, settings, self.worker, self.view, self.orientation, self.notices, self._recent, Window.wake
        )
        self.picture = LivePicture(
            settings,
            self.worker,
            self.view,
            interop,
            self.statistics,
            self._screenshots,
            self._compositor,
            self.notices,
            self.compare.comparison,
        )
        self._panel = SidePanel(settings, self.navigator, self.statistics, self.recording, self.notices, self)
        self._messages = PictureMessages(self.recording)
        self._files = FileActions(
            self._loader,
            self.recording,
            self._screenshots,
            self.orientation,
            self.notices,
            self._recent,
            self.window.ask_to_close,
        )
        self.welcome = WelcomeCard(self, self._recent)
        self._help, self._legend = HelpOverlay(), Legend()
        navigator, recording, wake = self.navigator, self.recording, Window.wake
        self._status = StatusLine(
            PROGRAM, settings, navigator, self.statistics, recording, self._screenshots, self.orientation, self
        )
        folder = state_file().parent
        self.camera_path = CameraPathTool(
            self.window.ctx, settings, navigator, recording, self.notices, folder, wake, make_renderer, self.browse
        )
        photos, editor = self.orientation.photos, self.camera_path.editor
        self.numbers = NumbersTool(settings, self.notices, make_renderer, wake, photos, editor, recording)
        self.crop = CropTool(settings, self.orientation)
        places, numbers = OrientationPanel(navigator, self.orientation), NumbersPanel(self.numbers)
        self._panel.sections += [places.draw, self.crop.draw_panel, self.compare.panel.draw, numbers.draw]
        self.making, self.detail = self._files.making, self._files.detail
        self._panel.last_sections += [self.making.panel.draw, WindowPanel(settings).draw]
        self._title = PROGRAM
        self._input = ViewInput(self.navigator, actions.bindings(self), actions.control_bindings(self))
        self._pose_time = 0.0  # when the navigator's camera is where it is now
        self._pacing = Pacing(time.perf_counter(), software=self.window.software)
        self.window.show()

    def step(self) -> None:
        """Wait for the time of the next frame, handle events, draw one frame.

        Raises:
            KiloNeRFError: the scene that the program was started with cannot be loaded.
        """
        event = self.window.wait_for_events(*self.next_frame_times())
        now = time.perf_counter()
        seconds = self._pacing.begin_frame(now, event=event)
        self._pose_time = now - seconds
        self._take_outcomes(now)
        self.view.empty = self.look.update(has_picture=self.view.shown is not None)
        self.window.begin_frame(theme.SURFACE[:3])
        area = self._draw_interface(now)
        steering = self._input.update(area, seconds, self.view.pick)
        self.navigator.advance(seconds)
        self.camera_path.advance(seconds, now, steering=steering or self.navigator.moving_by_itself)
        self._pacing.resting = not (steering or self.navigator.moving_by_itself or self.camera_path.moving)
        pixels = self.window.pixels_of(area)
        self._pose_time = now
        camera = self._camera(pixels[2], pixels[3])
        self.recording.add(self.navigator.view, now)
        self.numbers.update(self.scene, self.scene_path, camera, now, idle=not self.worker.busy)
        if self.scene is not None and not self.numbers.running:
            as_saved = self._guided or self.settings.compare.against == "photo"
            self.picture.request(self.scene, camera, now, as_saved=as_saved)
        shown_for = camera if self.settings.reprojection else None
        self.view.draw(self.window.target, pixels, self.settings.overlays, shown_for)
        self.compare.comparison.draw(self.window.target, pixels, self.settings.overlays, shown_for)
        self.window.end_frame()
        self.statistics.window_rate.add(now)

    def close(self) -> str:
        """End every thread and close the window; the path of a flight that is being recorded is saved.

        Returns:
            What there is to say about a training that was stopped, or goes on; "" for nothing.

        Raises:
            OutputError: that path cannot be written where it should be; the message says where it is.
        """
        try:
            self.recording.close()
        finally:
            self.look.close()
            self._loader.close()
            self.worker.close()
            self._compositor.close()
            self._screenshots.close()
            self.camera_path.close()
            self.orientation.release()
            self.compare.comparison.close()
            self.numbers.close()
            self.view.release()
            self.window.close()
            parting = self.making.close()
        return parting

    def leaving(self) -> bool:
        """Whether the user wants to leave; while a video is being rendered, only if they say so twice."""
        if not self.window.should_close:
            return False
        if self.recording.may_leave(time.perf_counter()) and self.making.may_leave():
            return True
        self.window.ask_to_close(False)
        return False

    @property
    def now(self) -> float:
        """The time of the newest frame, ``time.perf_counter``."""
        return self._pacing.now

    @property
    def sections(self) -> list[Callable[[], None]]:
        """What draws further sections of the side panel, in this order."""
        return self._panel.sections

    @property
    def settled(self) -> bool:
        """Whether the picture is final for the current view, and nothing is under way."""
        moving = self.navigator.moving_by_itself or self.camera_path.moving or self.camera_path.busy
        waiting = self._loader.loading is not None or self.compare.busy or self.numbers.running
        return self.picture.settled and not waiting and not moving

    def next_frame_times(self) -> tuple[float, float]:
        """When the next frame is due if something happens, and when at the latest."""
        busy = not self.numbers.running and (  # each frame of the window would cost what is measured
            self.picture.busy
            or self._loader.loading is not None
            or self.recording.rendering
            or self._screenshots.writing
            or self.camera_path.busy
            or bool(self.notices.shown(self.now))
        )
        return self._pacing.next_frame_times(recording=self.recording.stage == "recording", busy=busy)

    # What commands, panels and scripts ask for (actions.Program).

    def reset_camera(self) -> None:
        """Back to the scene's start camera."""
        self.navigator.reset()

    def toggle_turntable(self) -> None:
        """Start or stop the turntable."""
        self.navigator.set_turntable(not self.navigator.turntable)

    def browse(self) -> None:
        """Open the file dialog, in the folder of the current scene."""
        self._files.browse(self.scene_path if isinstance(self.scene_path, Path) else None)

    def choose_folder(self) -> None:
        """Open the file dialog to choose where flights and screenshots go."""
        self._files.choose_folder()

    def open_scene(self, path: Location) -> None:
        """Load a scene in the background; of any other file, offer what can be done."""
        self._files.open(path)

    def toggle_recording(self) -> None:
        """Begin to record the flight, or end it and render the video."""
        if self.scene is not None:
            self.recording.toggle(self.scene, self.navigator.view, self._pose_time)

    def abort_video(self) -> None:
        """Stop rendering the video."""
        self.recording.abort()

    def take_screenshot(self) -> None:
        """Save the picture at full size; the window goes on meanwhile."""
        if self.scene is not None:
            _, _, width, height = self.window.pixels_of(self._picture_area())
            width, height = self.settings.screenshot.size or (width, height)
            self.picture.take_screenshot(self.scene, self._camera(width, height), time.perf_counter())

    def toggle_timeline(self) -> None:
        """Show or hide the timeline of the camera path."""
        self.camera_path.toggle()

    def add_key(self) -> None:
        """Add a key of the current view to the camera path."""
        self.camera_path.add_key()

    def play_path(self) -> None:
        """Play the camera path, or stop."""
        self.camera_path.toggle_playing()

    def toggle_panel(self) -> None:
        """Hide or show the side panel."""
        self.settings.show_panel = not self.settings.show_panel

    def toggle_help(self) -> None:
        """Hide or show the list of keys."""
        self.settings.show_help = not self.settings.show_help

    def cancel(self) -> None:
        """Close the list of keys, the welcome and messages; give up a screenshot that is being rendered."""
        self.notices.dismiss()
        self.settings.show_help = self.welcome.shown = False
        self._screenshots.cancel()
        self.orientation.cancel()
        self.crop.cancel()
        self.numbers.cancel()

    # One frame's parts.

    def _take_outcomes(self, now: float) -> None:
        """Everything that other threads have finished since the last frame."""
        self._take_scene(now)
        self.picture.take_results(self.scene, now)
        self.orientation.update(self.view.shown, now)
        self.compare.update(self.scene)
        self._screenshots.poll(now)
        self.recording.poll(now)
        self.making.update(self.scene_path, now)
        self._compositor.serve()
        for error in self.window.take_errors():
            self.notices.add(f"Window system: {error}", "error", now)

    def _take_scene(self, now: float) -> None:
        outcome = self._loader.take(ready=self.picture.seen(self.scene, resting=self._pacing.resting))
        if outcome is None:
            return
        required, self._required = self._required, None
        if outcome.scene is None and outcome.error is not None and outcome.path == required:
            raise outcome.error
        outcome.say(self.notices, now)
        if outcome.scene is None:
            return
        again = outcome.again and self.scene is not None
        if self.scene is not None and self.recording.stage == "recording" and not again:
            self.recording.finish(self.scene, now)  # of the old scene
        self.scene, self.scene_path = outcome.scene, outcome.path
        self.welcome.shown = self.welcome.shown and outcome.path == CHAIR
        if is_there(outcome.path) and not again and outcome.path != CHAIR:
            self._recent.add(outcome.path)
        if again:  # the same scene, further trained: all else stays
            self.view.set_scene(outcome.scene, keep_picture=True)
            self.camera_path.replace_scene(outcome.scene, outcome.path)
            return
        self.settings.background = None
        turntable = self.navigator.turntable
        self.navigator.set_scene(outcome.scene, self.orientation.remembered(outcome.path).up)
        self.orientation.set_scene(outcome.scene, outcome.path)
        self.crop.set_scene(outcome.scene)
        self.navigator.set_turntable(turntable)
        self.view.set_scene(outcome.scene)
        self.camera_path.set_scene(outcome.scene, outcome.path)

    def _draw_interface(self, now: float) -> Rectangle:
        """Panels, dialogs and messages; returns what is left for the picture."""
        loading = self._loader.loading
        if self.settings.show_panel:
            self._panel.draw(self.scene, self.scene_path, loading, self._loader.streamed, now)
        area = self._picture_area()
        self._draw_status(now)
        below = Rectangle(area.x, area.height, area.width, self.camera_path.height)
        pixels = self.window.pixels_of(area)
        camera = self._camera(pixels[2], pixels[3])
        self.camera_path.draw(area, below, self.view.displayed or camera, self.view.shown, pixels[2] / area.width)
        guide = area.fitted(self.settings.video.aspect) if self._guided else None
        self.compare.interface.draw(area, self.view.shown)
        self._messages.draw(area, self.notices.shown(now), loading, self.scene is None, guide)
        self.orientation.draw(area, camera, self.view.pick)
        self.crop.draw(area, self.view.displayed or camera, self.view.shown)
        self._legend.draw(area, self.view.shown, camera)
        self.welcome.draw(area)
        centre = (area.x + 0.5 * area.width, area.y + 0.5 * area.height)
        self.settings.show_help = self._help.draw(*centre, self.settings.show_help)
        self._files.draw(self.scene, now, self.camera_path.edit)
        return area

    @property
    def _guided(self) -> bool:
        """Whether the window shows what the video will contain."""
        wanted = self.settings.frame_guide or self.recording.stage == "recording" or self.camera_path.shown
        return self.scene is not None and wanted

    def _camera(self, width: int, height: int) -> Camera:
        """The camera of the window's picture at this size in pixels."""
        camera = self.navigator.camera(width, height, self.settings.video.aspect if self._guided else 0.0)
        return self.camera_path.camera(camera)

    def _draw_status(self, now: float) -> None:
        width, height = self.window.size
        below = Rectangle(0.0, max(1.0, height - StatusBar.height()), max(1.0, width), StatusBar.height())
        under_way, progress = self.numbers.hint or self._loader.progress, self.picture.progress
        resting = self._pacing.resting
        self._status.draw(below, self.view.shown, now, resting=resting, under_way=under_way, progress=progress)
        title = self._status.title(self.scene_path.name if self.scene_path else "")
        if title != self._title:
            self._title = title
            self.window.set_title(title)

    def _picture_area(self) -> Rectangle:
        width, height = (max(1, side) for side in self.window.size)
        panel = SidePanel.width(width) if self.settings.show_panel else 0.0
        below = StatusBar.height() + self.camera_path.height
        return Rectangle(0.0, 0.0, width - panel, max(1.0, height - below))
