"""Camera paths of other programs: nerfstudio, instant-ngp and LichtFeld Studio, read and written."""

from .formats import FORMATS, PathFormat, load_any_path, save_path
from .worlds import Worlds

__all__ = ["FORMATS", "PathFormat", "Worlds", "load_any_path", "save_path"]
