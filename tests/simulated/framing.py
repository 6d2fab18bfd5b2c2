"""The framing of HTTP/1.1 responses as in Go's HTTP server. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import formatdate
from http import HTTPStatus

from tests.simulated.messages import Request, SimulatedResponse

CHUNKED_FROM = 2048
"""Go's server announces the length of bodies up to this size and sends larger ones in chunks."""
LAST_CHUNK = b"0\r\n\r\n"


def frame(answer: SimulatedResponse, request: Request, now: float, *, last: bool) -> tuple[bytes, bytes]:
    """
    Return the head and the body as Go's server would send them; the body is empty for a streamed one.

    :param last: True if the connection is closed after the response.
    """
    lines = [b"HTTP/1.1 %d %b" % (answer.status, HTTPStatus(answer.status).phrase.encode())]
    lines += [b"%b: %b" % pair for pair in answer.headers]
    if answer.content_type:
        lines.append(b"Content-Type: " + answer.content_type.encode())
    lines.append(b"Date: " + formatdate(now, usegmt=True).encode())
    length, body = len(answer.body), answer.body
    old = request.version == "1.0"
    if answer.length is not None:
        lines.append(b"Content-Length: %d" % answer.length)
    elif answer.live or answer.pieces is not None or length > CHUNKED_FROM:
        if not old:
            lines.append(b"Transfer-Encoding: chunked")
            body = chunk(body) + (b"" if answer.live or answer.pieces is not None else LAST_CHUNK)
    elif request.method != "HEAD":
        lines.append(b"Content-Length: %d" % length)
    if last:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n", b"" if request.method == "HEAD" else body


def stream(answer: SimulatedResponse, request: Request) -> Iterator[bytes]:
    """Yield the pieces of a streamed body, in chunks unless its length is announced."""
    assert answer.pieces is not None
    if answer.length is not None or request.version == "1.0":
        yield from answer.pieces()
        return
    for piece in answer.pieces():
        yield chunk(piece)
    yield LAST_CHUNK


def chunk(data: bytes) -> bytes:
    """Return data as chunks of at most 4 KiB, without the last chunk."""
    pieces = (data[at : at + 4096] for at in range(0, len(data), 4096))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
