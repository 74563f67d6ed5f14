"""How one frame is made: `create_renderer` gives a Renderer; its `render` takes a Camera and RenderOptions.

Backends: `reference` (NumPy, the truth that others are compared with), `cpu` (C++) and
`cuda` (CuPy). Loaded at first use.
"""

from .backends import BACKENDS, BackendChoice, create_renderer, query
from .frame import Frame, FrameStatistics
from .options import Crop, RenderOptions
from .renderer import LOOKUPS, PER_RAY, PICTURE, CancelToken, Output, RenderCancelled, Renderer

__all__ = [
    "BACKENDS",
    "LOOKUPS",
    "PER_RAY",
    "PICTURE",
    "BackendChoice",
    "CancelToken",
    "Crop",
    "Frame",
    "FrameStatistics",
    "Output",
    "RenderCancelled",
    "RenderOptions",
    "Renderer",
    "create_renderer",
    "query",
]
