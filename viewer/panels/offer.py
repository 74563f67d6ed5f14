"""What can be done with a file that is no scene: a camera path is rendered, a checkpoint imported, photos trained."""

from dataclasses import dataclass
from pathlib import Path

from imgui_bundle import imgui

from kilonerf.model_io import CameraPath, KiloNeRFError
from kilonerf.model_io.camera.interchange import load_any_path
from kilonerf.model_io.datasets import available_splits, photos_without_poses

from ..recording.film import frame_count
from ..recording.frame_rate import exact_rate
from ..recording.output_files import PngTake, png_take
from . import widgets
from .file_browser import CHECKPOINTS


@dataclass(frozen=True)
class Offer:
    """What a file is, and what can be done with it.

    Attributes:
        title: what it is.
        text: what is known about it.
        path: a camera path that can be rendered.
        data: a data set that can be trained.
        has_poses: whether its cameras can be shown.
        checkpoint: one that can be imported.
        take: PNG frames of the path that are not complete.
    """

    title: str
    text: str
    path: CameraPath | None = None
    data: Path | None = None
    has_poses: bool = False
    checkpoint: Path | None = None
    take: PngTake | None = None


def offer_for(file: Path) -> Offer | None:
    """What to offer for a file or folder; None: it is to be opened as a scene.

    Raises:
        KiloNeRFError: it looks like a camera path or a data set, and is not.
    """
    suffix = file.suffix.lower()
    if suffix == ".json" and file.is_file() and not file.name.startswith("transforms"):
        path, program = load_any_path(file)
        count = len(path.keyframes)
        what = f"{count} keyframe{'s' * (count > 1)}, {path.duration:.1f} s"
        text = f"{what}. Render its video through the open scene, or edit it?"
        whose = "" if program == "kilonerf" else f" of {program}"
        take = png_take(file)
        if take is not None and take.done >= frame_count(path, exact_rate(take.settings.video.fps)):
            take = None
        return Offer(f"Camera path{whose} {file.name}", text, path=path, take=take)
    if suffix in CHECKPOINTS and file.is_file():
        return Offer(f"Checkpoint {file.name}", "", checkpoint=file)
    if suffix == ".json" or (file.is_dir() and suffix != ".knf"):
        file = file.parent if suffix == ".json" and file.is_file() else file
        splits = available_splits(file)
        text = f"Splits: {', '.join(splits)}"
        if not splits:
            photos = len(photos_without_poses(file))
            if not photos:
                raise KiloNeRFError(f"{file}: expected a scene, a camera path, a checkpoint or a data set")
            text = f"{photos} photo{'s' * (photos > 1)} without poses; COLMAP finds them, which takes a while"
        return Offer(f"Data set {file.name}", text, data=file, has_poses=bool(splits))
    return None


class OfferDialog:
    """Shows an offer; :meth:`draw` returns the path that is to be rendered or edited, once.

    Attributes:
        to_edit: whether the path that was returned last is to be edited.
        take: the PNG frames that are to be completed with it; None: a video of its own is to be rendered.
    """

    def __init__(self) -> None:
        self.to_edit = False
        self.take: PngTake | None = None
        self._offer: Offer | None = None
        self._dialog = widgets.Dialog("offer", 36.0)

    def show(self, offer: Offer) -> None:
        """Show it from the next frame on."""
        self._offer = offer
        self._dialog.open()

    def draw(self, *, can_render: bool) -> CameraPath | None:
        """Draw it if it is open; ``can_render``: whether there is a scene to fly through."""
        offer = self._offer
        if offer is None:
            return None
        with self._dialog.drawn(offer.title) as is_open:
            if not is_open:
                return None
            chosen, done = self._content(offer, can_render)
            if done or imgui.is_key_pressed(imgui.Key.escape, False):
                imgui.close_current_popup()
            return chosen

    def _content(self, offer: Offer, can_render: bool) -> tuple[CameraPath | None, bool]:
        widgets.paragraph(offer.text)
        imgui.spacing()
        if offer.path is not None:
            imgui.begin_disabled(not can_render)
            pressed = imgui.button("Render its video")
            imgui.end_disabled()
            widgets.tip("At the size, rate and format of the Recording section" if can_render else "Open a scene first")
            imgui.same_line()
            imgui.begin_disabled(not can_render)
            edit = imgui.button("Edit it")
            imgui.end_disabled()
            widgets.tip("In the timeline" if can_render else "Open a scene first")
            go_on = False
            if offer.take is not None:
                imgui.begin_disabled(not can_render)
                go_on = imgui.button(f"Go on after {offer.take.done} PNG files")
                imgui.end_disabled()
                widgets.tip(f"Render those that {offer.take.folder} lacks, as the others were rendered")
            if pressed or edit or go_on:
                self.to_edit, self.take = edit, offer.take if go_on else None
                return offer.path, True
        imgui.same_line()
        return None, imgui.button("Cancel##offer")
