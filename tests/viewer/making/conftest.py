import numpy as np
import pytest

from kilonerf.viewer.making import import_dialog, train_dialog
from support.fake_programs import FakePrograms
from support.photo_sets import ring, write_blender


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
