from dataclasses import replace

import numpy as np
import pytest

from kilonerf.model_io import Scene, save_scene
from support.knf_files import PNG
from support.scenes import random_scene


@pytest.fixture(scope="session")
def scene() -> Scene:
    return replace(random_scene(), training_poses=np.stack([np.eye(4, dtype=np.float32)] * 2), preview=PNG)


@pytest.fixture(scope="session")
def good(scene, tmp_path_factory) -> bytes:
    """The bytes of a good file."""
    path = tmp_path_factory.mktemp("good") / "good.knf"
    save_scene(scene, path)
    return path.read_bytes()


@pytest.fixture
def files(tmp_path):
    """A checkpoint in the original layout, and what belongs to it."""
    from support.original_files import Files  # skips where torch or PyYAML are missing

    return Files(tmp_path)
