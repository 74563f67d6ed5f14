"""Commands that are given a URL in place of a file."""

import functools
import json

import pytest

from kilonerf.commands import info, render, view
from kilonerf.model_io import save_scene
from kilonerf.model_io.streaming.options import cache_folder
from support.fields.octree_scenes import random_octree_scene
from support.web.web_server import WebServer


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def data(tmp_path):
    save_scene(random_octree_scene(5, 2, occupied=0.05), tmp_path / "a.knf")
    return (tmp_path / "a.knf").read_bytes()


def one_line(result, *parts):
    code, printed, complaints = result
    assert (code, printed) == (2, "")
    (line,) = complaints.splitlines()
    for part in parts:
        assert part in line


def test_info_says_of_a_url_what_it_says_of_the_file(call_command, data, tmp_path):
    call = functools.partial(call_command, info.main)
    with WebServer(data) as server:
        code, printed, complaints = call(server.url, "--json")
        assert (code, complaints) == (0, "")
        facts = json.loads(printed)
        assert facts.pop("file") == server.url
        expected = json.loads(call(str(tmp_path / "a.knf"), "--json")[1])
        del expected["file"]
        assert facts == expected
        server.data = data[:-1]
        one_line(call(server.url), "kilonerf-info: error: ", server.url, "cut short")
        server.fault = lambda answer: setattr(answer, "status", 404)
        one_line(call(server.url), "kilonerf-info: error: ", server.url, "HTTP 404 Not Found")
    one_line(call("ftp://host/scene.knf"), "expected a URL with http or https, got ftp")


def test_a_picture_is_rendered_from_a_url(call_command, data, tmp_path):
    with WebServer(data) as server:
        output = tmp_path / "picture.png"
        code, _, complaints = call_command(
            render.main, server.url, "--turntable", "1", "--fps", "1", "--size", "16x12", "-o", str(output)
        )
        assert (code, complaints) == (0, "")
        assert output.is_file()
        server.fault = lambda answer: setattr(answer, "status", 404)
        one_line(
            call_command(render.main, server.url, "--turntable", "1", "-o", str(tmp_path / "other.mp4")), "HTTP 404"
        )
        assert not (tmp_path / "other.mp4").exists()


def test_the_cache_is_cleared_without_a_window(call_command, data):
    with WebServer(data) as server:
        call_command(info.main, server.url)
    assert list(cache_folder().glob("*.bytes"))
    code, printed, complaints = call_command(view.main, "--clear-cache")
    assert (code, complaints) == (0, "")
    assert printed.startswith("kilonerf-view: 1 scenes, 0.0 MB removed from ")
    assert list(cache_folder().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("https://host/a.knf", "--watch"), "--watch: expected a file on this machine, got a URL"),
        (("https://host/a.knf", "--stream-budget", "lots"), "--stream-budget: expected a size such as 1MB"),
        (("https://host/a.knf", "--cache-budget", "-1"), "--cache-budget"),
        (("s3://bucket/a.knf",), "expected a URL with http or https, got s3"),
    ],
)
def test_wrong_use_is_one_line(call_command, arguments, message):
    one_line(call_command(view.main, *arguments), message)
