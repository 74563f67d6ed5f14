"""Names of what the viewer writes, PNG takes that can be gone on with, and pictures written in the background."""

import hashlib
import json
import re
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import Crop, RenderOptions
from kilonerf.model_io import KiloNeRFError, OutputError, Scene
from kilonerf.model_io.files.atomic import AtomicFile, write_text
from kilonerf.model_io.files.json_values import is_object

from ..drawing.overlays import OverlayOptions
from ..rendering.heat_maps import HeatMap, HeatScale
from ..settings import VideoSettings

FRAME = "frame_%05d.png"
FRAME_SETTINGS = ".frames"
"""Ending of the file beside a folder of PNG frames that says how they are rendered."""


def next_free_name(folder: Path, stem: str, suffixes: tuple[str, ...]) -> Path:
    """``folder/stem_NNN`` + suffix with the first number above all those taken, for any of ``suffixes``.

    Returns:
        The name with the first suffix; with any other one it is free as well.

    Raises:
        OutputError: the folder cannot be read.
    """
    pattern = re.compile(rf"{re.escape(stem)}_(\d+)({'|'.join(map(re.escape, suffixes))})")
    try:
        taken = [int(match[1]) for entry in folder.iterdir() if (match := pattern.fullmatch(entry.name))]
    except OSError as error:
        raise OutputError(f"{folder}: expected a folder to write to: {error.strerror}") from error
    return folder / f"{stem}_{max(taken, default=0) + 1:03d}{suffixes[0]}"


def check_folder(folder: Path) -> None:
    """Try to write to a folder.

    Raises:
        OutputError: it is missing, or cannot be written.
    """
    if not folder.is_dir():
        raise OutputError(f"{folder}: expected an existing folder to write to")
    AtomicFile(folder / "flight").discard()


def make_folder(folder: Path) -> None:
    """Make a folder, if it is not there yet.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make this folder: {error.strerror}") from error


@dataclass(frozen=True)
class TakeSettings:
    """All that decides what the pictures of a flight look like, apart from its path.

    Attributes:
        video: size, rate, exposure.
        options: of the renderer.
        heat_map: false colors in place of the scene's.
        heat_scale: from which value to which they go.
        overlays: what is drawn over the pictures; None: nothing.
        scene: :func:`scene_digest` of what is flown through.
    """

    video: VideoSettings
    options: RenderOptions
    heat_map: HeatMap = "off"
    heat_scale: HeatScale = "fitted"
    overlays: OverlayOptions | None = None
    scene: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: object) -> "TakeSettings":
        """From JSON values.

        Raises:
            ValueError, TypeError, KeyError: they are not those of :meth:`document`.
        """
        if not is_object(document):
            raise ValueError("expected a JSON object")
        said, overlays = document["options"], document["overlays"]
        plain = {name: getattr(RenderOptions(), name) for name in ("ess", "ert", "ert_threshold", "sky", "precision")}
        options = _as_typed(plain, said)
        options |= {name: None if said[name] is None else float(said[name]) for name in ("near", "far", "step")}
        crop = said["crop"]
        options["crop"] = None if crop is None else Crop(tuple(crop["min"]), tuple(crop["max"]))
        options["background"] = tuple(map(float, said["background"]))
        heat_map, heat_scale, scene = document["heat_map"], document["heat_scale"], document["scene"]
        if heat_scale not in ("fitted", "fixed"):
            low, high = heat_scale
            heat_scale = float(low), float(high)
        if heat_map not in get_args(HeatMap) or not isinstance(scene, str):
            raise ValueError(f"expected a heat map and a scene, got {heat_map!r}, {scene!r}")
        video = VideoSettings(**_as_typed(asdict(VideoSettings()), document["video"]))
        shown = None if overlays is None else OverlayOptions(**_as_typed(asdict(OverlayOptions()), overlays))
        return cls(video, RenderOptions(**options), heat_map, heat_scale, shown, scene)


def scene_digest(scene: Scene) -> str:
    """Tells scenes apart by what is rendered of them: boxes, grids, networks or features, sampling and sky."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((scene.near, scene.far, scene.num_samples)).encode())
    arrays = [scene.box_min, scene.box_max, *scene.field_arrays()]
    for cells in scene.levels:
        arrays += [cells.occupancy, cells.network_index]
    for array in arrays if scene.sky is None else [*arrays, scene.sky]:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _as_typed(defaults: dict[str, Any], document: Any) -> dict[str, Any]:
    """The values of a document under the names of ``defaults``: numbers, words and switches.

    Raises:
        ValueError: a value's type is not that of its default.
        KeyError: one is missing.
    """
    found: dict[str, Any] = {}
    for name, default in defaults.items():
        value = found[name] = document[name]
        if type(value) is not type(default) and not (isinstance(default, float) and type(value) is int):
            raise ValueError(f"{name}: expected a value like {default!r}, got {value!r}")
    return found


@dataclass(frozen=True)
class PngTake:
    """PNG frames that an earlier render has left.

    Attributes:
        folder: where they are.
        settings: how they were rendered.
        done: how many there are.
    """

    folder: Path
    settings: TakeSettings
    done: int


def keep_frame_settings(folder: Path, settings: TakeSettings) -> None:
    """Note beside a folder of PNG frames how they are rendered.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(folder.with_suffix(FRAME_SETTINGS), json.dumps(settings.document(), indent=1))


def png_take(path_file: Path) -> PngTake | None:
    """The PNG frames beside the file of their camera path, if there are any and it is known how they were rendered."""
    folder = path_file.with_suffix("")
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        settings = TakeSettings.from_document(json.loads(folder.with_suffix(FRAME_SETTINGS).read_text("utf-8")))
        done = sum(1 for _ in folder.glob("frame_*.png"))
        return PngTake(folder, settings, done) if done and settings.video.format == "png" else None
    return None


class PngWriter:
    """Writes numbered PNG files in a thread, so that the window does not wait for the compression."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="png")
        self._pending: list[tuple[Path, Future[None]]] = []

    @property
    def busy(self) -> bool:
        """Whether something has not been reported by :meth:`take_outcomes` yet."""
        return bool(self._pending)

    def write(self, folder: Path, stem: str, pixels: NDArray[np.uint8]) -> None:
        """Write ``pixels`` under the next free name.

        Raises:
            OutputError: the folder cannot be read.
        """
        from .picture_files import write_png  # brings the video library along, which takes a while to import

        path = next_free_name(folder, stem, (".png",))
        promised = [int(p.stem.rsplit("_", 1)[1]) for p, _ in self._pending if p.parent == folder]
        if promised:  # names given out a moment ago may not be on disk yet
            number = max(int(path.stem.rsplit("_", 1)[1]), max(promised) + 1)
            path = folder / f"{stem}_{number:03d}.png"
        self._pending.append((path, self._executor.submit(write_png, path, pixels)))

    def take_outcomes(self) -> list[tuple[Path, KiloNeRFError | None]]:
        """What has been written, or failed, since the last call."""
        done = [(path, future) for path, future in self._pending if future.done()]
        self._pending = [(path, future) for path, future in self._pending if not future.done()]
        outcomes: list[tuple[Path, KiloNeRFError | None]] = []
        for path, future in done:
            error = future.exception()
            if error is not None and not isinstance(error, KiloNeRFError):
                raise error
            outcomes.append((path, error))
        return outcomes

    def close(self) -> None:
        """Finish what is under way."""
        self._executor.shutdown(wait=True)
