from pathlib import Path

import pytest

from kilonerf.model_io import UsageError
from kilonerf.model_io.streaming.address import SceneUrl, is_there, location_key, parse_location


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("https://host/a/chair.knf", "chair.knf"),
        ("http://host:8000/ch%20air.knf?token=1#part", "ch air.knf"),
        ("https://host", "host"),
        ("HTTPS://host/x/", "x"),
    ],
)
def test_urls_are_told_from_files_and_have_names(text: str, name: str) -> None:
    url = parse_location(text)
    assert isinstance(url, SceneUrl)
    assert url.name == name
    assert "#" not in str(url)
    assert is_there(url)
    assert location_key(url) == url.text


@pytest.mark.parametrize("text", ["chair.knf", "/a/b.knf", "http:chair.knf", "a:b"])
def test_files_stay_files(text: str) -> None:
    assert parse_location(text) == Path(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://host/a.knf", "expected a URL with http or https, got ftp"),
        ("s3://bucket/a.knf", "expected a URL with http or https, got s3"),
        ("https:///a.knf", "expected a URL with the name of a server"),
        ("https://user:secret@host/a.knf", "expected a URL without a user's name and password"),
        ("https://host:port/a.knf", "expected a URL, got one that is none"),
        ("https://[::1/a.knf", "expected a URL, got one that is none"),
        ("https://host/a b.knf", "without spaces"),
        ("https://host/" + 5000 * "a", "at most 4096 characters"),
    ],
)
def test_what_cannot_be_opened_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_location(text)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_long_url_is_shortened_in_messages() -> None:
    url = parse_location("https://host/scene.knf?signature=" + 1000 * "f")
    assert len(str(url)) < 250
