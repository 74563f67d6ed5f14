"""Opening files: dialogs, dropped files, and what is offered for those that are no scenes."""

import time
from pathlib import Path

from kilonerf.model_io import CameraPath, KiloNeRFError

from .notices import Notices
from .orientation.orientation import Orientation
from .panels import FileBrowser
from .panels.offer import OfferDialog, offer_for
from .panels.recent_files import RecentFiles
from .recording.output_files import PngTake
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
    """

    def __init__(
        self,
        loader: SceneLoader,
        recording: Recording,
        screenshots: Screenshots,
        orientation: Orientation,
        notices: Notices,
        recent: RecentFiles,
    ) -> None:
        self._loader, self._recording, self._screenshots = loader, recording, screenshots
        self._orientation, self._notices = orientation, notices
        self._browser = FileBrowser(recent)
        self._offer = OfferDialog()

    @property
    def to_edit(self) -> bool:
        """Whether the path that :meth:`draw` returned last is to be edited, not rendered."""
        return self._offer.to_edit

    @property
    def take(self) -> PngTake | None:
        """The PNG frames that are to be completed with that path."""
        return self._offer.take

    def browse(self, scene_path: Path | None) -> None:
        """Open the file dialog, in the folder of the current scene."""
        self._browser.open(scene_path.absolute().parent if scene_path else None)

    def choose_folder(self) -> None:
        """Open the file dialog to choose where flights and screenshots go."""
        folder = self._recording.folder
        self._browser.open(folder if folder.is_dir() else Path.home(), "folder")

    def open(self, path: Path) -> None:
        """Load a scene in the background; of any other file, offer what can be done."""
        try:
            offer = offer_for(path)
        except KiloNeRFError as error:
            self._notices.add(f"Cannot open: {error}", "error", time.perf_counter())
            return
        if offer is None:
            self._loader.load(path)
            return
        self._offer.show(offer)
        if offer.data is not None:
            self._orientation.open_data(offer.data)

    def drop(self, paths: list[Path]) -> None:
        """Files were dropped on the window: open the first."""
        if paths:
            self.open(paths[0])
        if len(paths) > 1:
            text = f"{len(paths)} files dropped: opening {paths[0].name} only"
            self._notices.add(text, "info", time.perf_counter())

    def draw(self, *, has_scene: bool, now: float) -> CameraPath | None:
        """Draw what is open; a camera path whose video is wanted or that is to be edited, if any."""
        if self._recording.folder_wanted:
            self._recording.folder_wanted = False
            self.choose_folder()
        path = self._offer.draw(can_render=has_scene)
        chosen = self._browser.draw()
        if chosen is not None and self._browser.purpose == "folder":
            self._recording.choose_folder(chosen, now)
            self._screenshots.folder = self._recording.folder
        elif chosen is not None:
            self.open(chosen)
        return path if has_scene else None
