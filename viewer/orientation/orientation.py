"""Composes what tells the user where they are and brings them elsewhere."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import moderngl
import numpy as np
from imgui_bundle import imgui
from numpy.typing import NDArray

from kilonerf.kernels import Crop
from kilonerf.model_io import Camera, KiloNeRFError, Scene
from kilonerf.model_io.streaming.address import Location, is_there

from ..camera.depth_in_view import depth_in_view
from ..camera.frames import plane_normal
from ..camera.input import Pick
from ..camera.navigator import Navigator
from ..camera.place import Place
from ..drawing.guides import Guides
from ..notices import Notices
from ..panels.recent_files import state_file
from ..rectangle import Rectangle
from ..rendering.worker import RenderResult
from ..settings import ViewerSettings
from .camera_markers import CameraMarkers
from .ground import axis_lines, ground_lines, lowest_height
from .photo_cameras import PhotoCameras, frusta
from .scene_memory import SceneMemories, SceneMemory
from .view_cube import ViewCube
from .view_text import parse_view, view_text

DEVICE_SECONDS = 0.25
"""How often a picture that stays on a GPU is looked at: each look copies it to the host."""
SAID_SECONDS = 4.0
CAMERA_COLOR = (0.98, 0.72, 0.25, 0.85)


class Orientation:
    """Told of each frame of the window by the program.

    Args:
        navigator: the camera.
        settings: what is switched on.
        notices: is told what happened.
        guides: draws axes, ground and cameras.
        ctx: OpenGL.
        wake: wakes the window's thread.

    Attributes:
        photos: the cameras of the photos.
        memory: what is remembered of the scene.
        wanted_data: the data set of the scene that is about to be opened, if it is known.
        floor_points: those that have been picked; None: none are being picked.
    """

    def __init__(
        self,
        navigator: Navigator,
        settings: ViewerSettings,
        notices: Notices,
        guides: Guides,
        ctx: moderngl.Context,
        wake: Callable[[], None],
    ) -> None:
        self._navigator, self._settings, self._notices, self._guides = navigator, settings, notices, guides
        self._measured: RenderResult | None = None
        self._measured_at = 0.0
        self._now = 0.0
        self._said, self._said_until = "", 0.0
        self._memories = SceneMemories(state_file().with_name("scenes.json"))
        self.memory = SceneMemory()
        self._scene: Scene | None = None
        self._path: Location | None = None
        self.photos = PhotoCameras(wake)
        self.wanted_data: Path | None = None
        self._current: int | None = None  # of the photos' cameras, where one is
        self._markers = CameraMarkers(ctx)
        self._cube = ViewCube(navigator)
        self.floor_points: list[NDArray[np.float64]] | None = None
        self._drawn: tuple[object, ...] = ()  # what the guides were made for

    def remembered(self, path: Location | None) -> SceneMemory:
        """What is remembered of a scene's file that is about to be opened."""
        self.memory = self._memories.of(path)
        return self.memory

    def set_scene(self, scene: Scene, path: Location | None) -> None:
        """Another scene is open; the navigator has it already."""
        self._scene, self._path = scene, path
        self._current = self.floor_points = None
        self.photos.set_scene(scene)
        folder, self.wanted_data = self.wanted_data, None
        if folder is not None:
            self.open_data(folder)
        elif (folder := data_folder(scene, path if isinstance(path, Path) else None)) is not None:
            self.photos.open(folder)

    def open_data(self, folder: Path) -> None:
        """Show the cameras of a data set."""
        self.photos.open(folder)
        self._show(cameras=True)

    def update(self, shown: RenderResult | None, now: float) -> None:
        """Take note of the picture on the screen, and of what has been read."""
        self._now = now
        self._measure(shown, now)
        changed, error = self.photos.poll()
        if error:
            self._notices.add(error, "error", now)
        if changed:
            self._current = None

    def draw(self, area: Rectangle, camera: Camera, pick: Pick) -> None:
        """Draw over the picture, and handle clicks.

        Args:
            area: where the picture is.
            camera: that the picture is shown for.
            pick: finds what is under the cursor.
        """
        if self._scene is None:
            return
        if self._settings.show_cube:
            self._cube.draw(area)
        self._update_guides(self._scene)
        if self.floor_points is not None:
            self._pick_floor(area, camera, pick)
        elif self._settings.overlays.cameras:
            chosen = self._markers.draw(self.photos, area, camera, self._navigator.radius)
            if chosen is not None:
                self.go_to_photo(chosen)

    @property
    def hint(self) -> str:
        """What the user is to do, or what a key has just done; "" if nothing."""
        if self.floor_points is not None:
            return f"Click three points of the floor that are not on one line: {len(self.floor_points)} of 3"
        if self.photos.reading is not None:
            return f"Reading the cameras of {self.photos.reading.name} ..."
        return self._said if self._now < self._said_until else ""

    def release(self) -> None:
        """Free everything on the GPU."""
        self._markers.release()

    def remember_crop(self, crop: Crop | None, *, on: bool) -> None:
        """For the scene that is open."""
        self.memory.crop, self.memory.cropped = crop, on
        self._keep()

    # What keys and panels ask for.

    def go_back(self) -> None:
        """To where the last jump began."""
        if not self._navigator.back():
            self._say("No jump to go back from")

    def step_photo(self, step: int) -> None:
        """To the next (1) or previous (-1) camera of a photo."""
        count = len(self.photos.all)
        if count:
            self.go_to_photo(((self._current if self._current is not None else -max(step, 0)) + step) % count)
        else:
            self._say("No cameras of photos are known: drop the folder of the data set on the window")

    def go_to_photo(self, index: int) -> None:
        """To the camera of a photo, by its number."""
        self._current = index
        one = self.photos.all[index]
        self._navigator.go_to(Place.of(one.camera))
        self._say(f"Photo {one.name}, {index + 1} of {len(self.photos.all)}")

    def copy_view(self) -> None:
        """To the clipboard, as JSON."""
        imgui.set_clipboard_text(view_text(self._navigator.place()))
        self._say("View copied as JSON")

    def paste_view(self) -> None:
        """Go to the view in the clipboard."""
        try:
            self._navigator.go_to(parse_view(imgui.get_clipboard_text() or "", self._navigator.fov))
        except KiloNeRFError as error:
            self._notices.add(f"Cannot paste: {error}", "error", self._now)

    def set_bookmark(self, digit: int) -> None:
        """Remember this view."""
        self.memory.bookmarks[digit] = self._navigator.place()
        self._keep()
        self._say(f"Bookmark {digit} set")

    def go_to_bookmark(self, digit: int) -> None:
        """Go to a view that was remembered."""
        place = self.memory.bookmarks.get(digit)
        if place is None:
            self._say(f"No bookmark {digit}: Ctrl + {digit} sets it")
        else:
            self._navigator.go_to(place)

    def toggle_cameras(self) -> None:
        """Show or hide the cameras of the photos."""
        self._show(cameras=not self._settings.overlays.cameras)
        if self._settings.overlays.cameras and not self.photos.all:
            self._say("No cameras of photos are known: drop the folder of the data set on the window")

    def toggle_ground(self) -> None:
        """Show or hide the ground grid and the axes."""
        shown = not self._settings.overlays.ground
        self._show(ground=shown, axes=shown)

    def toggle_floor(self) -> None:
        """Begin to pick three points of the floor, or give it up."""
        self.floor_points = [] if self.floor_points is None else None

    def reset_up(self) -> None:
        """The world's z is up again."""
        self.floor_points = None
        self.memory.up, self.memory.ground = (0.0, 0.0, 1.0), None
        self._navigator.set_up(self.memory.up)
        self._keep()

    def cancel(self) -> None:
        """Give up what is under way."""
        self.floor_points = None

    def _show(self, **switches: bool) -> None:
        self._settings.overlays = replace(self._settings.overlays, **switches)

    def _keep(self) -> None:
        if self._path is not None and is_there(self._path):  # not of a scene that is only in memory
            self._memories.keep(self._path, self.memory)

    def _say(self, text: str) -> None:
        """In the status bar, for a moment."""
        self._said, self._said_until = text, self._now + SAID_SECONDS

    def _measure(self, shown: RenderResult | None, now: float) -> None:
        """Let the camera's speed and pivot know how far away what it sees is."""
        if shown is None or shown is self._measured or shown.frame is None:
            return
        on_device = shown.frame.resident is not None
        if on_device and not (self._navigator.wants_depth and now - self._measured_at >= DEVICE_SECONDS):
            return
        self._measured, self._measured_at = shown, now
        frame = shown.host_frame()
        if frame is not None:
            self._navigator.see(depth_in_view(frame))

    def _update_guides(self, scene: Scene) -> None:
        options, navigator = self._settings.overlays, self._navigator
        wanted = (
            scene,
            options.axes,
            options.ground and (tuple(navigator.up.tolist()), self.memory.ground),
            options.cameras and self.photos.all,
        )
        if len(wanted) == len(self._drawn) and all(a is b or a == b for a, b in zip(wanted, self._drawn, strict=True)):
            return
        self._drawn = wanted
        self._guides.set_lines("axes", *(axis_lines(0.8 * navigator.radius) if options.axes else ((), ())))
        ground = ((), ())
        if options.ground:
            height = self.memory.ground if self.memory.ground is not None else lowest_height(scene, navigator.up)
            ground = ground_lines(navigator.world_from_level, height, navigator.centre, navigator.radius)
        self._guides.set_lines("ground", *ground)
        cameras = frusta(self.photos.all, navigator.radius) if options.cameras else ()
        self._guides.set_lines("cameras", cameras, CAMERA_COLOR)

    def _pick_floor(self, area: Rectangle, camera: Camera, pick: Pick) -> None:
        points, io = self.floor_points, imgui.get_io()
        if points is None:
            return
        self._markers.draw_points(points, area, camera)
        inside = not io.want_capture_mouse and area.contains(io.mouse_pos.x, io.mouse_pos.y)
        if not inside:
            return
        imgui.set_mouse_cursor(imgui.MouseCursor_.hand)
        if not self._markers.clicked():
            return
        hit = pick((io.mouse_pos.x - area.x) / area.width, (io.mouse_pos.y - area.y) / area.height)
        if hit is None:
            self._say("Nothing is there: click on the floor")
            return
        points.append(hit[0])
        if len(points) == 3:
            self._level(points)

    def _level(self, points: list[NDArray[np.float64]]) -> None:
        """Up is what the plane through three points says, on the camera's side."""
        normal = plane_normal(points, self._navigator.matrix()[:3, 3])
        if normal is None:
            points.clear()
            self._say("These points are on one line: click three others")
            return
        self.floor_points = None
        self.memory.up = (float(normal[0]), float(normal[1]), float(normal[2]))
        self.memory.ground = float(np.mean(points, axis=0) @ normal)
        self._navigator.set_up(normal)
        self._keep()
        self._notices.add("The floor is level now; it is remembered for this scene", "good", self._now)


def data_folder(scene: Scene, path: Path | None) -> Path | None:
    """The folder of the data set that a scene was trained from, where it can be found: beside the scene's file."""
    source = scene.provenance.get("source")
    if path is None or not isinstance(source, str) or not source:
        return None
    folder = path.absolute().parent / source
    try:
        return folder if folder.is_dir() else None
    except (OSError, ValueError):
        return None
