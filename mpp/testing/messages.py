"""Requests and answers of a simulated Prometheus, as values, and the shapes in which Prometheus puts its answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs

from attrs import frozen

Headers = tuple[tuple[bytes, bytes], ...]

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
HTML = "text/html; charset=utf-8"


@frozen
class Request:
    """One request as it arrived. ``target`` is raw, ``method`` is upper case."""

    method: str
    target: bytes
    headers: Headers = ()
    body: bytes = b""
    version: str = "1.1"

    @property
    def path(self) -> str:
        """The target without its query, not decoded."""
        return self.target.partition(b"?")[0].decode("latin-1")

    @property
    def parameters(self) -> dict[str, list[str]]:
        """Parameters of the query string and, for a form, of the body."""
        found = parse_qs(self.target.partition(b"?")[2].decode("latin-1"), keep_blank_values=True)
        if self.header("content-type").startswith("application/x-www-form-urlencoded"):
            for name, values in parse_qs(self.body.decode("latin-1"), keep_blank_values=True).items():
                found.setdefault(name, []).extend(values)
        return found

    def header(self, name: str) -> str:
        """All values of a header field, joined; empty when there is none."""
        wanted = name.lower().encode()
        return ", ".join(value.decode("latin-1") for key, value in self.headers if key.lower() == wanted)


@frozen
class SimulatedResponse:
    """
    What is sent back.

    :ivar delay: seconds to wait before it.
    :ivar pieces: gives the body piece by piece (then ``body`` is empty).
    :ivar length: of all pieces together, if it is to be announced; None to send them as chunks.
    :ivar live: an event stream: ``body`` is its beginning, it never ends.
    """

    status: int
    content_type: str = TEXT
    body: bytes = b""
    headers: Headers = ()
    delay: float = 0.0
    pieces: Callable[[], Iterator[bytes]] | None = None
    length: int | None = None
    live: bool = False


def text(status: int, body: str, headers: Headers = ()) -> SimulatedResponse:
    """Give what Go's ``http.Error`` gives."""
    return SimulatedResponse(status, TEXT, body.encode() + b"\n", ((b"X-Content-Type-Options", b"nosniff"), *headers))


def api_error(status: int, kind: str, message: str) -> SimulatedResponse:
    """Give an error in the shape of the query API."""
    return SimulatedResponse(status, JSON, compact({"status": "error", "errorType": kind, "error": message}))


def api_data(data: object) -> SimulatedResponse:
    """Give a success in the shape of the query API."""
    return SimulatedResponse(200, JSON, compact({"status": "success", "data": data}))


def compact(value: object) -> bytes:
    """Encode as JSON, without spaces, as Prometheus does."""
    return json.dumps(value, separators=(",", ":")).encode()
