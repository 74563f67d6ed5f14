import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from scenes import random_scene

from kilonerf.model_io import Scene

REPOSITORY = Path(__file__).resolve().parents[1]

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # no test depends on time


@pytest.fixture(scope="session")
def toy_scene() -> Scene:
    return random_scene()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with reference data (KILONERF_DATA, or shared/data beside the checkout)."""
    folder = Path(os.environ.get("KILONERF_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("needs the reference data: set KILONERF_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def chair_photos(shared_data: Path) -> Path:
    """The chair's data set; a copy of it that is not whole is no reference."""
    folder = shared_data / "chair"
    for photo in sorted(folder.glob("*/*.png")):
        content = photo.read_bytes()
        if not content.startswith(b"\x89PNG") or b"IEND" not in content[-12:]:
            pytest.skip(f"needs the chair's photos whole: {photo.relative_to(shared_data)} has {len(content)} bytes")
    return folder


@pytest.fixture(scope="session")
def chair_path() -> Path:
    """The scene that ships with the program."""
    return REPOSITORY / "assets" / "chair.knf"


@pytest.fixture
def call_command(monkeypatch, capsys):
    """Runs a command's main with arguments; gives its exit code, standard output and standard error."""

    def call(main, *arguments):
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        handler = signal.getsignal(signal.SIGTERM)
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code
        finally:
            signal.signal(signal.SIGTERM, handler)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
