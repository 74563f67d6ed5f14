"""A real HTTP server on loopback that serves one file, well or badly."""

import hashlib
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What the server is about to send, for a fault to change.

    Attributes:
        number: of the request, from 0 on.
        begin: first byte of the file that was asked for; None: the request has no range.
        status: of the answer.
        headers: of the answer.
        body: of the answer.
        cut: close the connection after so many bytes of the body.
        rate: bytes per second; 0: as fast as it goes.
        pause: seconds before anything is sent.
        raw: send this, and nothing else.
        path: that was asked for.
    """

    number: int
    begin: int | None
    status: int
    headers: dict[str, str]
    body: bytes
    path: str = "/scene.knf"
    cut: int | None = None
    rate: float = 0.0
    pause: float = 0.0
    raw: bytes | None = None


@dataclass
class WebServer:
    """Serves ``data`` at every path, with ranges and an ETag.

    Attributes:
        data: the file.
        fault: changes an answer before it is sent.
        ranges: whether ranges are answered.
        etag: whether answers have one, which follows from the data.
        asked: the range of each request, as (path, begin, end); None for one without a range.
        sent: bytes of bodies.
    """

    data: bytes
    fault: Callable[[Answer], None] = lambda answer: None
    ranges: bool = True
    etag: bool = True
    asked: list[tuple[str, tuple[int, int] | None]] = field(default_factory=list)
    sent: int = 0

    def __enter__(self) -> "WebServer":
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner._answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that went away

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/scene.knf"

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        data, headers = self.data, {"Accept-Ranges": "bytes"}
        if self.etag:
            headers["ETag"] = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
        wanted = (int(match[1]), int(match[2]) + 1) if match else None
        number = len(self.asked)
        self.asked.append((handler.path, wanted))
        fresh = handler.headers.get("If-Range") in (None, headers.get("ETag"))
        answer = Answer(number, wanted[0] if wanted else None, 200, headers, data, handler.path)
        if wanted and self.ranges and fresh:
            begin, end = wanted[0], min(wanted[1], len(data))
            if begin >= len(data):
                answer.status, answer.body = 416, b""
                headers["Content-Range"] = f"bytes */{len(data)}"
            else:
                answer.status, answer.body = 206, data[begin:end]
                headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        headers["Content-Length"] = str(len(answer.body))
        self.fault(answer)
        with suppress(OSError):
            self._send(handler, answer)

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        time.sleep(answer.pause)
        if answer.raw is not None:
            handler.close_connection = True
            handler.wfile.write(answer.raw)
            return
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if "Content-Length" not in answer.headers and "Transfer-Encoding" not in answer.headers:
            handler.send_header("Connection", "close")
            handler.close_connection = True
        handler.end_headers()
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        step = len(body) if not answer.rate else max(1, int(answer.rate / 100))
        for at in range(0, len(body), max(1, step)):
            handler.wfile.write(body[at : at + step])
            self.sent += len(body[at : at + step])
            if answer.rate:
                handler.wfile.flush()
                time.sleep(step / answer.rate)
        if answer.cut is not None or str(len(answer.body)) != answer.headers.get("Content-Length"):
            handler.close_connection = True
