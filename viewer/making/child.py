"""A command of this program in a process of its own, which says in JSON lines how far it is."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from kilonerf.model_io import OutputError
from kilonerf.model_io.files.json_values import is_object

NICENESS = 10
"""The window's threads come first."""
LONGEST_ERROR = 400

State = Literal["running", "finished", "stopped", "failed"]


def is_installed(library: str) -> bool:
    """Whether a library is there for the Python that runs this; it is not loaded."""
    return importlib.util.find_spec(library) is not None


def program_command(module: str) -> list[str]:
    """What runs a command of this program, by its module: one that is on the path may be of another installation."""
    return [sys.executable, "-c", f"from kilonerf.commands.{module} import main; main()"]


class ChildProgram:
    """A command that goes on whatever becomes of the window; it is followed by what it writes into a file.

    Args:
        module: of the command.
        arguments: of the command.
        log: where its events and messages go; an older one is replaced.

    Attributes:
        pid: its process.
        said: the newest line that is no event.
        stopping: whether it was asked to stop.

    Raises:
        OutputError: it cannot be started, or ``log`` cannot be written.
    """

    def __init__(self, module: str, arguments: Sequence[str], log: Path) -> None:
        command = [*program_command(module), *arguments]
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(  # noqa: S603 - a command of this program
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for the window
                )
        except OSError as error:
            raise OutputError(f"{log}: cannot write: {error.strerror}") from error
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        self._begin(log, process.pid, lambda: process.poll() is None)

    @classmethod
    def followed(cls, log: Path, pid: int, runs: Callable[[], bool]) -> "ChildProgram":
        """One that an earlier window has started, and that still runs."""
        child = cls.__new__(cls)
        child._begin(log, pid, runs)
        return child

    def _begin(self, log: Path, pid: int, runs: Callable[[], bool]) -> None:
        self.log, self.pid, self._runs = log, pid, runs
        self.said = ""
        self.stopping = False
        self.state: State = "running"
        self._done = False
        self._read = 0
        self._rest = b""

    @property
    def error(self) -> str:
        """Why it failed, in one line; "" if it did not."""
        if self.state != "failed":
            return ""
        _, found, reason = self.said.partition(": error: ")
        return (reason if found else self.said or "it ended without a word")[:LONGEST_ERROR]

    def poll(self) -> list[dict[str, Any]]:
        """What it has said since the last call; its state is up to date then."""
        if self.state != "running":
            return []
        over = not self._runs()  # before its last words are read
        events = [event for line in self._lines() if (event := self._event(line)) is not None]
        if over:
            if self._done:
                self.state = "finished"
            else:
                interrupted = self.stopping or self.said.endswith(": interrupted")
                self.state = "stopped" if interrupted else "failed"
        return events

    def stop(self) -> None:
        """Ask it to end, and to keep what it has; a second time it ends at once."""
        self.stopping = True
        if self.state == "running":
            with suppress(OSError):
                os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Wait for its end, but no longer than this; whether it is over."""
        end = time.monotonic() + seconds
        while self.state == "running" and time.monotonic() < end:
            self.poll()
            time.sleep(0.02)
        return self.state != "running"

    def _lines(self) -> list[bytes]:
        """Whole lines that were not read yet."""
        with suppress(OSError), self.log.open("rb") as file:
            file.seek(self._read)
            content = file.read()
            self._read += len(content)
            *lines, self._rest = (self._rest + content).split(b"\n")
            return lines
        return []

    def _event(self, line: bytes) -> dict[str, Any] | None:
        """The event in a line; any other line is a message for people."""
        text = line.decode("utf-8", "replace").strip()
        with suppress(ValueError, RecursionError):
            event: Any = json.loads(text)
            if is_object(event) and isinstance(event.get("event"), str):
                self._done = self._done or event["event"] == "done"
                return event
        self.said = text or self.said
        return None
