"""The side panel's parts and what else ImGui draws, one class each: they write settings and ask the program."""

from .file_browser import FileBrowser
from .help_overlay import HelpOverlay
from .picture_messages import PictureMessages
from .side_panel import SidePanel

__all__ = ["FileBrowser", "HelpOverlay", "PictureMessages", "SidePanel"]
