from dataclasses import replace
from pathlib import Path

import pytest

from kilonerf.model_io import save_scene
from kilonerf.model_io.streaming import download
from kilonerf.model_io.streaming.options import StreamOptions
from support.fields.octree_scenes import random_octree_scene
from support.knf_files import small_file
from support.scenes import random_scene

_SCENE = random_scene(resolution=(3, 2, 4), factor=(4, 3, 5), dropped=0.4)
COMPRESSED = small_file(_SCENE, chunks=4)
COARSE = small_file(_SCENE, chunks=4, coarse_side=2)

FIRST = 4096
"""Bytes of the first request here: the tests' files are small."""


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "FIRST", FIRST)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def options(tmp_path: Path) -> StreamOptions:
    """An impatient client with a cache of its own."""
    return StreamOptions(
        cache_folder=tmp_path / "cache", connect_timeout=2.0, read_timeout=2.0, backoff=0.001, budget=10_000_000
    )


@pytest.fixture
def uncached(options: StreamOptions) -> StreamOptions:
    return replace(options, cache_folder=None)


@pytest.fixture(scope="session")
def octree_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("octree") / "a.knf"
    save_scene(random_octree_scene(6, 3, bits=4, occupied=0.02), path)
    return path.read_bytes()


@pytest.fixture(scope="session")
def plain_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("plain") / "a.knf"
    save_scene(random_scene(seed=3), path)
    return path.read_bytes()
