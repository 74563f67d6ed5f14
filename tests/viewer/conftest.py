import pytest

from support.imgui_frames import ImGuiFrames, ItemPlaces


@pytest.fixture
def frames():
    frames = ImGuiFrames()
    yield frames
    frames.close()


@pytest.fixture
def places(monkeypatch):
    return ItemPlaces(monkeypatch)
