"""Requests and responses of a simulated Prometheus as values, and the formats of Prometheus' responses."""

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
    """A request as it arrived: ``target`` is not decoded, ``method`` is in upper case."""

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
        """Return all values of a header field, joined; empty when there is none."""
        wanted = name.lower().encode()
        return ", ".join(value.decode("latin-1") for key, value in self.headers if key.lower() == wanted)


@frozen
class SimulatedResponse:
    """
    The response to a request.

    :ivar delay: seconds to wait before it is sent.
    :ivar pieces: yields the body in pieces (then ``body`` is empty).
    :ivar length: the length of all pieces together, if it is announced; None to send chunks.
    :ivar live: True for an event stream, which starts with ``body`` and never ends.
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
    """Return an error response in plain text, as Go's ``http.Error`` sends it."""
    return SimulatedResponse(status, TEXT, body.encode() + b"\n", ((b"X-Content-Type-Options", b"nosniff"), *headers))


def api_error(status: int, kind: str, message: str) -> SimulatedResponse:
    """Return an error response in the format of the query API."""
    return SimulatedResponse(status, JSON, compact({"status": "error", "errorType": kind, "error": message}))


def api_data(data: object) -> SimulatedResponse:
    """Return a success response in the format of the query API."""
    return SimulatedResponse(200, JSON, compact({"status": "success", "data": data}))


def compact(value: object) -> bytes:
    """Encode as JSON, without spaces, as Prometheus does."""
    return json.dumps(value, separators=(",", ":")).encode()
