"""What tests of several commands share."""

from pathlib import Path

import pytest

from support.analytic_scene import write_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of twelve small photos."""
    return write_photos(tmp_path_factory.mktemp("balls"), views=12, size=32)
