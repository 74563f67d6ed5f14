"""A dialog to choose a scene file, drawn with ImGui alone: it looks the same everywhere and needs no desktop.

(imgui_bundle's own ``im_file_dialog`` asks for texture callbacks that only its own main loop sets.)
"""

from dataclasses import dataclass
from pathlib import Path

from imgui_bundle import imgui

from .. import theme

TITLE = "Open scene"
SUFFIX = ".knf"


@dataclass(frozen=True)
class Entry:
    """One line of the list; ``size`` in bytes, None for a folder."""

    path: Path
    size: int | None


def list_folder(folder: Path) -> list[Entry]:
    """Folders first, then ``.knf`` files, by name, without hidden ones.

    Raises:
        OSError: the folder cannot be read.
    """
    folders, files = [], []
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name.lower()):
        if path.name.startswith("."):
            continue
        try:
            if path.is_dir():
                folders.append(Entry(path, None))
            elif path.suffix.lower() == SUFFIX:
                files.append(Entry(path, path.stat().st_size))
        except OSError:  # it vanished, or we may not look at it: nothing to offer
            continue
    return [*folders, *files]


class FileBrowser:
    """Opens as a modal dialog; :meth:`draw` returns the chosen file once."""

    def __init__(self) -> None:
        self._folder = Path.cwd()
        self._entries: list[Entry] = []
        self._error = ""
        self._selected: Path | None = None
        self._typed = ""
        self._wanted = False

    def open(self, folder: Path | None = None) -> None:
        """Show it at ``folder``, or where it was last."""
        self._go(folder or self._folder)
        self._wanted = True

    def draw(self) -> Path | None:
        """Draw it if it is open; the file that was chosen in this frame."""
        if self._wanted:
            imgui.open_popup(TITLE)
            self._wanted = False
        em = imgui.get_font_size()
        display = imgui.get_io().display_size
        imgui.set_next_window_pos(
            imgui.ImVec2(0.5 * display.x, 0.5 * display.y), imgui.Cond_.appearing.value, imgui.ImVec2(0.5, 0.5)
        )
        size = imgui.ImVec2(min(42.0 * em, 0.9 * display.x), min(30.0 * em, 0.85 * display.y))
        imgui.set_next_window_size(size, imgui.Cond_.appearing.value)
        flags = imgui.WindowFlags_.no_saved_settings.value | imgui.WindowFlags_.no_collapse.value
        is_open, _ = imgui.begin_popup_modal(TITLE, None, flags)
        if not is_open:
            return None
        chosen = self._content(em)
        if chosen is not None or imgui.is_key_pressed(imgui.Key.escape, False):
            imgui.close_current_popup()
        imgui.end_popup()
        return chosen

    def _content(self, em: float) -> Path | None:
        if imgui.button("Up", imgui.ImVec2(4.0 * em, 0.0)):
            self._go(self._folder.parent)
        imgui.same_line()
        if imgui.button("Home", imgui.ImVec2(4.0 * em, 0.0)):
            self._go(Path.home())
        imgui.same_line()
        imgui.set_next_item_width(-imgui.FLT_MIN)
        entered, self._typed = imgui.input_text("##path", self._typed, imgui.InputTextFlags_.enter_returns_true.value)
        typed = self._enter(Path(self._typed).expanduser()) if entered else None
        imgui.begin_child("list", imgui.ImVec2(0.0, -2.6 * em), imgui.ChildFlags_.borders.value)
        picked = self._list()
        imgui.end_child()
        return typed or picked or self._buttons(em)

    def _list(self) -> Path | None:
        if self._error:
            imgui.text_colored(theme.BAD, self._error)
        elif not self._entries:
            imgui.text_disabled(f"No folders and no {SUFFIX} files here")
        chosen = None
        flags = imgui.SelectableFlags_.allow_double_click.value
        for entry in self._entries:
            name = f"{entry.path.name}/" if entry.size is None else entry.path.name
            imgui.push_style_color(imgui.Col_.text, theme.DIM if entry.size is None else theme.TEXT)
            pressed, _ = imgui.selectable(f"{name}##{entry.path}", entry.path == self._selected, flags)
            imgui.pop_style_color()
            if entry.size is not None:
                imgui.same_line(imgui.get_content_region_avail().x - 4.0 * imgui.get_font_size())
                imgui.text_disabled(f"{entry.size / 1e6:.1f} MB")
            if pressed:
                self._selected = entry.path
                if imgui.is_mouse_double_clicked(0):
                    chosen = self._enter(entry.path)
        return chosen

    def _buttons(self, em: float) -> Path | None:
        imgui.set_cursor_pos_y(imgui.get_window_height() - 2.4 * em)
        imgui.set_cursor_pos_x(imgui.get_window_width() - 13.5 * em)
        if imgui.button("Cancel", imgui.ImVec2(6.0 * em, 0.0)):
            imgui.close_current_popup()
        imgui.same_line()
        imgui.begin_disabled(self._selected is None)
        pressed = imgui.button("Open", imgui.ImVec2(6.0 * em, 0.0))
        imgui.end_disabled()
        return self._enter(self._selected) if pressed and self._selected is not None else None

    def _enter(self, path: Path) -> Path | None:
        """Go into a folder, or choose a file."""
        if path.is_dir():
            self._go(path)
            return None
        return path

    def _go(self, folder: Path) -> None:
        self._folder, self._selected, self._error = folder.absolute(), None, ""
        self._typed = str(self._folder)
        try:
            self._entries = list_folder(self._folder)
        except OSError as error:
            self._entries = []
            self._error = f"Cannot read this folder: {error.strerror}"
