"""Commands that say what the test wants, in processes of their own as the real ones are."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from kilonerf.viewer.making import child, import_dialog, train_dialog
from support.photo_sets import ring, write_blender

PROGRAM = """
import json, shutil, signal, sys, time
from pathlib import Path
from kilonerf.model_io.files.lock import FileLock

script, module, arguments = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
output = Path(arguments[arguments.index("-o") + 1])
with script.with_suffix(".calls").open("a") as calls:
    calls.write(json.dumps([module, *arguments]) + chr(10))
folder = output.with_suffix(".training")
lock = FileLock.take(folder / "lock") if module == "train" else None

def stop(*_):
    if lock is not None:
        lock.release()
    sys.exit("kilonerf-train: interrupted")

signal.signal(signal.SIGTERM, stop)
done = 0
while True:
    lines = script.read_text().split(chr(10))[:-1] if script.exists() else []
    for line in lines[done:]:
        done += 1
        kind, _, rest = line.partition(" ")
        if kind == "say":
            print(rest, flush=True)
        elif kind == "copy":
            source, name = json.loads(rest)
            target = folder / name if name else output
            shutil.copy(source, target.with_suffix(".part"))
            target.with_suffix(".part").replace(target)
        elif kind == "end":
            sys.exit(int(rest))
    time.sleep(0.01)
"""


class FakePrograms:
    """Takes the place of kilonerf-train and kilonerf-import; what they do is written line by line."""

    def __init__(self, monkeypatch, folder: Path) -> None:
        self.script = folder / "script"
        self._program = folder / "program.py"
        self._program.write_text(PROGRAM)
        monkeypatch.setattr(child, "program_command", self._command)

    def _command(self, module: str) -> list[str]:
        self.script.unlink(missing_ok=True)  # of an earlier one
        return [sys.executable, str(self._program), str(self.script), module]

    @property
    def calls(self) -> list[list[str]]:
        """Module and arguments of each that was started."""
        try:
            return [json.loads(line) for line in self.script.with_suffix(".calls").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def event(self, event: str, **values: object) -> None:
        self._add(f"say {json.dumps({'event': event, **values})}")

    def say(self, text: str) -> None:
        self._add(f"say {text}")

    def copy(self, source: Path, name: str = "") -> None:
        """A snapshot of that name in the run's folder, or the finished scene."""
        self._add(f"copy {json.dumps([str(source), name])}")

    def end(self, code: int) -> None:
        self._add(f"end {code}")

    def _add(self, line: str) -> None:
        with self.script.open("a") as script:
            script.write(line + "\n")
            script.flush()
            os.fsync(script.fileno())


@pytest.fixture
def programs(monkeypatch, tmp_path):
    """Commands that do what the test says."""
    (tmp_path / "programs").mkdir()
    for dialog in (import_dialog, train_dialog):
        monkeypatch.setattr(dialog, "is_installed", lambda library: True)
    return FakePrograms(monkeypatch, tmp_path / "programs")


@pytest.fixture
def data(tmp_path):
    """A small data set."""
    return write_blender(tmp_path / "photos", ring(4, 24, 18), lambda camera: np.full((18, 24, 3), 120, np.uint8))
