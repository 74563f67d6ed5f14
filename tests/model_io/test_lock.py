"""A file that one program at a time holds."""

import os
import subprocess
import sys

import pytest

from kilonerf.model_io import OutputError
from kilonerf.model_io.files.lock import FileLock, lock_holder

HOLD = """
import sys
from pathlib import Path
from kilonerf.model_io.files.lock import FileLock
lock = FileLock.take(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_one_holds_it_and_the_other_learns_who(tmp_path):
    path = tmp_path / "lock"
    lock = FileLock.take(path)
    assert lock is not None
    assert FileLock.take(path) is None
    assert lock_holder(path) == os.getpid()
    lock.release()
    assert lock_holder(path) is None
    assert not path.exists()
    again = FileLock.take(path)
    assert again is not None
    again.release()


def test_a_process_that_is_killed_holds_it_no_more(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert lock_holder(path) == process.pid
        assert FileLock.take(path) is None
        process.kill()
    assert path.exists()
    assert lock_holder(path) is None
    lock = FileLock.take(path)
    assert lock is not None
    lock.release()


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="missing"):
        FileLock.take(tmp_path / "missing" / "lock")
    assert lock_holder(tmp_path / "missing" / "lock") is None
