"""What is remembered of each scene from run to run: bookmarks, which way is up, where the floor is."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kilonerf.kernels import Crop
from kilonerf.model_io import KiloNeRFError
from kilonerf.model_io.files.json_values import is_array, is_object
from kilonerf.model_io.streaming.address import Location, location_key

from ..camera.place import Place
from ..panels.recent_files import remember
from .view_text import view_document, view_from_document

KEPT = 100  # scenes
UP = (0.0, 0.0, 1.0)
LONGEST_NUMBER = 1e9


@dataclass
class SceneMemory:
    """Of one scene.

    Attributes:
        bookmarks: places by digit, 1 to 9.
        up: direction [3].
        ground: where the floor is: how far along ``up``; None: below everything.
        crop: the box that was last chosen to crop it.
        cropped: whether it was on.
    """

    bookmarks: dict[int, Place] = field(default_factory=dict[int, Place])
    up: tuple[float, float, float] = UP
    ground: float | None = None
    crop: Crop | None = None
    cropped: bool = False

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        views = {str(digit): view_document(place) for digit, place in sorted(self.bookmarks.items())}
        crop = None if self.crop is None else {"min": self.crop.min, "max": self.crop.max, "on": self.cropped}
        return {"bookmarks": views, "up": list(self.up), "ground": self.ground, "crop": crop}

    @classmethod
    def from_document(cls, document: object) -> "SceneMemory":
        """From JSON values; whatever is wrong with them is passed over."""
        memory = cls()
        if not is_object(document):
            return memory
        views = document.get("bookmarks")
        for digit, view in views.items() if is_object(views) else ():
            with suppress(KiloNeRFError):
                if len(digit) == 1 and digit in "123456789":
                    memory.bookmarks[int(digit)] = view_from_document(view, 1.0)
        up, ground = document.get("up"), document.get("ground")
        if is_array(up) and len(up) == 3 and all(isinstance(value, float) and abs(value) <= 1.0 for value in up):
            length = float(np.linalg.norm(up))
            memory.up = (up[0], up[1], up[2]) if length > 0.5 else UP
        if isinstance(ground, float) and abs(ground) < LONGEST_NUMBER:
            memory.ground = ground
        crop = document.get("crop")
        if is_object(crop):
            with suppress(KeyError, TypeError, ValueError):
                (x0, y0, z0), (x1, y1, z1) = ([float(number) for number in crop[end]] for end in ("min", "max"))
                memory.crop, memory.cropped = Crop((x0, y0, z0), (x1, y1, z1)), crop.get("on") is True
        return memory


class SceneMemories:
    """Those of the scenes that were opened last. To remember is a convenience: whatever goes wrong is passed over.

    Args:
        file: where they are kept; None: nowhere.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def of(self, scene: Location | None) -> SceneMemory:
        """What is remembered of a scene's file."""
        return SceneMemory.from_document(self._read().get(_key(scene))) if scene else SceneMemory()

    def keep(self, scene: Location | None, memory: SceneMemory) -> None:
        """Remember it from now on."""
        if self._file is None or scene is None:
            return
        known = self._read()  # again: another window may have written meanwhile
        known.pop(_key(scene), None)
        known[_key(scene)] = memory.document()
        remember(self._file, dict(list(known.items())[-KEPT:]))

    def _read(self) -> dict[str, Any]:
        if self._file is not None:
            with suppress(OSError, ValueError, RecursionError):
                document: Any = json.loads(self._file.read_text("utf-8"))
                if is_object(document):
                    return document
        return {}


def _key(scene: Location | None) -> str:
    return "" if scene is None else location_key(scene)
