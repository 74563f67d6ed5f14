"""Everything about comparing that the window needs."""

from collections.abc import Callable

import moderngl

from kilonerf.model_io import Scene

from ..drawing.scene_view import SceneView
from ..notices import Notices
from ..orientation.orientation import Orientation
from ..panels.recent_files import RecentFiles
from ..rendering.worker import RenderWorker
from ..settings import ViewerSettings
from .choice import Against
from .comparison import Comparison
from .interface import CompareInterface
from .panel import ComparePanel
from .photo_side import is_near, nearest_photo


class CompareTool:
    """Composes the parts.

    Args:
        ctx: OpenGL.
        settings: what is compared.
        worker: renders.
        view: shows the window's own picture.
        orientation: has the cameras of the photos.
        notices: is told what went wrong.
        recent: files to offer.
        wake: wakes the window's thread.

    Attributes:
        comparison: decides what is made and shown.
        panel: the section of the side panel.
        interface: is drawn over the picture.
    """

    def __init__(
        self,
        ctx: moderngl.Context,
        settings: ViewerSettings,
        worker: RenderWorker,
        view: SceneView,
        orientation: Orientation,
        notices: Notices,
        recent: RecentFiles,
        wake: Callable[[], None],
    ) -> None:
        self._settings, self._view, self._orientation = settings, view, orientation
        photos = orientation.photos
        self.comparison = Comparison(ctx, settings, worker, view, notices, lambda: photos.all, wake)
        self.panel = ComparePanel(self.comparison, recent, self.go_to_photo)
        self._way_to_photo = False  # the photo was chosen, and the camera has not been sent to one yet
        self.interface = CompareInterface(self.comparison)
        self._last: Against = "ess"
        self._against: Against = "off"

    @property
    def busy(self) -> bool:
        """Whether the other side is still to come."""
        return self.comparison.busy or self._way_to_photo

    def update(self, scene: Scene | None) -> None:
        """A frame of the window begins: a photo that was chosen is gone to as soon as the cameras are known."""
        against = self._settings.compare.against
        if against != self._against:
            self._against, self._way_to_photo = against, against == "photo"
        photos = self._orientation.photos
        if not self._way_to_photo or scene is None or photos.reading is not None or self._view.shown is None:
            return
        self._way_to_photo = False
        found = nearest_photo(photos.all, self._view.shown.request.camera)
        if found is None:
            self.comparison.give_up("no photos are known: open the folder of the data set (--data, or drop it here)")
        elif not is_near(found[1], scene):
            self._orientation.go_to_photo(found[0])

    def toggle(self) -> None:
        """Compare with what was chosen last, or no more."""
        wanted = self._settings.compare
        if wanted.against == "off":
            wanted.against = self._last
            return
        self._last = wanted.against
        wanted.against = "off"

    def swap(self) -> None:
        """Show one of both pictures everywhere, in turn; begins to compare if nothing is."""
        wanted = self._settings.compare
        if wanted.against == "off":
            self.toggle()
        wanted.divider = 1.0 if wanted.divider == 0.0 else 0.0

    def go_to_photo(self) -> None:
        """To the camera of the photo that is nearest."""
        shown = self._view.shown
        found = None if shown is None else nearest_photo(self._orientation.photos.all, shown.request.camera)
        if found is None:
            self._orientation.step_photo(1)  # or say that there is none
        else:
            self._orientation.go_to_photo(found[0])
