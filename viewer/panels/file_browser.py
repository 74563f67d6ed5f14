"""A dialog to choose a file or a folder, drawn with ImGui alone: it looks the same everywhere and needs no desktop.

(imgui_bundle's own ``im_file_dialog`` asks for texture callbacks that only its own main loop sets.)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imgui_bundle import imgui

from .. import theme
from ..appearance.reading_order import displayed
from . import widgets
from .recent_files import RecentFiles

CHECKPOINTS = (".pth", ".pt", ".ckpt", ".tar")
SUFFIXES = (".knf", ".json", *CHECKPOINTS)
Purpose = Literal["file", "folder"]
TITLES: dict[Purpose, str] = {"file": "Open a scene, a camera path or a checkpoint", "folder": "Choose a folder"}


@dataclass(frozen=True)
class Entry:
    """One line of the list; ``size`` in bytes, None for a folder."""

    path: Path
    size: int | None


def list_folder(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Entry]:
    """Folders first, then files with these endings, by name, without hidden ones.

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
            elif path.suffix.lower() in suffixes:
                files.append(Entry(path, path.stat().st_size))
        except OSError:  # it vanished, or we may not look at it: nothing to offer
            continue
    return [*folders, *files]


class FileBrowser:
    """Opens as a modal dialog; :meth:`draw` returns what was chosen, once.

    Arrow keys, Page up and down, Home and End move the selection, Enter opens it, Backspace goes up a folder, a letter
    jumps to the next name that begins with it.

    Args:
        recent: files to offer beside the folder's.
        name: of its own, where there are several.

    Attributes:
        purpose: what is being chosen.
        is_open: whether it was there in the newest frame.
    """

    def __init__(self, recent: RecentFiles | None = None, name: str = "browser") -> None:
        self._recent, self._name = recent or RecentFiles(None), name
        self._suffixes = SUFFIXES
        self._folder = Path.cwd()
        self._entries: list[Entry] = []
        self._error = ""
        self._selected = -1
        self._scroll = False  # to the selection
        self._typed = ""
        self._typing = False
        self._wanted = False
        self.purpose: Purpose = "file"
        self._title = ""
        self.is_open = False

    def open(
        self,
        folder: Path | None = None,
        purpose: Purpose = "file",
        title: str = "",
        suffixes: tuple[str, ...] = SUFFIXES,
    ) -> None:
        """Show it at ``folder``, or where it was last; files with these endings are listed."""
        self.purpose, self._suffixes = purpose, suffixes
        self._title = title or TITLES[purpose]
        self._go(folder or self._folder)
        self._wanted = True

    def draw(self) -> Path | None:
        """Draw it if it is open; what was chosen in this frame."""
        title = f"{self._title}###{self._name}"
        if self._wanted:
            imgui.open_popup(title)
            self._wanted = False
        em = imgui.get_font_size()
        display = imgui.get_io().display_size
        imgui.set_next_window_pos(
            imgui.ImVec2(0.5 * display.x, 0.5 * display.y), imgui.Cond_.always.value, imgui.ImVec2(0.5, 0.5)
        )
        size = imgui.ImVec2(min(44.0 * em, 0.97 * display.x), min(32.0 * em, 0.97 * display.y))
        imgui.set_next_window_size(size, imgui.Cond_.always.value)
        flags = (
            imgui.WindowFlags_.no_saved_settings.value
            | imgui.WindowFlags_.no_collapse.value
            | imgui.WindowFlags_.no_move.value
            | imgui.WindowFlags_.no_resize.value
        )
        self.is_open, _ = imgui.begin_popup_modal(title, None, flags)
        if not self.is_open:
            return None
        chosen = self._content(em)
        if chosen is not None or imgui.is_key_pressed(imgui.Key.escape, False):
            imgui.close_current_popup()
        imgui.end_popup()
        return chosen

    def _content(self, em: float) -> Path | None:
        self._shortcuts(em)
        imgui.set_next_item_width(-imgui.FLT_MIN)
        entered, self._typed = imgui.input_text("##path", self._typed, imgui.InputTextFlags_.enter_returns_true.value)
        self._typing = imgui.is_item_active()
        typed = self._enter(Path(self._typed).expanduser()) if entered else None
        if self._error:
            widgets.paragraph(self._error, theme.BAD)
        imgui.begin_child("list", imgui.ImVec2(0.0, -2.3 * em), imgui.ChildFlags_.borders.value)
        picked = self._list(em)
        imgui.end_child()
        by_key = None if self._typing or entered else self._keys(em)
        return typed or picked or by_key or self._buttons(em)

    def _shortcuts(self, em: float) -> None:
        if imgui.button("Up", imgui.ImVec2(4.0 * em, 0.0)):
            self._go(self._folder.parent, select=self._folder)
        widgets.tip("The folder above (Backspace)")
        imgui.same_line()
        if imgui.button("Home", imgui.ImVec2(4.5 * em, 0.0)):
            self._go(Path.home())
        imgui.same_line()
        recent = self._recent.there
        imgui.begin_disabled(not recent)
        if imgui.button("Recent", imgui.ImVec2(5.5 * em, 0.0)):
            self._entries = [Entry(path, None if path.is_dir() else _size(path)) for path in recent]
            self._selected, self._error = (0 if self._entries else -1), ""
        imgui.end_disabled()
        widgets.tip("What was opened last")

    def _list(self, em: float) -> Path | None:
        if not self._entries and not self._error:
            imgui.text_disabled(f"No folders and no {' or '.join(self._suffixes)} files here")
        chosen = None
        flags = imgui.SelectableFlags_.allow_double_click.value
        width = imgui.get_content_region_avail().x - 5.5 * em
        for index, entry in enumerate(self._entries):
            name = f"{entry.path.name}/" if entry.size is None else entry.path.name
            imgui.push_style_color(imgui.Col_.text, theme.DIM if entry.size is None else theme.TEXT)
            shown = shortened(name, width)
            pressed, _ = imgui.selectable(f"{displayed(shown)}##{entry.path}", index == self._selected, flags)
            imgui.pop_style_color()
            if shown != name or entry.path.parent != self._folder:
                widgets.tip(str(entry.path))
            if index == self._selected and self._scroll:
                imgui.set_scroll_here_y(0.5)
                self._scroll = False
            if entry.size is not None:
                imgui.same_line(imgui.get_content_region_avail().x - 4.5 * em)
                size = f"{entry.size / 1e6:.1f} MB" if entry.size >= 50_000 else f"{entry.size / 1e3:.1f} kB"
                imgui.text_disabled(size)
            if pressed:
                self._selected = index
                if imgui.is_mouse_double_clicked(0):
                    chosen = self._enter(entry.path)
        return chosen

    def _keys(self, em: float) -> Path | None:
        """What the keyboard does to the list."""
        if imgui.is_key_pressed(imgui.Key.backspace, False):
            self._go(self._folder.parent, select=self._folder)
        page = max(1, int(imgui.get_window_height() / (1.6 * em)) - 6)
        last = len(self._entries) - 1
        moves = {
            imgui.Key.down_arrow: self._selected + 1,
            imgui.Key.up_arrow: max(0, self._selected - 1),
            imgui.Key.page_down: self._selected + page,
            imgui.Key.page_up: self._selected - page,
            imgui.Key.home: 0,
            imgui.Key.end: last,
        }
        for key, place in moves.items():
            if imgui.is_key_pressed(key):
                self._select(place)
        self._jump()
        enter = imgui.is_key_pressed(imgui.Key.enter, False) or imgui.is_key_pressed(imgui.Key.keypad_enter, False)
        if enter and 0 <= self._selected <= last:
            return self._enter(self._entries[self._selected].path)
        return None

    def _jump(self) -> None:
        """To the next name that begins with a letter that was typed."""
        for number in range(26):
            if imgui.is_key_pressed(imgui.Key(imgui.Key.a.value + number), False):
                letter = chr(ord("a") + number)
                count = len(self._entries)
                for step in range(1, count + 1):
                    index = (self._selected + step) % count
                    if self._entries[index].path.name.lower().startswith(letter):
                        self._select(index)
                        break

    def _select(self, index: int) -> None:
        self._selected = max(-1, min(len(self._entries) - 1, max(0, index)))
        self._scroll = True

    def _buttons(self, em: float) -> Path | None:
        imgui.set_cursor_pos_y(imgui.get_window_height() - 2.2 * em)
        imgui.set_cursor_pos_x(imgui.get_window_width() - 17.5 * em)
        if imgui.button("Cancel", imgui.ImVec2(6.0 * em, 0.0)):
            imgui.close_current_popup()
        imgui.same_line()
        if self.purpose == "folder":
            if imgui.button("Use this folder", imgui.ImVec2(9.5 * em, 0.0)):
                return self._folder
            return None
        selected = self._entries[self._selected].path if 0 <= self._selected < len(self._entries) else None
        imgui.begin_disabled(selected is None)
        pressed = imgui.button("Open", imgui.ImVec2(9.5 * em, 0.0))
        imgui.end_disabled()
        return self._enter(selected) if pressed and selected is not None else None

    def _enter(self, path: Path) -> Path | None:
        """Go into a folder, or choose a file; a wrong path is a message and the dialog stays."""
        try:
            if path.is_dir():
                self._go(path)
                return None
            there = path.is_file()
        except OSError as error:  # a name that is too long, for one
            self._error = f"{error.strerror}: {path}"
            return None
        if not there:
            self._error = f"There is no such file: {path}"
        elif self.purpose == "folder":
            self._error = f"That is a file: {path}"
        else:
            return path
        return None

    def _go(self, folder: Path, select: Path | None = None) -> None:
        self._folder, self._error = folder.absolute(), ""
        self._typed = str(self._folder)
        try:
            self._entries = list_folder(self._folder, self._suffixes)
        except OSError as error:
            self._entries = []
            self._error = f"Cannot read this folder: {error.strerror}"
        paths = [entry.path for entry in self._entries]
        self._selected = paths.index(select) if select in paths else -1
        self._scroll = True


def shortened(name: str, width: float) -> str:
    """``name`` with its middle left out where it is wider than ``width``: its end tells files apart."""
    if imgui.calc_text_size(name).x <= width:
        return name
    low, high = 1, len(name)
    while low < high:  # the most characters that fit
        count = (low + high + 1) // 2
        if imgui.calc_text_size(_without_middle(name, count)).x <= width:
            low = count
        else:
            high = count - 1
    return _without_middle(name, low)


def _without_middle(name: str, count: int) -> str:
    tail = count // 3
    return f"{name[: count - tail]}...{name[len(name) - tail :] if tail else ''}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
