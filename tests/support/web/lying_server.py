"""Servers that lie, at random: headers, ranges, bodies, versions; each is a function of its seed."""

import random
from collections.abc import Callable

from .web_server import Answer

LIES: tuple[str, ...] = (
    "status",
    "cut",
    "flip",
    "shorter",
    "longer",
    "other length",
    "other range",
    "no length",
    "no range",
    "header",
    "encoding",
    "redirect",
    "garbage",
    "other version",
    "chunked",
    "whole",
)


def lying(seed: int, data: bytes) -> Callable[[Answer], None]:
    """A fault that changes each answer with some probability, in ways that only the seed decides."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    share = chance.choice((0.2, 0.5, 1.0))
    kinds = chance.sample(LIES, chance.randint(1, 4))

    def lie(answer: Answer) -> None:
        if chance.random() < share:
            _tell(chance.choice(kinds), answer, chance, data)

    return lie


def _tell(lie: str, answer: Answer, chance: random.Random, data: bytes) -> None:
    headers, size = answer.headers, len(answer.body)
    if lie == "status":
        answer.status = chance.choice((200, 201, 204, 206, 301, 304, 400, 401, 404, 416, 429, 500, 503, 599))
    elif lie == "cut":
        answer.cut = chance.randrange(size + 1)
    elif lie == "flip":
        body = bytearray(answer.body)
        for _ in range(chance.randint(1, 5)):
            if body:
                body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        answer.body = bytes(body)
    elif lie == "shorter":
        answer.body = answer.body[: chance.randrange(size + 1)]
    elif lie == "longer":
        answer.body += bytes(chance.randrange(10_000))
    elif lie == "other length":
        headers["Content-Length"] = str(chance.choice((0, 1, size - 1, size + 1, 2**31, 2**63, -1, 10**30)))
    elif lie == "other range":
        numbers = [chance.choice((0, 1, size, len(data), len(data) - 1, 2**40, 10**17)) for _ in range(3)]
        headers["Content-Range"] = chance.choice(
            ("bytes {}-{}/{}".format(*numbers), f"bytes {numbers[0]}-{numbers[1]}/*", "bytes */5", "lines 1-2/3", "\t")
        )
    elif lie == "no length":
        headers.pop("Content-Length", None)
    elif lie == "no range":
        headers.pop("Content-Range", None)
    elif lie == "header":
        headers[chance.choice(("ETag", "Last-Modified", "Location", "X"))] = chance.choice(
            ("", '"1"', "W/x", "y" * 9000)
        )
    elif lie == "encoding":
        headers["Content-Encoding"] = chance.choice(("gzip", "br", "identity", "deflate, gzip"))
    elif lie == "redirect":
        answer.status = 302
        headers["Location"] = chance.choice(("/other", "//", "http://127.0.0.1:1/", "javascript:1", "http://[", "\x01"))
    elif lie == "garbage":
        answer.raw = chance.choice(
            (b"", b"HTTP/1.1 ", b"\0" * 99, b"HTTP/1.1 200 OK\r\n\r\n<html>", chance.randbytes(99))
        )
    elif lie == "other version":
        headers["ETag"] = f'"{chance.randrange(3)}"'
    elif lie == "chunked":
        headers.pop("Content-Length", None)
        headers["Transfer-Encoding"] = "chunked"
        answer.body = chance.choice((b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"ffffffff\r\nabc", b"0\r\n\r\n"))
    else:
        answer.status, answer.body = 200, data
        headers["Content-Length"] = str(len(data))
        headers.pop("Content-Range", None)
