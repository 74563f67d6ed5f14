import pytest

from support.driving import Driver
from support.imgui_frames import ImGuiFrames, ItemPlaces


@pytest.fixture(autouse=True)
def state_of_this_test(monkeypatch, tmp_path_factory):
    """What one test leaves to later runs is none of the other tests' business."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture
def frames():
    frames = ImGuiFrames()
    yield frames
    frames.close()


@pytest.fixture
def places(monkeypatch):
    return ItemPlaces(monkeypatch)


@pytest.fixture
def driver(toy_scene, tmp_path, places):
    """The program with a toy scene and the real renderer."""
    with Driver(tmp_path, toy_scene) as driver:
        yield driver
