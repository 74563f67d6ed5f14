"""Opening files: dialogs, dropped files, and what is offered for those that are no scenes."""

import time
from collections.abc import Callable
from pathlib import Path

from kilonerf.model_io import CameraPath, KiloNeRFError, Scene
from kilonerf.model_io.streaming.address import Location, SceneUrl

from .inspection.detail import LevelOfDetail
from .making.tool import SceneMaking
from .notices import Notices
from .orientation.orientation import Orientation
from .panels import FileBrowser
from .panels.offer import OfferDialog, offer_for
from .panels.recent_files import RecentFiles
from .recording.recording import Recording
from .recording.screenshots import Screenshots
from .scene_loading import SceneLoader


class FileActions:
    """The file dialog and the offers.

    Args:
        loader: reads scenes.
        recording: has the folder for flights.
        screenshots: has the folder for screenshots.
        orientation: shows the cameras of a data set.
        notices: is told what went wrong.
        recent: files that were opened before.
        close_window: the user wants to leave.

    Attributes:
        detail: shows octree fields up to one of their levels.
        making: imports checkpoints and trains data sets.
    """

    def __init__(
        self,
        loader: SceneLoader,
        recording: Recording,
        screenshots: Screenshots,
        orientation: Orientation,
        notices: Notices,
        recent: RecentFiles,
        close_window: Callable[[], None],
    ) -> None:
        self._loader, self._recording, self._screenshots = loader, recording, screenshots
        self._orientation, self._notices = orientation, notices
        self._browser = FileBrowser(recent)
        self._offer = OfferDialog()
        self.detail = LevelOfDetail(loader)
        self.making = SceneMaking(loader, recording, notices, recent, self.open, close_window)

    def browse(self, scene_path: Path | None) -> None:
        """Open the file dialog, in the folder of the current scene."""
        self._browser.open(scene_path.absolute().parent if scene_path else None)

    def choose_folder(self) -> None:
        """Open the file dialog to choose where flights and screenshots go."""
        folder = self._recording.folder
        self._browser.open(folder if folder.is_dir() else Path.home(), "folder")

    def open(self, path: Location) -> None:
        """Load a scene in the background; of any other file, offer what can be done."""
        if isinstance(path, SceneUrl):
            self._loader.load(path)
            return
        try:
            offer = offer_for(path)
        except KiloNeRFError as error:
            self._notices.add(f"Cannot open: {error}", "error", time.perf_counter())
            return
        if offer is None:
            self._loader.load(path)
            return
        if offer.path is not None:
            self._offer.show(offer)
        if offer.checkpoint is not None:
            self.making.offer_import(offer.checkpoint)
        if offer.data is not None:
            self.making.offer_training(offer.data, offer.text)
            if offer.has_poses:
                self._orientation.open_data(offer.data)

    def drop(self, paths: list[Path]) -> None:
        """Files were dropped on the window: open the first."""
        if paths:
            self.open(paths[0])
        if len(paths) > 1:
            text = f"{len(paths)} files dropped: opening {paths[0].name} only"
            self._notices.add(text, "info", time.perf_counter())

    def draw(self, scene: Scene | None, now: float, edit: Callable[[CameraPath], None]) -> None:
        """Draw what is open, and do what is chosen there; ``edit`` opens a camera path in the timeline."""
        if self._recording.folder_wanted:
            self._recording.folder_wanted = False
            self.choose_folder()
        path, offer = self._offer.draw(can_render=scene is not None), self._offer
        chosen = self._browser.draw()
        self.making.draw(now)
        if chosen is not None and self._browser.purpose == "folder":
            self._recording.choose_folder(chosen, now)
            self._screenshots.folder = self._recording.folder
        elif chosen is not None:
            self.open(chosen)
        if path is None or scene is None:
            return
        if offer.to_edit:
            edit(path)
        elif offer.take is not None:
            self._recording.go_on(path, scene, offer.take, now)
        else:
            self._recording.render(path, scene, now)
