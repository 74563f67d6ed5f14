"""Which program a camera path is of, and how it is read and written."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from ...errors import CameraPathError
from ...files.atomic import write_text
from ...files.json_values import is_object
from ...files.text import read_text
from ..path import FORMAT, MAXIMUM_FILE_BYTES, CameraPath
from .instant_ngp import is_instant_ngp, read_instant_ngp, write_instant_ngp
from .lichtfeld import is_lichtfeld, read_lichtfeld, write_lichtfeld
from .nerfstudio import is_nerfstudio, read_nerfstudio, write_nerfstudio
from .worlds import Similarity, Worlds

PathFormat = Literal["kilonerf", "nerfstudio", "nerfstudio-old", "instant-ngp", "lichtfeld"]
FORMATS: tuple[PathFormat, ...] = get_args(PathFormat)
EVERY = 0.1  # seconds between the keys that are written for programs with another curve

Reader = Callable[[dict[str, Any], Similarity], CameraPath]
_READERS: Mapping[str, tuple[Callable[[dict[str, Any]], bool], Reader, Callable[[Worlds], Similarity]]] = {
    "nerfstudio": (is_nerfstudio, read_nerfstudio, Worlds.nerfstudio),
    "instant-ngp": (is_instant_ngp, read_instant_ngp, Worlds.instant_ngp),
    "lichtfeld": (is_lichtfeld, read_lichtfeld, Worlds.lichtfeld),
}
NO_WORLDS = Worlds()


def load_any_path(file: Path, worlds: Worlds = NO_WORLDS) -> tuple[CameraPath, str]:
    """Read a camera path of this program or of another, in the scene's coordinates.

    Returns:
        The path, and whose format it is: "kilonerf", "nerfstudio", "instant-ngp" or "lichtfeld".

    Raises:
        CameraPathError: the file is missing, unreadable, of no known program, or breaks its format.
    """
    text = read_text(file, MAXIMUM_FILE_BYTES, CameraPathError)
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CameraPathError(f"{file}: expected JSON, got: {error}") from error
    if is_object(document) and document.get("format") != FORMAT:
        for name, (recognises, read, world) in _READERS.items():
            if recognises(document):
                try:
                    return read(document, world(worlds)), name
                except CameraPathError as error:
                    raise CameraPathError(f"{file}: {error}") from error
    return CameraPath.load(file), "kilonerf"


def save_path(
    path: CameraPath,
    file: Path,
    to: PathFormat,
    worlds: Worlds = NO_WORLDS,
    *,
    size: tuple[int, int] = (1920, 1080),
    fps: float = 30.0,
    every: float = EVERY,
) -> None:
    """Write a camera path for this program or another.

    Args:
        path: in the scene's coordinates.
        file: where; replaced if it is there.
        to: whose format.
        worlds: what is known about the scene's data set.
        size: width and height that nerfstudio renders.
        fps: frames per second that nerfstudio renders.
        every: seconds between keys for instant-ngp and LichtFeld Studio, whose curves are others; 0: the path's keys.

    Raises:
        CameraPathError: a file of ``worlds`` cannot be read.
        OutputError: the file cannot be written.
    """
    if to == "kilonerf":
        path.save(file)
        return
    if to == "instant-ngp":
        document = write_instant_ngp(path, worlds.instant_ngp(), every)
    elif to == "lichtfeld":
        document = write_lichtfeld(path, worlds.lichtfeld(), every)
    else:
        document = write_nerfstudio(path, worlds.nerfstudio(), *size, fps, old=to == "nerfstudio-old")
    write_text(file, json.dumps(document, indent=1) + "\n")
