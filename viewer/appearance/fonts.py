"""Glyphs that the program's own font lacks, from fonts of the system, so that any script's file names can be read.

Fonts are found in a thread, by fontconfig where it is installed and by well-known names otherwise, and merged behind
the program's own font between two frames. Where nothing is found, such characters stay a placeholder.
"""

import shutil
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from imgui_bundle import imgui

from .. import theme

MOST_FONTS = 12
MOST_BYTES = 80_000_000  # of all of them: ImGui keeps them in memory
MEDIUM = 100.0  # fontconfig's weight; regular is 80, bold 200
PATIENCE = 10.0  # seconds for fontconfig, which may have to build its cache first
FOLDERS: tuple[Path, ...] = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path.home() / ".local/share/fonts",
    Path("/System/Library/Fonts"),
    Path("/Library/Fonts"),
)
NAMES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "SourceHanSans-Regular.ttc",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "PingFang.ttc",
    "Arial Unicode.ttf",
)
OUTLINES = (b"glyf", b"CFF ", b"CFF2")


class SystemFonts:
    """Looks for fonts from :meth:`start` on; :meth:`merge` adds what has been found.

    Args:
        wake: wakes the window's thread.
        find: finds font files and the number of the font in each, best first.
    """

    def __init__(self, wake: Callable[[], None], find: Callable[[], Iterable[tuple[Path, int]]] | None = None) -> None:
        self._wake, self._find = wake, find or find_fonts
        self._found: list[tuple[Path, int]] | None = None
        self._started = False

    def start(self) -> None:
        """Look for them in a thread; once."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name="kilonerf-fonts", daemon=True).start()

    def merge(self) -> int:
        """Merge what has been found behind the program's own font, between two frames; how many that was."""
        found, self._found = self._found, None
        count = 0
        for path, number in found or ():
            config = imgui.ImFontConfig()
            config.merge_mode, config.font_no = True, number
            with suppress(RuntimeError):  # it vanished meanwhile
                imgui.get_io().fonts.add_font_from_file_ttf(str(path), theme.FONT_SIZE, config)
                count += 1
        return count

    def close(self) -> None:
        """The window closes: wake it no more."""
        self._wake = lambda: None

    def _run(self) -> None:
        usable: list[tuple[Path, int]] = []
        left = MOST_BYTES
        for path, number in self._find():
            size = outline_font_size(path, number)
            if 0 < size <= left:
                usable.append((path, number))
                left -= size
            if len(usable) == MOST_FONTS:
                break
        self._found = usable
        self._wake()


def find_fonts() -> list[tuple[Path, int]]:
    """Files of fonts that together have as many scripts as possible, each with the number of the font in it."""
    program = shutil.which("fc-match")
    if program is not None:
        with suppress(OSError, subprocess.SubprocessError, ValueError):
            # Sorted: each font adds characters that those before it lack.
            command = [program, "--sort", "--format", "%{file}\t%{index}\t%{weight}\t%{slant}\n", "sans-serif"]
            listed = subprocess.run(  # noqa: S603 - a fixed command
                command, capture_output=True, text=True, check=True, timeout=PATIENCE
            ).stdout
            rows = [row for line in listed.splitlines() if len(row := line.split("\t")) == 4]
            upright = [row for row in rows if row[3] == "0" and _number(row[2]) <= MEDIUM]
            return list(dict.fromkeys((Path(row[0]), int(row[1]) & 0xFFFF) for row in upright))
    return _by_name()


def outline_font_size(path: Path, number: int) -> int:
    """Bytes of a font file, if it is one whose font of that number ImGui can draw; else 0 (bitmap emoji, for one)."""
    with suppress(OSError, struct.error), path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"ttcf":
            count = struct.unpack(">I", head[8:12])[0]
            if number >= count:
                return 0
            file.seek(12 + 4 * number)
            file.seek(struct.unpack(">I", file.read(4))[0])
            head = file.read(12)
        elif number:
            return 0
        if head[:4] not in (b"\0\1\0\0", b"OTTO", b"true"):
            return 0
        tables = file.read(16 * struct.unpack(">H", head[4:6])[0])
        names = {tables[i : i + 4] for i in range(0, len(tables), 16)}
        if b"cmap" in names and not names.isdisjoint(OUTLINES):
            return path.stat().st_size
    return 0


def _by_name() -> list[tuple[Path, int]]:
    """The well-known names, where they are in the well-known folders."""
    wanted, found = {name: place for place, name in enumerate(NAMES)}, list[Path]()
    for folder in FOLDERS:
        with suppress(OSError):
            found += [path for path in folder.rglob("*.[to]t[fc]") if path.name in wanted]
    return [(path, 0) for path in sorted(found, key=lambda path: wanted[path.name])]


def _number(text: str) -> float:
    """A number of fontconfig's; of a variable font, which has a range, the least."""
    return float(text.strip("[]").split()[0]) if text else 0.0
