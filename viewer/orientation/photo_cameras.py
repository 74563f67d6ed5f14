"""Where the photos of a scene were taken: cameras from the scene's file or from its data set, and their photos."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera, KiloNeRFError, Scene
from kilonerf.model_io.datasets import available_splits, load_dataset
from kilonerf.model_io.datasets.views import View, load_pixels
from kilonerf.model_io.scene.origin import NO_ORIGIN, Origin, relative_to, scene_origin

THUMBNAIL = 320  # pixels of the longer side
KEPT = 64  # thumbnails
FRUSTUM_SHARE = 0.35  # depth of a frustum: of the median distance from a camera to the next one
LARGEST_FRUSTUM = 0.12  # of the scene's radius
SMALLEST_FRUSTUM = 0.012


@dataclass(frozen=True, eq=False)
class PhotoCamera:
    """One of them.

    Attributes:
        name: in its data set, or a number.
        camera: pose and lens.
        view: of the data set; None if only the pose is known.
    """

    name: str
    camera: Camera
    view: View | None = None


def cameras_of_scene(scene: Scene) -> list[PhotoCamera]:
    """The poses that a scene's file remembers, all with the start camera's lens."""
    lens = scene.start_camera
    if scene.training_poses is None or lens is None:
        return []
    return [PhotoCamera(f"{number}", lens.moved(pose)) for number, pose in enumerate(scene.training_poses)]


def cameras_of_folder(folder: Path, origin: Origin = NO_ORIGIN) -> list[PhotoCamera]:
    """Those of all splits of a data set, placed in a scene whose coordinates begin at ``origin``.

    Raises:
        DatasetError: it cannot be read.
    """
    found: dict[str, PhotoCamera] = {}
    for split in available_splits(folder) or ("train",):
        for view in load_dataset(folder, split).views:
            found.setdefault(view.name, PhotoCamera(view.name, relative_to(origin, view.camera), view))
    return list(found.values())


def frusta(cameras: list[PhotoCamera], radius: float) -> NDArray[np.float32]:
    """Lines of all frusta, float32 [L, 2, 3]: eight edges each, and a mark above the picture.

    Args:
        cameras: of a scene.
        radius: of its innermost box, world units.
    """
    if not cameras:
        return np.zeros((0, 2, 3), np.float32)
    depth = frustum_depth(cameras, radius)
    lines: list[NDArray[np.float64]] = []
    for one in cameras:
        corners = frustum_corners(one.camera, depth)
        eye = np.broadcast_to(one.camera.position, (4, 3))
        lines.append(np.stack([eye, corners], axis=1))
        lines.append(np.stack([corners, np.roll(corners, -1, axis=0)], axis=1))
        roof = 0.5 * (corners[0] + corners[1]) + 0.3 * (corners[0] - corners[3])
        lines.append(np.stack([corners[:2], np.broadcast_to(roof, (2, 3))], axis=1))
    return np.concatenate(lines).astype(np.float32)


def frustum_depth(cameras: list[PhotoCamera], radius: float) -> float:
    """How far from the eye a frustum's picture is drawn, world units."""
    places = np.array([one.camera.position for one in cameras])
    largest, smallest = LARGEST_FRUSTUM * radius, SMALLEST_FRUSTUM * radius
    if len(places) < 2:
        return largest
    apart = np.linalg.norm(places[:, None] - places[None, :], axis=-1)
    np.fill_diagonal(apart, np.inf)
    return float(np.clip(FRUSTUM_SHARE * np.median(apart.min(axis=1)), smallest, largest))


def frustum_corners(camera: Camera, depth: float) -> NDArray[np.float64]:
    """Corners [4, 3] of the picture at a z-depth: top left, top right, bottom right, bottom left."""
    u = np.array([0.0, camera.width, camera.width, 0.0])
    v = np.array([0.0, 0.0, camera.height, camera.height])
    directions = np.stack([(u - camera.cx) / camera.fx, -(v - camera.cy) / camera.fy, -np.ones(4)], axis=1)
    return camera.position + depth * directions @ camera.matrix[:3, :3].T


def thumbnail(view: View) -> NDArray[np.uint8]:
    """A view's photo, small, uint8 [H, W, 3], over white where it is transparent.

    Raises:
        DatasetError: it has none, or it cannot be read.
    """
    from PIL import Image

    pixels = load_pixels(view)
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    if picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return np.asarray(picture.convert("RGB"))


class PhotoCameras:
    """The cameras of the open scene, read in the background.

    Args:
        wake: called when something has been read.

    Attributes:
        all: in the order in which one goes through them.
        folder: of the data set that they are of, if any.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.all: list[PhotoCamera] = []
        self.folder: Path | None = None
        self._origin = NO_ORIGIN  # of the scene, in the data set's coordinates
        self._wanted: Path | None = None
        self._read: list[PhotoCamera] | None = None
        self._error = ""
        self._thumbnails: dict[int, NDArray[np.uint8] | None] = {}  # None: being read, or there is none
        self._lock = threading.Lock()

    @property
    def reading(self) -> Path | None:
        """The data set that is being read, if any."""
        return self._wanted

    def set_scene(self, scene: Scene) -> None:
        """Those that the scene's file has."""
        with self._lock:
            self._wanted = self._read = None
            self._error = ""
        self._origin = scene_origin(scene)
        self._take(cameras_of_scene(scene), None)

    def open(self, folder: Path) -> None:
        """Begin to read a data set."""
        with self._lock:
            self._wanted, self._read, self._error = folder, None, ""
        threading.Thread(target=self._load, args=(folder,), name="kilonerf-cameras", daemon=True).start()

    def poll(self) -> tuple[bool, str]:
        """Whether there are other cameras now, and what went wrong; each is said once."""
        with self._lock:
            read, error, folder = self._read, self._error, self._wanted
            self._read, self._error = None, ""
            if read is not None or error:
                self._wanted = None
        if read is not None:
            self._take(read, folder)
        return read is not None, error

    def photo(self, index: int) -> NDArray[np.uint8] | None:
        """A small photo, uint8 [H, W, 3]; None while it is being read, and where there is none."""
        view = self.all[index].view
        if view is None or view.image_path is None:
            return None
        if index not in self._thumbnails:
            for old in list(self._thumbnails)[: max(0, len(self._thumbnails) - KEPT + 1)]:
                del self._thumbnails[old]
            self._thumbnails[index] = None
            kept = self._thumbnails
            threading.Thread(
                target=self._load_photo, args=(kept, index, view), name="kilonerf-photo", daemon=True
            ).start()
        return self._thumbnails[index]

    def _take(self, cameras: list[PhotoCamera], folder: Path | None) -> None:
        self.all, self.folder, self._thumbnails = cameras, folder, {}

    def _load(self, folder: Path) -> None:
        read, error = None, ""
        try:
            read = cameras_of_folder(folder, self._origin)
        except (KiloNeRFError, OSError, MemoryError, ImportError) as problem:
            error = f"Cameras of {folder.name}: {problem}"
        with self._lock:
            if self._wanted == folder:
                self._read, self._error = read, error
        self._wake()

    def _load_photo(self, kept: dict[int, NDArray[np.uint8] | None], index: int, view: View) -> None:
        try:
            kept[index] = thumbnail(view)
        except (KiloNeRFError, OSError, MemoryError, ImportError):
            return  # the camera is shown without its photo
        self._wake()
