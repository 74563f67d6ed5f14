"""What is kept of scenes on disk: never more than it is, never more than it may be."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from kilonerf.model_io import SceneError, StreamError
from kilonerf.model_io.streaming.address import SceneUrl
from kilonerf.model_io.streaming.cache import SceneCache
from kilonerf.model_io.streaming.stream import fetch_scene
from support.web.web_server import Answer, WebServer

from .conftest import FIRST

URL = "http://host/a.knf"


def test_what_was_fetched_is_not_fetched_again(octree_file, options) -> None:
    with WebServer(octree_file) as server:
        url = SceneUrl(server.url)
        fetch_scene(url, options)
        server.sent = 0
        part, download = fetch_scene(url, options)
        assert part.whole
        assert (download.received, download.cached) == (FIRST, len(octree_file) - FIRST)
        server.data = octree_file[:-1]  # another version
        with pytest.raises(Exception, match="cut short"):
            fetch_scene(url, options)
    with pytest.raises(StreamError, match="cannot connect"):  # nothing is kept of what is no scene
        fetch_scene(url, options)


def test_nothing_is_taken_from_the_cache_for_a_file_that_is_gone(octree_file, options) -> None:
    with WebServer(octree_file) as server:
        fetch_scene(SceneUrl(server.url), options)
        server.fault = lambda answer: setattr(answer, "status", 404)
        with pytest.raises(StreamError, match="HTTP 404"):
            fetch_scene(SceneUrl(server.url), options)


def test_an_index_that_came_damaged_does_not_stay(octree_file, options) -> None:
    def damaged(answer: Answer) -> None:
        if answer.number == 0:
            answer.body = octree_file[:1000] + b"\xb1" + octree_file[1001:FIRST]

    with WebServer(octree_file, damaged) as server:
        with pytest.raises(SceneError, match="header: expected JSON"):
            fetch_scene(SceneUrl(server.url), options)
        assert fetch_scene(SceneUrl(server.url), options)[0].whole


def test_without_its_server_a_scene_comes_from_the_cache(octree_file, options) -> None:
    with WebServer(octree_file) as server:
        url = SceneUrl(server.url)
        fetch_scene(url, options)
    part, download = fetch_scene(url, options)
    assert part.whole
    assert download.note.startswith("from the cache: cannot connect: ")
    (blocks,) = (options.cache_folder).glob("*.bytes")
    with blocks.open("r+b") as file:
        file.seek(20_000)
        file.write(b"damage")
    with pytest.raises(StreamError, match="cannot connect"):
        fetch_scene(url, options)


def test_an_interrupted_download_goes_on_where_it_was(octree_file, options) -> None:
    def cut(answer: Answer) -> None:
        answer.cut = 9000 if answer.number == 1 else 0 if answer.number else None

    with WebServer(octree_file, cut) as server:
        url = SceneUrl(server.url)
        with pytest.raises(StreamError, match="cut at byte 13,096"):
            fetch_scene(url, options)
        server.fault, server.asked[:] = (lambda answer: None), []
        part, download = fetch_scene(url, options)
        assert part.whole
        assert [wanted for _, wanted in server.asked] == [(0, FIRST), (FIRST + 9000, len(octree_file))]
        assert download.received == len(octree_file) - 9000


def test_damage_on_disk_is_noticed_and_fetched_again(octree_file, options) -> None:
    with WebServer(octree_file) as server:
        url = SceneUrl(server.url)
        fetch_scene(url, options)
        (blocks,) = options.cache_folder.glob("*.bytes")
        content = blocks.read_bytes()
        for damaged in (content[:25_000], content[:20_000] + b"damage" + content[20_006:], b""):
            blocks.write_bytes(damaged)
            part, download = fetch_scene(url, options)
            assert part.whole
            assert download.received > 0
            assert blocks.read_bytes() == content


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 1}', '{"url": "x", "validator": "", "size": 5, "blocks": 7}'])
def test_an_index_that_cannot_be_read_is_no_index(text, octree_file, options) -> None:
    with WebServer(octree_file) as server:
        fetch_scene(SceneUrl(server.url), options)
        (index,) = options.cache_folder.glob("*.json")
        index.write_text(text)
        part, download = fetch_scene(SceneUrl(server.url), options)
        assert part.whole
        assert download.received == len(octree_file)


def test_an_index_speaks_only_of_what_is_there(tmp_path) -> None:
    """Whatever moment a program ends at: bytes first, then what speaks of them."""
    cache = SceneCache(tmp_path, 10**6)
    entry = cache.entry(URL, '"1"', 1000)
    written: list[bytes] = []
    write = os.pwrite

    def watched(file: int, data: bytes, at: int) -> int:
        document = json.loads(index.read_text()) if index.exists() else {"blocks": []}
        assert [block[0] for block in document["blocks"]] == [0] * len(written)
        count = write(file, data, at)
        written.append(data)
        return count

    index = next(tmp_path.glob("*.bytes")).with_suffix(".json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", watched)
        entry.keep(0, b"a" * 400)
        entry.keep(600, b"b" * 100)
    assert entry.read(0, 1000) == b"a" * 400
    assert entry.read(650, 1000) == b"b" * 50
    assert entry.next_block(0) == 600
    assert not entry.whole
    entry.keep(300, b"c" * 10)  # of what is there already
    assert entry.read(300, 310) == b"a" * 10
    entry.keep(400, b"c" * 200)
    entry.keep(700, b"d" * 300)
    assert entry.whole
    entry.close()
    again = cache.entry(URL, '"1"', 1000)
    assert again.whole
    again.drop(650, 651)
    assert again.read(600, 700) == b""
    again.close()


def test_two_programs_do_not_write_one_entry(tmp_path) -> None:
    cache = SceneCache(tmp_path, 10**6)
    first = cache.entry(URL, '"1"', 1000)
    second = cache.entry(URL, '"1"', 1000)
    first.keep(0, b"a" * 10)
    second.keep(10, b"b" * 10)
    assert second.read(0, 20) == b""
    assert first.read(0, 20) == b"a" * 10
    assert cache.clear() == (0, 0)  # it is in use
    first.close()
    assert cache.clear() == (1, 10)
    assert list(tmp_path.iterdir()) == []


def test_the_budget_is_kept_and_what_was_used_longest_ago_goes(tmp_path) -> None:
    cache = SceneCache(tmp_path, 1000)
    for number, name in enumerate("abc"):
        entry = cache.entry(f"http://host/{name}", '"1"', 300)
        entry.keep(0, bytes(300))
        entry.close()
        os.utime(next(p for p in tmp_path.glob("*.json") if f"/{name}" in p.read_text()), (number, number))
    cache.entry("http://host/a", '"1"', 300).close()  # used last now
    entry = cache.entry("http://host/d", '"1"', 500)
    entry.keep(0, bytes(300))
    kept = {json.loads(path.read_text())["url"][-1] for path in tmp_path.glob("*.json")}
    assert kept == {"a", "c", "d"}
    entry.keep(300, bytes(200))
    kept = {json.loads(path.read_text())["url"][-1] for path in tmp_path.glob("*.json")}
    assert kept == {"a", "d"}
    big = cache.entry("http://host/e", '"1"', 5000)
    big.keep(0, bytes(600))  # d is in use, so there is no space
    assert big.read(0, 10) == b""
    assert sum(path.stat().st_size for path in tmp_path.glob("*.bytes")) <= 1000
    entry.close()
    big.close()


def test_a_file_too_large_for_the_cache_is_fetched_all_the_same(octree_file, options) -> None:
    small = replace(options, cache_budget=20_000)
    with WebServer(octree_file) as server:
        assert fetch_scene(SceneUrl(server.url), small)[0].whole
        (index,) = (json.loads(path.read_text()) for path in options.cache_folder.glob("*.json"))
        assert 15_000 < sum(count for _, count, _ in index["blocks"]) <= 20_000
        assert fetch_scene(SceneUrl(server.url), small)[0].whole


def test_a_folder_that_cannot_be_written_is_passed_over(octree_file, options, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", Path("/proc/nothing")):
        with WebServer(octree_file) as server:
            assert fetch_scene(SceneUrl(server.url), replace(options, cache_folder=folder))[0].whole
        assert SceneCache(folder, 100).clear() == (0, 0)


def test_a_server_that_does_not_tell_versions_apart_is_not_kept(octree_file, options) -> None:
    with WebServer(octree_file, etag=False) as server:
        fetch_scene(SceneUrl(server.url), options)
    assert not list(options.cache_folder.glob("*")) if options.cache_folder.exists() else True
