"""The window: camera, pictures, overlays, panels, recording. ``show(scene)`` opens one from Python.

Nothing is imported before it is used: ``import kilonerf.viewer`` needs no display and no OpenGL.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .from_python import LiveWindow, show

__all__ = ["LiveWindow", "show"]


def __getattr__(name: str) -> Any:
    """The public name, from where it is."""
    if name in __all__:
        from . import from_python

        return getattr(from_python, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
