"""The files of a COLMAP model: where they are, which of several models is read, whether they are whole."""

import codecs
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ...errors import DatasetError
from ...files.downloads import broken_download
from ...files.text import read_text

if TYPE_CHECKING:
    import pycolmap

_FILES = ("cameras", "images", "points3D")
_RIGS = ("rigs", "frames")  # since COLMAP 3.12, and read by pycolmap where they are there
_SMALLEST_RECORD = {"cameras": 24, "images": 73, "points3D": 51, "rigs": 8, "frames": 68}  # bytes
# Parameters of COLMAP's camera models by their ids.
_NUMBERS = (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12, 16, 4, 5, 3, 4, 6, 2)
_MARKS = (codecs.BOM_UTF8[:2], codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MAX_TEXT = 2**30


def find_model(folder: Path) -> Path | None:
    """Where a data set's sparse model is; of several the one with the most views. None if there is none."""
    models = find_models(folder)
    return max(models, key=lambda path: _number_of_images(path)) if models else None  # the first of equals


def find_models(folder: Path) -> list[Path]:
    """All models of a data set: those in ``sparse/N``, else in ``colmap/sparse/N``, else one in a folder itself."""
    for parent in (folder / "sparse", folder / "colmap" / "sparse"):
        models = [path for path in _subfolders(parent) if _files(path)]
        if models:
            return models
    candidates = (folder / "sparse", folder / "colmap" / "sparse", folder / "colmap", folder, folder / "images")
    return [path for path in candidates if _files(path)][:1]


def describe_models(models: list[Path]) -> str:
    """Their names and numbers of views, for messages."""
    return ", ".join(f"{path.name} with {_number_of_images(path)}" for path in models)


def read_model(path: Path) -> "pycolmap.Reconstruction":
    """A model by pycolmap, once its files are known to be whole.

    Raises:
        DatasetError: pycolmap is not installed, or the model cannot be read.
    """
    pycolmap = load_pycolmap(f"{path}: expected pycolmap to read this COLMAP model, got none")
    files = _files(path)
    for file in [*files, *(path / f"{name}{files[0].suffix}" for name in _RIGS)]:
        if file.is_file():
            _check(file)
    try:
        with _without_marks(path, files) as folder:
            return pycolmap.Reconstruction(folder)
    except MemoryError as error:
        raise DatasetError(f"{path}: cannot read this COLMAP model: not enough memory") from error
    except Exception as error:  # pycolmap raises what its C++ raises
        names = ", ".join(file.name for file in files)
        raise DatasetError(
            f"{path}: cannot read this COLMAP model: {names} are damaged, do not belong together or are of an unknown "
            "form"
        ) from error


def load_pycolmap(missing: str) -> Any:
    """The module pycolmap, which then prints nothing.

    Raises:
        DatasetError: it is not installed: ``missing``, and how to install it.
    """
    try:
        import pycolmap
    except ImportError as error:
        raise DatasetError(f"{missing} (pip install kilonerf-view[train])") from error
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value
    return pycolmap


def names_of_text(path: Path) -> dict[int, str]:
    """The photos' names of a text model by image ids. pycolmap ends a name at its first space.

    Raises:
        DatasetError: ``images.txt`` cannot be read.
    """
    names: dict[int, str] = {}
    lines = iter(read_text(path / "images.txt", _MAX_TEXT, DatasetError).split("\n"))
    for line in lines:
        words = line.strip().split(maxsplit=9)
        if not words or words[0].startswith("#"):
            continue
        if len(words) == 10 and words[0].isdecimal():
            names[int(words[0])] = words[9]
        next(lines, None)  # the image's points; an empty line where it has none
    return names


@contextmanager
def _without_marks(path: Path, files: list[Path]) -> Iterator[Path]:
    """The model's folder; a copy of its text where that begins with a byte order mark, which pycolmap cannot read."""
    if files[0].suffix == ".bin" or not any(file.read_bytes()[:2] in _MARKS for file in files):
        yield path
        return
    with TemporaryDirectory(prefix="kilonerf-") as copy:
        for file in files:
            (Path(copy) / file.name).write_text(read_text(file, _MAX_TEXT, DatasetError), encoding="utf-8")
        yield Path(copy)


def _subfolders(folder: Path) -> list[Path]:
    """Numbers in their order, then others by name."""
    try:
        paths = [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []
    return sorted(paths, key=lambda path: (not path.name.isdecimal(), len(path.name), path.name))


def _files(folder: Path) -> list[Path]:
    """The files of a model: all binary or, if one of those is missing, all text."""
    for suffix in (".bin", ".txt"):
        files = [folder / f"{name}{suffix}" for name in _FILES]
        if all(file.is_file() for file in files):
            return files
    return []


def _number_of_images(path: Path) -> int:
    file = _files(path)[1]
    try:
        if file.suffix == ".bin":
            with file.open("rb") as stream:
                return int.from_bytes(stream.read(8), "little")
        return len(names_of_text(path))
    except (OSError, DatasetError):
        return 0


def _check(file: Path) -> None:
    """Refuse a file that is none, or a binary one that ends too early: pycolmap reads on past its end, for hours.

    Raises:
        DatasetError: it is a broken download, shorter than the counts in it say, or cannot be read.
    """
    broken = broken_download(file)
    if broken is not None:
        raise DatasetError(f"{file}: expected a whole COLMAP file, got {broken}")
    if file.suffix != ".bin":
        return
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DatasetError(f"{file}: cannot read: {error.strerror or error}") from error
    try:
        (count,), end = struct.unpack_from("<Q", data), 8
        if count * _SMALLEST_RECORD[file.stem] > len(data):
            raise struct.error
        for _ in range(count):
            end = _record_end(file.stem, data, end)
        if end > len(data):
            raise struct.error
    except (struct.error, ValueError, OverflowError) as error:  # ValueError: a name without an end
        raise DatasetError(f"{file}: expected a whole COLMAP file, got one that ends too early") from error


def _record_end(kind: str, data: bytes, start: int) -> int:
    """Where the record ends that starts at ``start``; at the least, for cameras of models that are not known here."""
    if kind == "cameras":  # id, model, width, height; parameters
        model = struct.unpack_from("<i", data, start + 4)[0]
        return start + 24 + 8 * (_NUMBERS[model] if 0 <= model < len(_NUMBERS) else 0)
    if kind == "images":  # id, quaternion, translation, camera; name; 2D points of 24 bytes
        name_end = data.index(b"\0", start + 64) + 1
        return name_end + 8 + 24 * struct.unpack_from("<Q", data, name_end)[0]
    if kind == "rigs":  # id, number of sensors; the first sensor's type and id; of the others these and their pose
        (sensors,) = struct.unpack_from("<I", data, start + 4)
        end = start + 8 + 8 * bool(sensors)
        for _ in range(1, sensors):
            end += 9 + 56 * bool(struct.unpack_from("<B", data, end + 8)[0])
        return end
    if kind == "frames":  # id, rig, quaternion, translation; sensor type, sensor and image of each of its photos
        return start + 68 + 16 * struct.unpack_from("<I", data, start + 64)[0]
    # id, position, colour, error; the track's elements of 8 bytes
    return start + 51 + 8 * struct.unpack_from("<Q", data, start + 43)[0]
