"""Photos are found as people write their names, for all kinds of data sets.

A name in a data set may lack its extension or have another one, differ in case or Unicode form, have backslashes or the
folders of another computer; and the photos may lie in a folder ``images`` beside the file, or be there in smaller sizes
only (``images_2``, ``images_4``, ``images_8``).
"""

import difflib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
REDUCTIONS = (2, 4, 8)  # photos of images_N are an Nth as wide and as high as the data set says
_UNREADABLE = (".heic", ".heif", ".dng", ".cr2", ".nef", ".arw")  # photos that Pillow cannot read
_NO_PHOTO = re.compile(r"(^dynamic_mask_.*|.*[_.-](depth|normals?|mask)(_?\d+)?)$", re.IGNORECASE)
_DEEPEST = 16  # folders of another computer's path that are tried
_NAMED = 3  # file names in a message


@dataclass(frozen=True)
class Found:
    """Photos by the names of a data set.

    Attributes:
        paths: for each name its file, or None.
        reduction: 1, or N where they are those of ``images_N``.
        searched: for messages: which folders were searched for which name, and what is there.
    """

    paths: list[Path | None]
    reduction: int
    searched: str

    @property
    def kept(self) -> list[int]:
        """Which names a data set keeps: those with a photo or, where there are no photos, all as bare poses."""
        return [index for index, path in enumerate(self.paths) if path is not None or not any(self.paths)]


class PhotoFolders:
    """The folders in which a data set's photos may be; each is listed once.

    Args:
        root: the data set's folder.
        folders: those in it that names may be relative to; "" is the root itself.
    """

    def __init__(self, root: Path, folders: Sequence[str] = ("", "images")) -> None:
        self._bases = [root / folder for folder in folders]
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def find(self, names: Sequence[str]) -> Found:
        """Find the photos of all names.

        First as they are written; if not one is found so, without the folders that another computer had before them;
        and if not one is found so either, in ``images_2``, ``images_4`` and ``images_8``.
        """
        written = [_written(name) for name in names]
        paths, reduction = self._find_all(written, self._bases), 1
        for candidate in REDUCTIONS:
            if any(paths):
                break
            smaller = [folder for base in self._bases for folder in self._smaller(base, candidate)]
            paths, reduction = self._find_all(written, smaller, within=True), candidate
        if not any(paths):
            reduction = 1
        return Found(paths, reduction, "" if any(paths) or not names else self._searched(names[0]))

    def sidecar(self, photo: Path, name: str) -> Path | None:
        """A file beside a photo, or None."""
        listed = self._entries(photo.parent).get(_folded(name))
        return photo.parent / listed[0] if listed else None

    def _find_all(self, names: list[PurePosixPath], bases: list[Path], *, within: bool = False) -> list[Path | None]:
        paths = [None if within else self._find(name, bases) for name in names]
        if any(paths):
            return paths
        for parts in range(min(_DEEPEST, max((len(name.parts) for name in names), default=0)), 0, -1):
            shortened = [PurePosixPath(*name.parts[-parts:]) for name in names]
            paths = [self._find(name, bases) for name in shortened]
            taken = [path for path in paths if path is not None]
            # Shortened names may be those of several photos: then none of them says which.
            if taken and len(set(taken)) == len({name for name, path in zip(names, paths, strict=True) if path}):
                return paths
        return [None] * len(names)

    def _find(self, name: PurePosixPath, bases: list[Path]) -> Path | None:
        if name.is_absolute():
            bases, parts = [Path("/")], name.parts[1:]
        else:
            parts = name.parts
        for base in bases:
            folder: Path | None = base
            for part in parts[:-1]:
                folder = None if folder is None else self._folder(folder, part)
            if folder is not None and parts:
                found = self._file(folder, parts[-1])
                if found is not None:
                    return found
        return None

    def _folder(self, folder: Path, name: str) -> Path | None:
        if name == "..":
            return folder.parent if folder.name not in ("", "..") else folder / name
        for entry in self._matches(folder, name):
            if (folder / entry).is_dir():
                return folder / entry
        return None

    def _file(self, folder: Path, name: str) -> Path | None:
        # The extension is added to the whole name: a name may have dots of its own.
        candidates = [name, *(f"{name}{extension}" for extension in EXTENSIONS)]
        stem, dot, extension = name.rpartition(".")
        if dot and f".{extension.lower()}" in EXTENSIONS:
            candidates += [f"{stem}{other}" for other in EXTENSIONS]
        for candidate in candidates:
            for entry in self._matches(folder, candidate):
                path = folder / entry
                if path.is_file():
                    return path
        return None

    def _matches(self, folder: Path, name: str) -> list[str]:
        """Names in a folder that are ``name`` or, if only one is, differ from it in case or Unicode form only."""
        listed = self._entries(folder).get(_folded(name), [])
        return [name] if name in listed else listed if len(listed) == 1 else []

    def _entries(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listings:
            listing: dict[str, list[str]] = {}
            try:
                for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names only
                    listing.setdefault(_folded(name), []).append(name)
            except (OSError, ValueError):  # missing, no folder, not readable
                pass
            self._listings[folder] = listing
        return self._listings[folder]

    def _smaller(self, base: Path, reduction: int) -> Iterator[Path]:
        for entry in self._matches(base, f"images_{reduction}"):
            yield base / entry

    def _searched(self, name: str) -> str:
        """Which folders were searched for which name, and what is nearest to it there."""
        bases = self._bases
        said = f"searched {', '.join(map(str, bases))} for {name[:120]!r}"
        photos = [path for base in bases for path in list_photos(base)]
        if not photos:
            unreadable = [path.name for base in bases for path in _files(base) if path.suffix.lower() in _UNREADABLE]
            if unreadable:
                return f"{said}; there are files as {unreadable[0]}, which are not read: convert them to JPEG or PNG"
            return f"{said}; there are no photos"
        nearest = difflib.get_close_matches(_written(name).name, [path.name for path in photos[:1000]], 1, 0.0)
        return f"{said}; the nearest of {len(photos)} photos there is {nearest[0]!r}"


def list_photos(folder: Path) -> list[Path]:
    """The photos in a folder by their names; without hidden files, and depths, normals and masks beside photos."""
    return [path for path in _files(folder) if path.suffix.lower() in EXTENSIONS and not _NO_PHOTO.fullmatch(path.stem)]


def view_names(names: Sequence[str]) -> list[str]:
    """The views' names from their photos' paths: without folders and extension, but distinct.

    Where names repeat, as many folders stay before them as tell them apart, and then a number.
    """
    written = [_written(name) for name in names]
    short = [_stem(path.name) for path in written]
    repeated = {name for name, count in Counter(short).items() if count > 1}
    if not repeated:
        return short
    found: list[str] = []
    for path, name in zip(written, short, strict=True):
        if name in repeated:
            name = "/".join([*(part for part in path.parts[:-1] if part not in ("/", "..")), name])
        found.append(name)
    seen: Counter[str] = Counter()
    for index, name in enumerate(found):
        seen[name] += 1
        if seen[name] > 1:
            found[index] = f"{name}#{seen[name]}"
    return found


def listed(names: Sequence[str], most: int = _NAMED) -> str:
    """Some names for a message, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name[:120] for name in names[:most]) + more


def same_path(name: str) -> str:
    """A key that is equal for spellings of one path of a data set."""
    return _folded(str(_written(name)))


def _files(folder: Path) -> list[Path]:
    """Files of a folder that are neither hidden nor an alternate data stream that Windows left beside one."""
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError:
        return []
    return [path for path in paths if not path.name.startswith(".") and ":" not in path.name and path.is_file()]


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in EXTENSIONS else path.name


def _written(name: str) -> PurePosixPath:
    """A path of a data set with slashes, without a drive and without an address' scheme."""
    text = name.strip().removeprefix("file://").replace("\\", "/")
    return PurePosixPath(re.sub(r"^[A-Za-z]:/", "/", text))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
