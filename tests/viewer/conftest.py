import pytest

from support.driving import Driver
from support.imgui_frames import ImGuiFrames, ItemPlaces


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
