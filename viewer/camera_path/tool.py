"""Everything about camera paths that the window needs: editor, timeline, autosave, preview, lines in the scene."""

from collections.abc import Callable
from pathlib import Path

import moderngl
import numpy as np

from kilonerf.model_io import Camera, CameraPath, KiloNeRFError, Scene
from kilonerf.model_io.camera.interchange import PathFormat, save_path
from kilonerf.model_io.camera.simplify import simplified
from kilonerf.model_io.streaming.address import Location, is_there

from ..camera.navigator import Navigator
from ..notices import Notices
from ..recording.output_files import next_free_name
from ..recording.recording import Recording
from ..rectangle import Rectangle
from ..rendering.worker import RendererFactory, RenderResult
from ..settings import ViewerSettings
from .autosave import Autosave
from .editor import PathEditor
from .path_lines import PathLines
from .presets import PRESETS
from .preview import PathPreview
from .timeline import Timeline


class CameraPathTool:
    """Composes the parts. The camera that the window shows is the path's while it is played or scrubbed.

    Args:
        ctx: OpenGL.
        settings: how pictures and videos are made.
        navigator: the user's camera.
        recording: renders videos, and knows the last flight.
        notices: is told what was saved.
        state_folder: where paths are kept between runs.
        wake: wakes the window's thread.
        make_renderer: makes the renderer of the preview.
        browse: opens the file dialog.

    Attributes:
        shown: whether the timeline is.
        inset: whether the path is shown in a corner, in place of the window's picture.
        following: whether the window shows the path's camera.
        editor: the path.
    """

    def __init__(
        self,
        ctx: moderngl.Context,
        settings: ViewerSettings,
        navigator: Navigator,
        recording: Recording,
        notices: Notices,
        state_folder: Path,
        wake: Callable[[], None],
        make_renderer: RendererFactory,
        browse: Callable[[], None],
    ) -> None:
        self._settings, self._navigator, self._recording, self._notices = settings, navigator, recording, notices
        self._browse = browse
        self._autosave = Autosave(state_folder / "paths")
        self._preview = PathPreview(ctx, settings, wake, make_renderer)
        self._lines = PathLines()
        self.editor = PathEditor()
        self.timeline = Timeline(self.editor, self)
        self._scene: Scene | None = None
        self._now = 0.0
        self.shown = False
        self.inset = False
        self.following = False

    @property
    def height(self) -> float:
        """Of the timeline, in ImGui's units; 0 while it is hidden."""
        return Timeline.height() if self.shown else 0.0

    @property
    def moving(self) -> bool:
        """Whether the next frame shows something else without the user's doing."""
        return self.editor.playing

    @property
    def busy(self) -> bool:
        """Whether a picture of the preview is on its way."""
        return self._preview.busy

    def set_scene(self, scene: Scene, file: Location | None) -> None:
        """Another scene: its own path comes back."""
        self._autosave.flush(self.editor.path, self.editor.revision)
        self._scene, self.following = scene, False
        kept = file if file is not None and is_there(file) else None
        self.editor.reset(self._autosave.open(kept, self.editor.revision + 1))

    def replace_scene(self, scene: Scene, file: Location | None) -> None:
        """The same scene, further trained; as soon as it has a file, its path is kept."""
        self._scene = scene
        if file is not None and is_there(file) and not self._autosave.keeping:
            kept = self._autosave.open(file, -1)  # of no revision: what is there now is written
            if self.editor.path is None:
                self.editor.reset(kept)

    def draw(self, area: Rectangle, below: Rectangle, camera: Camera, shown: RenderResult | None, scale: float) -> None:
        """Draw the timeline into ``below`` and the path over the picture in ``area``.

        Args:
            area: where the picture is.
            below: where the timeline goes.
            camera: whose view the picture shows.
            shown: the picture.
            scale: pixels of a unit of the window.
        """
        if not self.shown:
            return
        self.timeline.draw(below, has_scene=self._scene is not None)
        self.timeline.shortcuts()
        editor = self.editor
        if self._scene is None or editor.path is None:
            return
        if not self.following:
            now = editor.camera(2, 2) if editor.duration > 0.0 else None
            radius = self._navigator.radius
            self._lines.draw(area, camera, editor.path, editor.selected, now, radius, shown)
        if self.inset:
            self._preview.draw(area, self._scene, editor.camera, scale)

    def advance(self, seconds: float, now: float, *, steering: bool) -> None:
        """Let time pass; the user who steers takes the camera over."""
        editor, track = self.editor, self.timeline.track
        self._now = now
        if track.sought and not self.inset:  # a camera that still glides does not steer
            self._navigator.stop()
            steering = False
        if steering:
            self.following = False
            if not self.inset:
                editor.playing = False
        elif (track.sought and (not self.inset or track.opened)) or (editor.playing and not self.inset):
            self.following = True
        editor.advance(seconds)
        self.following = self.following and editor.path is not None and self.shown
        if self.following:
            view = editor.camera(2, 2)
            if view is not None:
                self._navigator.be_at(view.matrix, view.fov_y)
        if self._settings.video.lens_blur == 0.0:  # what it begins with: the point that is orbited is sharp
            away = self._navigator.target - self._navigator.matrix()[:3, 3]
            self._settings.video.focus = float(np.linalg.norm(away))
        self._autosave.keep(editor.path, editor.revision, now)

    def camera(self, camera: Camera) -> Camera:
        """The camera of the window's picture: the path's while it is followed, with its roll."""
        view = self.editor.camera(2, 2) if self.following else None
        return camera if view is None else camera.moved(view.matrix)

    def close(self) -> None:
        """Save what is not saved, end the preview."""
        self._autosave.flush(self.editor.path, self.editor.revision)
        self._preview.release()

    # What the timeline and keys ask for.

    def toggle(self) -> None:
        """Show or hide the timeline."""
        self.shown = not self.shown
        self.editor.playing = False

    def add_key(self) -> None:
        """A key of the current view at the end of the path; the timeline is shown."""
        if self._scene is not None:
            self.shown = True
            self.editor.add(self._view())

    def insert_key(self) -> None:
        """A key of the current view at the playhead."""
        if self._scene is not None:
            self.editor.insert(self._view())

    def overwrite_key(self) -> None:
        """Give the selected key the current view."""
        self.editor.overwrite(self._view())

    def toggle_playing(self) -> None:
        """Play or stop; the timeline is shown."""
        if not self.inset:
            self._navigator.stop()
        self.shown = True
        self.editor.toggle_playing()

    def use_preset(self, name: str) -> None:
        """Replace the path by a preset."""
        view = self._view()
        self.editor.load(PRESETS[name](view, self._navigator.target))

    @property
    def has_flight(self) -> bool:
        """Whether a flight was recorded."""
        return self._recording.last_flight is not None

    def use_flight(self) -> None:
        """Replace the path by the last recorded flight."""
        if self._recording.last_flight is not None:
            self.edit(self._recording.last_flight)

    def edit(self, path: CameraPath) -> None:
        """Edit another path, with few keys."""
        few = simplified(path)
        self.editor.load(few)
        self.shown = True
        if len(few.keyframes) < len(path.keyframes):
            text = f"{len(path.keyframes)} keyframes became {len(few.keyframes)} keys"
            self._notices.add(f"{text}; Ctrl+Z brings the path before back", "info", self._now)

    def save(self) -> None:
        """Save the path under the next free name."""
        if self.editor.path is None:
            return
        try:
            file = next_free_name(self._recording.folder, "path", (".json",))
            self.editor.path.save(file)
        except KiloNeRFError as error:
            self._notices.add(f"Cannot save the path: {error}", "error", self._now)
            return
        self._notices.add(f"Camera path saved: {file}", "good", self._now)

    def export(self, to: PathFormat) -> None:
        """Save the path for another program, under the next free name."""
        if self.editor.path is None:
            return
        video = self._settings.video
        try:
            file = next_free_name(self._recording.folder, f"path_{to}", (".json",))
            save_path(self.editor.path, file, to, size=video.size, fps=video.fps)
        except KiloNeRFError as error:
            self._notices.add(f"Cannot save the path: {error}", "error", self._now)
            return
        self._notices.add(f"Camera path for {to} saved: {file}", "good", self._now)

    def open(self) -> None:
        """Open the file dialog."""
        self._browse()

    def render(self) -> None:
        """Render the path's video."""
        if self._scene is not None and self.editor.path is not None:
            self.editor.playing = False
            self._recording.render(self.editor.path, self._scene, self._now)

    def _view(self) -> Camera:
        return self.camera(self._navigator.view)
