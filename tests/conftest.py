import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from kilonerf.model_io import Scene, save_scene
from support.scenes import random_scene

if TYPE_CHECKING:
    import moderngl

REPOSITORY = Path(__file__).resolve().parents[1]

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # no test depends on time


@pytest.fixture(autouse=True, scope="session")
def own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What programs remember from run to run is not the user's; programs that tests start inherit this."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="session")
def toy_scene() -> Scene:
    return random_scene()


@pytest.fixture(scope="module")
def ctx() -> Iterator["moderngl.Context"]:
    """OpenGL 3.3 without a window; skips where there is none."""
    from support.opengl import standalone_context

    with standalone_context() as context:
        yield context


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


@pytest.fixture
def fake_renderers(monkeypatch):
    """Commands and jobs make renderers whose speed and pictures the test knows."""
    from kilonerf.commands import render_switches
    from kilonerf.viewer.recording import render_job
    from support.fake_renderer import MadeRenderers

    made = MadeRenderers()
    for module in (render_job, render_switches):
        monkeypatch.setattr(module, "create_renderer", made.create)
    return made


@pytest.fixture
def scene_file(toy_scene, tmp_path):
    """The small scene as a file, alone in its folder."""
    (tmp_path / "in").mkdir()
    save_scene(toy_scene, tmp_path / "in" / "toy.knf")
    return tmp_path / "in" / "toy.knf"
