"""
Builds message heads as bytes: of requests to backends, of responses to clients, and of mpp's own error responses. Pure.

Field values are never changed, only whole fields are left out or added; names keep their case. RFC 9110 section 7.6.1 defines
which fields are hop-by-hop, that is, concern one connection only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus

from mpp.core.errors import LoopDetected
from mpp.core.http import instance, route_cookie
from mpp.core.http.headers import HOP_BY_HOP, REQUEST_DROPPED, nominated
from mpp.core.http.instance import Instance
from mpp.core.model import Backend, Headers, RequestInfo

# The fields that decide how mpp writes its own. X-Forwarded-Port is passed on only from a trusted proxy.
_REQUEST_READ = frozenset(
    (b"connection", instance.FIELD, b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto")
)
# The fields that are not passed on unchanged.
_REQUEST_SPECIAL = REQUEST_DROPPED | _REQUEST_READ | {b"cookie"}
# A backend that is an mpp reports its own server and its own attempts; the client gets the values of this mpp instead.
_RESPONSE_DROPPED = HOP_BY_HOP | {b"mpp.servedby", b"mpp.attempts"}
# The fields that are dropped, changed, or looked at.
_RESPONSE_SPECIAL = _RESPONSE_DROPPED | {b"set-cookie", b"content-length"}
_BODYLESS = frozenset((204, 304))
_WITHOUT_BODY = frozenset((b"GET", b"HEAD", b"OPTIONS"))
# One host and optional port (RFC 3986 sections 3.2.2 and 3.2.3), never empty: some proxies append their value to the client's.
_one_host = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[\w.~-]+)(?::[0-9]{1,5})?").fullmatch
_port = re.compile(rb"[0-9]{1,5}").fullmatch


def _without(headers: Headers, names: set[bytes]) -> Headers:
    """Return header fields without the named ones and without ``Connection``."""
    return tuple(field for field in headers if field[0].lower() not in names and field[0].lower() != b"connection")


def request_head(
    info: RequestInfo, backend: Backend, target: bytes, length: int, sender: Instance, *, from_trusted_proxy: bool = False
) -> bytes:
    """
    Build the head of the request that goes to a backend.

    :param target: the raw target, with the backend's prefix.
    :param length: the length of the body, in bytes.
    :param sender: this mpp.
    :param from_trusted_proxy: X-Forwarded-Proto, -Host and -Port are passed on; otherwise mpp writes the first two itself, and
        leaves out the third, which a client may have forged.
    :raise LoopDetected: this mpp has sent the request before.
    """
    parts = [info.method, b" ", target, b" HTTP/1.1\r\nHost: ", backend.authority, b"\r\n"]
    host, received = _pass_on_request(info.headers, backend, parts)
    line, addresses = sender.line, info.peer.encode("ascii")
    if received:
        before, tokens = received.get(b"x-forwarded-for", []), received.get(instance.FIELD)
        addresses = b", ".join([*before, addresses] if addresses else before)
        if tokens:
            if sender.is_in(tokens):
                raise LoopDetected
            line = sender.line_after(tokens)
    parts.append(line)
    if addresses:
        parts += b"X-Forwarded-For: ", addresses, b"\r\n"
    if from_trusted_proxy:
        host = _pass_on_origin(info, host, received, parts)
    else:
        parts.append(b"X-Forwarded-Proto: https\r\n" if info.secure else b"X-Forwarded-Proto: http\r\n")
    if host:
        parts += b"X-Forwarded-Host: ", host, b"\r\n"
    if length or info.method not in _WITHOUT_BODY:
        parts.append(b"Content-Length: %d\r\n" % length)
    parts.append(b"\r\n")
    return b"".join(parts)


def _pass_on_request(headers: Headers, backend: Backend, parts: list[bytes]) -> tuple[bytes, dict[bytes, list[bytes]]]:
    """
    Append the lines of a client's fields to ``parts``.

    :return: the value of ``Host``, and the values of the fields in `_REQUEST_READ`, by lower-case name.
    """
    host = b""
    received: dict[bytes, list[bytes]] = {}
    start = len(parts)
    for name, value in headers:
        lower = name.lower()
        if lower not in _REQUEST_SPECIAL:
            parts += name, b": ", value, b"\r\n"
        elif lower == b"host":
            host = value
        elif lower == b"cookie":
            if value := route_cookie.to_server(value, backend):
                parts += name, b": ", value, b"\r\n"
        elif lower in received:
            received[lower].append(value)
        elif lower in _REQUEST_READ:
            received[lower] = [value]
    if b"connection" in received and (names := nominated(received[b"connection"], REQUEST_DROPPED)):
        del parts[start:]
        return _pass_on_request(_without(headers, names), backend, parts)
    return host, received


def _pass_on_origin(info: RequestInfo, host: bytes, received: Mapping[bytes, list[bytes]], parts: list[bytes]) -> bytes:
    """
    Append the scheme and port by which the client reached the outermost proxy to ``parts``, and return the host.

    The proxy in front of mpp has reported them. A missing, repeated or malformed value is replaced by that of the request to mpp;
    the port is then left out.

    :param host: the ``Host`` of the request to mpp.
    :param received: the received fields, see `_pass_on_request`.
    """
    reported = {name: values[0] for name, values in received.items() if len(values) == 1}
    scheme = reported.get(b"x-forwarded-proto", b"").lower()
    if scheme not in (b"http", b"https"):
        scheme = b"https" if info.secure else b"http"
    parts += b"X-Forwarded-Proto: ", scheme, b"\r\n"
    if _port(port := reported.get(b"x-forwarded-port", b"")):
        parts += b"X-Forwarded-Port: ", port, b"\r\n"
    return reported_host if _one_host(reported_host := reported.get(b"x-forwarded-host", b"")) else host


def response_head(
    status: int,
    reason: bytes,
    headers: Headers,
    added: Headers,
    *,
    length: int | None,
    bodyless: bool,
    chunked: bool,
    served_by: Backend | None = None,
) -> bytes:
    """
    Build the head of the response to a client.

    :param reason: as received; replaced by the standard phrase if it has characters that are not printable.
    :param headers: the fields of the backend's response.
    :param added: the fields that mpp adds.
    :param length: the body's length if it is known; written unless the backend sent ``Content-Length``.
    :param bodyless: the response is to HEAD: the backend's ``Content-Length`` is kept, and none is added.
    :param chunked: the body will be sent in chunks.
    :param served_by: the backend; its id is added to the name of an inner mpp's cookie, see `mpp.core.http.route_cookie`; None
        for mpp's own error responses.
    """
    parts = [b"HTTP/1.1 %d " % status, reason if reason == b"OK" else _plain_reason(status, reason), b"\r\n"]
    announced = _pass_on(headers, served_by, parts)
    for name, value in added:
        parts += name, b": ", value, b"\r\n"
    if chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif length is not None and not announced and not bodyless and status not in _BODYLESS:
        parts.append(b"Content-Length: %d\r\n" % length)
    parts.append(b"\r\n")
    return b"".join(parts)


def _pass_on(headers: Headers, served_by: Backend | None, parts: list[bytes]) -> bool:
    """Append the lines of a backend's fields to ``parts``; return whether ``Content-Length`` is one of them."""
    announced = False
    connections = []
    start = len(parts)
    for name, value in headers:
        lower = name.lower()
        if lower not in _RESPONSE_SPECIAL:
            parts += name, b": ", value, b"\r\n"
        elif lower == b"content-length":
            announced = True
            parts += name, b": ", value, b"\r\n"
        elif lower == b"set-cookie":
            parts += name, b": ", value if served_by is None else route_cookie.from_server(value, served_by), b"\r\n"
        elif lower == b"connection":
            connections.append(value)
    if connections and (names := nominated(connections, _RESPONSE_DROPPED)):
        del parts[start:]
        return _pass_on(_without(headers, names), served_by, parts)
    return announced


def _plain_reason(status: int, reason: bytes) -> bytes:
    """
    Return a reason phrase that is safe to print on a terminal.

    A phrase with characters that are not printable or no UTF-8 (such as control and bidirectional ones) is replaced by the
    standard phrase of the status, or an empty one if there is none. A client may ignore the phrase (RFC 9112 section 4).
    """
    if reason.decode("utf-8", "surrogateescape").isprintable():
        return reason
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


def server_timing(total: float, backend: Backend, took: float | None, waited: float, cache: str = "") -> bytes:
    """
    Return the value of ``Server-Timing`` (W3C), which shows where the time until the response head went.

    :param total: seconds from the request of the client to the head of the response.
    :param took: seconds that the backend needed; None if it was not asked.
    :param waited: seconds that the request waited in mpp for a slot on the backend.
    :param cache: how the cache was used, in one word; empty if it was not.
    """
    queue = b"queue;dur=%.1f, " % (waited * 1000) if waited else b""
    used = b"cache;desc=%b, " % cache.encode("ascii") if cache else b""
    found = b"mpp;dur=%.1f, %b%b" % (total * 1000, used, queue)
    if took is None:
        return found.removesuffix(b", ")
    return b'%bupstream;dur=%.1f;desc="%b"' % (found, took * 1000, backend.netloc.encode("ascii"))


def connection_field(*, persistent: bool, http_10: bool) -> Headers:
    """Return the ``Connection`` field of a response; no field if the HTTP version implies it already (RFC 9112 section 9.3)."""
    if not persistent:
        return ((b"Connection", b"close"),)
    return ((b"Connection", b"keep-alive"),) if http_10 else ()


def error_body(error_type: str, message: str) -> bytes:
    """
    Build the body of an error response of mpp itself: one line in the format of Prometheus' API errors, which Grafana shows.

    :param error_type: one of Prometheus' error types where one fits (``unavailable``, ``bad_data``, ``timeout``).
    """
    return json.dumps({"status": "error", "errorType": error_type, "error": message}).encode() + b"\n"


def error_answer(status: int, error_type: str, message: str, added: Headers = (), *, bodyless: bool = False) -> bytes:
    """
    Build a complete error response of mpp itself: the head and `error_body`.

    :param bodyless: the response is to HEAD, so the body is left out.
    """
    body = error_body(error_type, message)
    fields = ((b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store"), (b"Content-Length", b"%d" % len(body)))
    reason = HTTPStatus(status).phrase.encode("ascii")
    head = response_head(status, reason, fields, added, length=None, bodyless=True, chunked=False)
    return head if bodyless else head + body
