"""How one frame is made: `create_renderer` gives a Renderer; its `render` takes a Camera and RenderOptions.

Backends: `reference` (NumPy, the truth that others are compared with), `cpu` (C++) and
`cuda` (CuPy). Loaded at first use.
"""

from .frame import Frame, FrameStatistics
from .options import RenderOptions
from .renderer import BACKENDS, CancelToken, PerRayRenderer, RenderCancelled, Renderer, create_renderer, query

__all__ = [
    "BACKENDS",
    "CancelToken",
    "Frame",
    "FrameStatistics",
    "PerRayRenderer",
    "RenderCancelled",
    "RenderOptions",
    "Renderer",
    "create_renderer",
    "query",
]
