"""Fields for paths in a dialog, each with a button that opens the file dialog over it."""

from pathlib import Path

from imgui_bundle import imgui

from ..panels import widgets
from ..panels.file_browser import FileBrowser, Purpose


class PathFields:
    """The fields of one dialog."""

    def __init__(self) -> None:
        self._browser = FileBrowser(name="path browser")
        self._asked = ""  # the field that the file dialog is open for
        self._chosen: dict[str, Path] = {}

    def file(self, name: str, value: str, tooltip: str, suffixes: tuple[str, ...]) -> str:
        """A row for a file that is there; what is in it now."""
        chosen = self._chosen.pop(name, None)
        return self._row(name, str(chosen or value), tooltip, "file", suffixes)

    def output(self, name: str, value: str, tooltip: str) -> str:
        """A row for a file that is to be written; its button chooses the folder."""
        chosen = self._chosen.pop(name, None)
        if chosen is not None:
            value = str(chosen / (Path(value).name or "scene.knf"))
        return self._row(name, value, tooltip, "folder", ())

    def draw_browser(self) -> bool:
        """Draw the file dialog if it is open; to be called within the dialog. Whether it is open."""
        chosen = self._browser.draw()
        if chosen is not None:
            self._chosen[self._asked] = chosen
        return self._browser.is_open

    def _row(self, name: str, value: str, tooltip: str, purpose: Purpose, suffixes: tuple[str, ...]) -> str:
        em = imgui.get_font_size()
        widgets.label(name, tooltip)
        button = 2.4 * em
        imgui.set_next_item_width(imgui.get_content_region_avail().x - button - imgui.get_style().item_spacing.x)
        _, value = imgui.input_text(f"##{name}", value)
        widgets.tip(f"{tooltip}\n{value}")
        imgui.same_line()
        if imgui.button(f"...##{name}", imgui.ImVec2(button, 0.0)):
            self._asked = name
            folder = Path(value).expanduser().parent
            self._browser.open(folder if value and folder.is_dir() else None, purpose, f"{name}: {tooltip}", suffixes)
        widgets.tip("Choose a folder" if purpose == "folder" else "Choose a file")
        return value
