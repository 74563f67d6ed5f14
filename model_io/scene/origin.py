"""Scenes in a far-away frame: their file keeps coordinates relative to an origin, because float32 has no room for both.

A scene made from poses in UTM metres, say, has ``provenance["coordinates"]["origin"]``: what was subtracted from every
position. Cameras of a data set are placed in such a scene by subtracting the same.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ..camera.camera import Camera

if TYPE_CHECKING:
    from .scene import Scene

Origin = tuple[float, float, float]
NO_ORIGIN: Origin = (0.0, 0.0, 0.0)


def scene_origin(scene: "Scene") -> Origin:
    """Where a scene's coordinates begin in those of its data set; zero where its provenance says nothing usable."""
    coordinates: Any = scene.provenance.get("coordinates")
    origin: Any = cast("Mapping[str, Any]", coordinates).get("origin") if isinstance(coordinates, Mapping) else None
    if not isinstance(origin, (list, tuple)):
        return NO_ORIGIN
    numbers = [value for value in cast("list[Any]", origin) if isinstance(value, (int, float)) and math.isfinite(value)]
    return (float(numbers[0]), float(numbers[1]), float(numbers[2])) if len(numbers) == 3 else NO_ORIGIN


def relative_to(origin: Origin, camera: Camera) -> Camera:
    """A camera of a data set, placed in a scene whose coordinates begin at ``origin``."""
    if not any(origin):
        return camera
    matrix = camera.matrix.copy()
    matrix[:3, 3] -= origin
    return camera.moved(matrix)
