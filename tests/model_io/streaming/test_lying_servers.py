"""Servers that lie at random: the scene as it is, a part of it that says so, or one line; and a cache that is sound."""

import json
import os
import random
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kilonerf.model_io import KiloNeRFError, OctreeScene, Scene, load_partial_scene, load_scene
from kilonerf.model_io.streaming.address import SceneUrl
from kilonerf.model_io.streaming.options import StreamOptions
from kilonerf.model_io.streaming.stream import SceneStream, fetch_scene
from support.web.lying_server import lying
from support.web.web_server import WebServer

SERVERS, MANY_SERVERS = 30, 200
FILES, MANY_FILES = 60, 10_000


def assert_cache_is_sound(folder: Path) -> None:
    """No file but entries, and every block that is spoken of is on disk as it was kept."""
    for path in folder.glob("*") if folder.exists() else ():
        assert path.suffix in (".json", ".bytes"), path
    for index in folder.glob("*.json"):
        document = json.loads(index.read_text())
        kept = index.with_suffix(".bytes").read_bytes()
        for begin, count, checksum in document["blocks"]:
            assert zlib.crc32(kept[begin : begin + count]) == checksum
            assert begin + count <= document["size"]


def same(scene: Scene, data: bytes, path: Path) -> bool:
    path.write_bytes(data)
    whole = load_scene(path)
    assert isinstance(whole, OctreeScene)
    assert isinstance(scene, OctreeScene)
    mine, theirs = scene.field_arrays(), whole.field_arrays()
    return len(mine) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def ask(seed: int, data: bytes, options: StreamOptions, path: Path) -> str:
    """What came of a server's lies: "scene", "part", or the line that was said."""
    with WebServer(data, lying(seed, data), ranges=seed % 5 != 0, etag=seed % 7 != 0) as server:
        url = SceneUrl(server.url)
        try:
            if seed % 2:
                part = list(SceneStream(url, options).parts())[-1]
            else:
                part, _ = fetch_scene(url, options)
        except KiloNeRFError as error:
            said = str(error)
        else:
            said = "scene" if part.whole else "part"
            assert not part.whole or same(part.scene, data, path)
        if options.cache_folder is not None:
            assert_cache_is_sound(options.cache_folder)
        assert said in ("scene", "part") or said.startswith(server.url), said
        assert said.isprintable(), said
        assert len(said) < 600, said
        server.fault = lambda answer: None  # an honest one again: nothing wrong was kept
        server.ranges = server.etag = True
        assert same(fetch_scene(url, options)[0].scene, data, path)
    return said


def ask_many(count: int, data: bytes, options: StreamOptions, tmp_path: Path) -> list[str]:
    options = replace(options, tries=3, backoff=0.0005, read_timeout=0.5)
    return [
        ask(seed, data, replace(options, cache_folder=tmp_path / f"cache{seed}"), tmp_path / "a.knf")
        for seed in range(count)
    ]


def test_dozens_of_lying_servers(octree_file: bytes, options: StreamOptions, tmp_path: Path) -> None:
    said = ask_many(SERVERS, octree_file, options, tmp_path)
    assert "scene" in said
    assert len({line.partition("scene.knf")[2] for line in said}) > 5  # they lie in several ways


@pytest.mark.slow
def test_hundreds_of_lying_servers(octree_file: bytes, options: StreamOptions, tmp_path: Path) -> None:
    said = ask_many(MANY_SERVERS, octree_file, options, tmp_path)
    print(f"{said.count('scene')} scenes, {said.count('part')} parts, {len(said)} servers")


def damage(data: bytes, chance: random.Random) -> bytes:
    """Bytes changed, lost, doubled or added, or the file cut short."""
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at, count = chance.randrange(len(damaged) or 1), chance.choice((1, 1, 2, 8, 300))
        kind = chance.randrange(6)
        if kind < 2:  # most of a header's bytes are at the front
            at = chance.randrange(min(len(damaged), 3000) or 1)
        if kind % 2 == 0:
            for place in range(at, min(at + count, len(damaged))):
                damaged[place] = chance.choice((0, 255, chance.randrange(256), damaged[place] ^ 1))
        elif kind == 1:
            del damaged[at : at + count]
        elif kind == 3:
            damaged[at:at] = damaged[at : at + count]
        else:
            del damaged[at:]
    return bytes(damaged)


def open_damaged(count: int, files: list[bytes], path: Path) -> dict[str, int]:
    """Damaged files are refused in one line, or open as whole scenes or parts of one; how many did what."""
    chance = random.Random(1)  # noqa: S311 - no secret
    found = {"refused": 0, "whole": 0, "part": 0}
    for number in range(count):
        path.write_bytes(damage(files[number % len(files)], chance))
        try:
            part = load_partial_scene(path, mapped=number % 2 == 0)
        except KiloNeRFError as error:
            said, came = str(error), "refused"
        else:
            said, came = f"{path}: ", "whole" if part.whole else "part"
        assert said.startswith(f"{path}: ")
        assert "\n" not in said
        assert len(said) < len(str(path)) + 600
        found[came] += 1
    return found


def test_dozens_of_damaged_files(octree_file: bytes, plain_file: bytes, tmp_path: Path) -> None:
    found = open_damaged(FILES, [octree_file, plain_file], tmp_path / "a.knf")
    assert found["refused"] > FILES // 2


@pytest.mark.slow
def test_ten_thousand_damaged_files(octree_file: bytes, plain_file: bytes, tmp_path: Path) -> None:
    from .conftest import COMPRESSED

    found = open_damaged(MANY_FILES, [octree_file, plain_file, COMPRESSED], tmp_path / "a.knf")
    print(f"{found} of {MANY_FILES}, {os.cpu_count()} processors")
