"""Scenes that are fetched from a real server on loopback, which does its work well or badly."""

import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kilonerf.model_io import KiloNeRFError, KiloNeRFScene, OctreeScene, SceneError, StreamError, load_scene
from kilonerf.model_io.knf.safetensors_reader import read_index
from kilonerf.model_io.streaming import download, source
from kilonerf.model_io.streaming.address import SceneUrl
from kilonerf.model_io.streaming.options import StreamOptions
from kilonerf.model_io.streaming.stream import SceneStream, fetch_scene
from support.knf_files import join, split
from support.web.web_server import Answer, WebServer

from .conftest import COARSE, COMPRESSED, FIRST


def span_of(data: bytes, name: str) -> tuple[int, int]:
    (found,) = (span for span in read_index(data, len(data)).spans if span.name == name)
    return found.begin, found.end


def fetched(server: WebServer, options: StreamOptions) -> OctreeScene:
    part, _ = fetch_scene(SceneUrl(server.url), options)
    assert part.whole
    assert isinstance(part.scene, OctreeScene)
    return part.scene


def assert_is(scene: OctreeScene, data: bytes, path: Path) -> None:
    path.write_bytes(data)
    expected = load_scene(path)
    assert isinstance(expected, OctreeScene)
    for own, right in zip(scene.field_arrays(), expected.field_arrays(), strict=True):
        assert np.array_equal(own, right)
    assert np.array_equal(scene.octree.occupancy, expected.octree.occupancy)


def refused(server: WebServer, options: StreamOptions, message: str, error: type[KiloNeRFError] = StreamError) -> None:
    with pytest.raises(error, match=message) as caught:
        fetch_scene(SceneUrl(server.url), options)
    assert str(caught.value).startswith(server.url)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_the_index_is_one_request_and_the_rest_another(octree_file, uncached, tmp_path) -> None:
    with WebServer(octree_file) as server:
        assert_is(fetched(server, uncached), octree_file, tmp_path / "a.knf")
        first, rest = server.asked
        assert first == ("/scene.knf", (0, FIRST))
        assert rest == ("/scene.knf", (FIRST, len(octree_file)))
        assert server.sent == len(octree_file)


def test_a_small_file_is_one_request(octree_file, uncached, monkeypatch) -> None:
    monkeypatch.setattr(download, "FIRST", 65536)
    with WebServer(octree_file) as server:
        fetch_scene(SceneUrl(server.url), uncached)
        assert server.asked == [("/scene.knf", (0, 65536))]


def test_a_scene_grows_level_by_level_while_it_comes(octree_file, uncached) -> None:
    """The server does not go on before the client has shown what it has."""
    shown = threading.Semaphore(0)
    ends = [span_of(octree_file, f"codes.{level}")[1] for level in (4, 5)]

    def slowly(answer: Answer) -> None:
        begin = answer.begin or 0
        if begin == 0:
            return
        if begin != FIRST:
            assert shown.acquire(timeout=30)
        end = next((end for end in ends if end > begin), len(octree_file))
        answer.body = octree_file[begin:end]
        answer.headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(octree_file)}"
        answer.headers["Content-Length"] = str(end - begin)

    with WebServer(octree_file, slowly) as server:
        stream = SceneStream(SceneUrl(server.url), replace(uncached, read_timeout=60.0))
        seen = []
        for part in stream.parts():
            seen.append((part.there, part.total, part.whole, stream.download.done))
            shown.release()
    assert [there for there, *_ in seen] == [1, 2, 3]
    assert [whole for _, _, whole, _ in seen] == [False, False, True]
    assert [done for *_, done in seen] == [*ends, len(octree_file)]


@pytest.mark.parametrize("data", [COMPRESSED, COARSE], ids=["networks only", "coarse ones first"])
def test_networks_come_chunk_by_chunk_and_the_last_state_is_the_scene(data, uncached, tmp_path) -> None:
    shown = threading.Semaphore(0)
    chunks = [f"networks.{chunk}" for chunk in range(4)]
    ends = [span_of(data, name)[1] for name in (["coarse", *chunks] if data is COARSE else chunks)]
    assert ends[0] > FIRST

    def slowly(answer: Answer) -> None:
        begin = answer.begin or 0
        if begin == 0:
            return
        if begin != FIRST:
            assert shown.acquire(timeout=30)
        end = next(end for end in ends if end > begin)
        answer.body = data[begin:end]
        answer.headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        answer.headers["Content-Length"] = str(end - begin)

    with WebServer(data, slowly) as server:
        states = []
        for part in SceneStream(SceneUrl(server.url), replace(uncached, read_timeout=60.0)).parts():
            states.append(part)
            shown.release()
    (tmp_path / "a.knf").write_bytes(data)
    expected = load_scene(tmp_path / "a.knf")
    assert isinstance(expected, KiloNeRFScene)
    counts = [state.there for state in states]
    assert counts == sorted(set(counts))
    assert len(counts) == len(ends)
    assert [state.coarse for state in states] == [data is COARSE] * (len(ends) - 1) + [False]
    if data is COARSE:
        assert counts[0] == 0
        assert all(np.array_equal(state.scene.occupancy, expected.occupancy) for state in states)
    assert states[-1].whole
    last = states[-1].scene
    assert isinstance(last, KiloNeRFScene)
    assert np.array_equal(last.network_index, expected.network_index)
    assert all(np.array_equal(last.layers[name], layer) for name, layer in expected.layers.items())


@pytest.mark.parametrize("etag", [True, False])
def test_a_server_without_ranges_works(octree_file, options, etag, tmp_path) -> None:
    with WebServer(octree_file, ranges=False, etag=etag) as server:
        assert_is(fetched(server, options), octree_file, tmp_path / "a.knf")
        assert len(server.asked) == 1
        assert server.sent == len(octree_file)


def test_a_server_that_does_not_say_how_long_the_file_is(octree_file, options, tmp_path) -> None:
    def silent(answer: Answer) -> None:
        del answer.headers["Content-Length"]

    with WebServer(octree_file, silent, ranges=False) as server:
        assert_is(fetched(server, options), octree_file, tmp_path / "a.knf")
    with WebServer(octree_file + b"\0", silent, ranges=False) as server:
        refused(server, options, "expected [0-9]+ bytes, as its header says, got more", SceneError)
    with WebServer(octree_file[:-9], silent, ranges=False) as server:
        refused(server, options, "cut short: expected [0-9]+ bytes, as its header says, got [0-9]+", SceneError)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_connection_is_taken_up_where_it_was_cut(octree_file, uncached, ranges, tmp_path) -> None:
    cuts = iter([1000, 2000, 3000, 10_000])

    def cut(answer: Answer) -> None:
        answer.cut = next(cuts, None)

    with WebServer(octree_file, cut, ranges=ranges) as server:
        assert_is(fetched(server, replace(uncached, tries=6)), octree_file, tmp_path / "a.knf")
        if ranges:
            assert [wanted for _, wanted in server.asked][:3] == [
                (0, FIRST),
                (1000, FIRST),
                (3000, FIRST),
            ]
            assert server.sent == len(octree_file)


def test_a_connection_that_is_cut_again_and_again_is_given_up(octree_file, uncached) -> None:
    def cut(answer: Answer) -> None:
        answer.cut = 100

    with WebServer(octree_file, cut) as server:
        refused(server, uncached, r"the connection was cut at byte 500 \(tried 5 times\)")
        assert len(server.asked) == 5


def test_a_chunk_that_came_damaged_is_fetched_once_more(octree_file, options, tmp_path) -> None:
    begin, end = span_of(octree_file, "codes.6")

    def damaged(answer: Answer, times: int = 1) -> None:
        if answer.number <= times and answer.begin is not None and answer.begin + len(answer.body) >= end:
            body = bytearray(answer.body)
            body[end - 5 - answer.begin] ^= 16
            answer.body = bytes(body)

    with WebServer(octree_file, damaged) as server:
        assert_is(fetched(server, options), octree_file, tmp_path / "a.knf")
        assert [wanted for _, wanted in server.asked][2] == (begin, len(octree_file))
        server.asked.clear()
        assert_is(fetched(server, options), octree_file, tmp_path / "a.knf")  # what is kept is not damaged
        assert len(server.asked) == 1
    with WebServer(octree_file, lambda answer: damaged(answer, 9)) as server:
        refused(server, options, r"codes.6: expected the file's own checksum, got \d+ twice, .* is damaged")


FAULTS: dict[str, tuple[Callable[[Answer], object], str]] = {
    "not found": (lambda a: setattr(a, "status", 404), r"expected the file, got HTTP 404 Not Found"),
    "forbidden": (lambda a: setattr(a, "status", 403), r"expected the file, got HTTP 403 Forbidden"),
    "out of order": (lambda a: setattr(a, "status", 503), r"the server answered 503 .*\(tried 5 times\)"),
    "no content": (lambda a: setattr(a, "status", 204), r"expected the file, got HTTP 204"),
    "another range": (
        lambda a: a.headers.update({"Content-Range": f"bytes 7-4102/{len(a.body) * 2}"}),
        r"Content-Range: expected bytes 0-4095 or fewer, got 'bytes 7-4102/",
    ),
    "a range that is none": (
        lambda a: a.headers.update({"Content-Range": "bytes half of it"}),
        r"Content-Range: expected bytes 0-4095 or fewer, got 'bytes half of it'",
    ),
    "a range too long": (
        lambda a: a.headers.update({"Content-Range": "bytes 0-4096/99999999"}),
        r"Content-Range: expected bytes 0-4095 or fewer, got 'bytes 0-4096/99999999'",
    ),
    "a range outside of the file": (
        lambda a: a.headers.update({"Content-Range": "bytes 0-4095/100"}),
        r"Content-Range: expected bytes 0-4095 or fewer",
    ),
    "no range": (lambda a: a.headers.pop("Content-Range", None), r"Content-Range: expected .*, got ''"),
    "another length": (
        lambda a: a.headers.update({"Content-Length": "5000"}),
        r"Content-Length: expected 4096 for bytes 0-4095, got 5000",
    ),
    "a length that is none": (
        lambda a: a.headers.update({"Content-Length": "many"}),
        r"Content-Length: expected a number, got 'many'",
    ),
    "compressed": (
        lambda a: a.headers.update({"Content-Encoding": "gzip"}),
        r"expected the file as it is, got it coded as 'gzip'",
    ),
    "no HTTP": (lambda a: setattr(a, "raw", b"220 smtp ready\r\n"), r"the connection failed: .*\(tried 5 times\)"),
    "nothing": (lambda a: setattr(a, "raw", b""), r"the connection failed: .*\(tried 5 times\)"),
    "a web page": (
        lambda a: a.__dict__.update(status=200, body=b"<!DOCTYPE html><p>sign in", headers={"Content-Length": "25"}),
        r"expected a scene, got a web page in place of the file",
    ),
    "a redirect to a file": (
        lambda a: a.__dict__.update(status=302, headers={"Location": "file:///etc/passwd", "Content-Length": "0"}),
        r"expected a redirect to a URL as safe, got one to 'file:///etc/passwd'",
    ),
    "a redirect to nowhere": (
        lambda a: a.__dict__.update(status=302, headers={"Content-Length": "0"}),
        r"expected a redirect to a URL as safe, got one to ''",
    ),
    "redirects in a circle": (
        lambda a: a.__dict__.update(status=301, headers={"Location": "/again", "Content-Length": "0"}),
        r"expected the file after at most 5 redirects, got more",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_server_is_one_line(name: str, octree_file: bytes, options: StreamOptions) -> None:
    fault, message = FAULTS[name]

    def answer_badly(answer: Answer) -> None:
        fault(answer)
        if answer.status != 206 or answer.raw is not None:
            answer.body = answer.body if answer.status == 200 else b""
            answer.headers["Content-Length"] = str(len(answer.body))

    with WebServer(octree_file, answer_badly) as server:
        refused(server, options, message)


def test_a_redirect_is_followed_and_asked_only_once(octree_file, uncached, tmp_path) -> None:
    def moved(answer: Answer) -> None:
        if answer.path == "/scene.knf":
            answer.status, answer.body = 302, b""
            answer.headers = {"Location": "/elsewhere.knf", "Content-Length": "0"}

    with WebServer(octree_file, moved) as server:
        assert_is(fetched(server, uncached), octree_file, tmp_path / "a.knf")
        assert [path for path, _ in server.asked] == ["/scene.knf", "/elsewhere.knf", "/elsewhere.knf"]


def test_a_server_that_is_not_there_is_one_line(options) -> None:
    with WebServer(b"") as server:
        url = server.url
    began = time.monotonic()
    with pytest.raises(StreamError, match=r"cannot connect: .*refused"):
        fetch_scene(SceneUrl(url), replace(options, backoff=60.0))
    assert time.monotonic() - began < 30  # it is final: no second try


def test_no_https_is_one_line(octree_file, options) -> None:
    with WebServer(octree_file) as server, pytest.raises(StreamError, match="no secure connection: "):
        fetch_scene(SceneUrl(server.url.replace("http:", "https:")), options)


def test_a_silent_server_and_one_that_trickles_are_given_up(octree_file, options, monkeypatch) -> None:
    impatient = replace(options, read_timeout=0.1, tries=2)

    def silent(answer: Answer) -> None:
        answer.pause = 1.0

    with WebServer(octree_file, silent) as server:
        refused(server, impatient, r"nothing came from the server for 0.1 s \(tried 2 times\)")

    hours = itertools.count(step=3600)  # pass between two looks at the clock
    monkeypatch.setattr(source, "time", SimpleNamespace(monotonic=lambda: next(hours)))
    monkeypatch.setattr(source, "LEAST", 1 << 20)
    with WebServer(octree_file) as server:
        refused(server, replace(options, tries=2), r"only \d+ bytes came in 3600 s \(tried 2 times\)")


def test_a_file_that_is_no_scene_or_another_length_than_it_says(octree_file, options) -> None:
    with WebServer(b"x" * 100_000) as server:
        refused(server, options, "not a scene file: expected a header that begins with", SceneError)
    with WebServer(b"") as server:
        refused(server, options, "expected the file, got HTTP 416, an empty file")
    with WebServer(b"") as server:
        server.ranges = False
        refused(server, options, "expected a scene, got an empty file", StreamError)
    with WebServer(octree_file + b"\0") as server:
        refused(server, options, r"data: expected \d+ bytes, got \d+", SceneError)
    with WebServer(octree_file[:-1]) as server:
        refused(server, options, r"tensor .*: expected data_offsets within .* \(file cut short\?\)", SceneError)


def test_a_file_that_is_changed_while_it_is_read_is_read_anew(octree_file, options, tmp_path) -> None:
    header, body = split(octree_file)
    header["__metadata__"]["knf"] = header["__metadata__"]["knf"].replace('"far":', '"far" :')
    other = join(header, body)

    def changed(answer: Answer) -> None:
        if answer.number == 0:
            server.data = other  # from the next request on

    with WebServer(octree_file, changed) as server:
        assert_is(fetched(server, options), other, tmp_path / "a.knf")
        assert [wanted and wanted[0] for _, wanted in server.asked] == [0, FIRST, 0, FIRST]
        (document,) = (json.loads(path.read_text()) for path in (tmp_path / "cache").glob("*.json"))
        assert document["size"] == len(other)  # nothing of the old file is kept

    versions = octree_file, other

    def restless(answer: Answer) -> None:
        server.data = versions[(answer.number + 1) % 2]

    with WebServer(octree_file, restless) as server:
        refused(server, options, "the file is changed again and again while it is read")


def test_the_budget_is_never_exceeded_and_what_there_is_is_a_scene(octree_file, uncached) -> None:
    end = span_of(octree_file, "codes.5")[1]
    with WebServer(octree_file) as server:
        part, download = fetch_scene(SceneUrl(server.url), replace(uncached, budget=end + 10))
        assert (part.there, part.total) == (2, 3)
        assert download.received == end + 10
        assert download.note == f"stopped: {end + 10:,} bytes received, as many as are allowed (--stream-budget)"
        refused(server, replace(uncached, budget=3000), "stopped: 3,000 bytes received, .* too little for a part")
        refused(server, replace(uncached, budget=100), "100 bytes received, .* the file's index is not among them")


def test_plain_files_are_fetched_whole(plain_file, uncached, tmp_path) -> None:
    with WebServer(plain_file) as server:
        states = list(SceneStream(SceneUrl(server.url), uncached).parts())
        assert [state.whole for state in states] == [True]
        refused(server, replace(uncached, budget=len(plain_file) - 1), "too little for a part of the scene")
    (tmp_path / "a.knf").write_bytes(plain_file)
    expected, found = load_scene(tmp_path / "a.knf"), states[0].scene
    assert isinstance(expected, KiloNeRFScene)
    assert isinstance(found, KiloNeRFScene)
    assert all(np.array_equal(found.layers[name], layer) for name, layer in expected.layers.items())


def test_closing_a_stream_ends_it_at_once(octree_file, uncached) -> None:
    def slow(answer: Answer) -> None:
        answer.pause = 30.0 if answer.number else 0.0

    with WebServer(octree_file, slow) as server:
        stream = SceneStream(SceneUrl(server.url), replace(uncached, read_timeout=60.0))
        threading.Timer(0.2, stream.close).start()
        began = time.monotonic()
        list(stream.parts())
        assert time.monotonic() - began < 20
