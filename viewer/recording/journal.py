"""A flight that is being recorded, on disk from second to second: what is left after a power cut or ``kill -9``."""

import fcntl
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from kilonerf.model_io import CameraPath, CameraPathError, Keyframe, OutputError

from .output_files import next_free_name

SUFFIX = ".recording"
INTERVAL = 1.0
"""Seconds between two writes."""


class FlightJournal:
    """One line of JSON for each camera, in ``flight_NNN.recording``; locked while it is being written.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = next_free_name(folder, "flight", (SUFFIX, ".json", ".mp4", ".webm"))
        try:
            self._file = self.path.open("x", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(f"{folder}: expected a folder to write to: {error.strerror}") from error
        self.written = 0
        self._due = 0.0

    def due(self, now: float) -> bool:
        """Whether it is time to write again."""
        return now >= self._due

    def write(self, keyframes: list[Keyframe], now: float) -> None:
        """Append cameras; a full disk is left to the end of the flight, which says so."""
        self._due = now + INTERVAL
        with suppress(OSError, ValueError):
            for key in keyframes:
                self._file.write(json.dumps([key.seconds, key.fov_y, key.c2w]) + "\n")
            self._file.flush()
        self.written += len(keyframes)

    def close(self) -> None:
        """Nothing more will be written."""
        with suppress(OSError):
            self._file.close()

    def remove(self) -> None:
        """The flight is safe elsewhere."""
        self.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def recover_flights(folder: Path) -> list[Path]:
    """Make a camera path of every journal in ``folder`` that no running program writes; returns the paths' files."""
    recovered: list[Path] = []
    with suppress(OSError, OutputError):
        for journal in sorted(folder.glob(f"flight_*{SUFFIX}")):
            with journal.open("r+", encoding="utf-8", errors="replace") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue  # being recorded right now
                path = _path_in(file.read().splitlines())
            if path is not None:
                output = next_free_name(folder, "flight", (".json", ".mp4", ".webm"))
                path.save(output)
                recovered.append(output)
            journal.unlink(missing_ok=True)
    return recovered


def _path_in(lines: list[str]) -> CameraPath | None:
    """The path up to the first line that is not whole; None if there is none."""
    keyframes: list[Keyframe] = []
    with suppress(ValueError, TypeError, CameraPathError):
        for line in lines:
            entry: Any = json.loads(line)
            seconds, fov_y, rows = entry
            keyframes.append(Keyframe(seconds, tuple(tuple(row) for row in rows), fov_y))  # type: ignore[arg-type]
    with suppress(CameraPathError):
        return CameraPath(tuple(keyframes))
    return None
