"""
The rules that a client's request must satisfy to be served, as far as the parser (llhttp) does not check them. Pure.

Requests are smuggled where two programs parse one request differently, so whatever is ambiguous is rejected (RFC 9112 sections
3.2, 6.1 and 11.2).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from mpp.core.errors import BadRequest
from mpp.core.model import KIB, Headers
from mpp.wire.downstream.request_limits import MAX_FIELDS


class AnnouncedBody(NamedTuple):
    """
    The body that a request's head announces.

    :ivar body: a body follows.
    :ivar expects_continue: the client waits for ``100 Continue`` before it sends the body.
    :ivar max_body: how many bytes the body may have; 0 if none follows.
    """

    body: bool
    expects_continue: bool
    max_body: int = 0


NOTHING = AnnouncedBody(False, False)
"""The value for a head that no body follows, as in most requests."""

# Visible ASCII without the number sign: a fragment is never sent (RFC 9110 section 7.1).
_IN_TARGETS = bytes(code for code in range(0x21, 0x7F) if code != ord("#"))
# RFC 3986 section 3.2: an IP literal or a registered name, and a port. Empty is allowed.
_host = re.compile(rb"(?:\[[0-9A-Fa-fvV:.%\w~!$&'()*+,;=-]*\]|[\w.~!$&'()*+,;=%-]*)(?::[0-9]*)?").fullmatch

_BAD_TARGET = "The request target must be a path or an http URL, in visible ASCII."
# RFC 9112 section 3.2.2. The authority is checked like a Host field.
_absolute = re.compile(rb"https?://([^/?#]*)([/?].*)?", re.IGNORECASE | re.DOTALL).fullmatch

# Longer than any name with its port (RFC 1035 section 2.3.4).
_LONGEST_HOST = 260
# Replaces the value of a field that came more than once, which is a list (RFC 9110 section 5.3); no list is supported.
_SEVERAL = b"several"

LONG_HEAD = 8 * KIB
"""The size of a head in bytes above which `check_lists` is called; nothing in a shorter head can cost much time."""
MAX_LIST = 16 * KIB
"""
Bytes that all fields of one name may have together, if mpp parses their values: as many as the strictest of the common servers
and proxies allow for a whole head (Node.js; HAProxy's buffer), and 4 ms of work at most.
"""
_LISTS = frozenset((b"accept", b"connection", b"cookie"))
# The lengths of the names that `check_head` looks for: most fields are skipped without a lower-case copy.
_LENGTHS = frozenset((4, 6, 14, 17))


@functools.lru_cache(128)
def _is_known_host(value: bytes) -> bool:
    """Return whether a Host field is valid. Cached, since clients know mpp by a few names."""
    return _host(value) is not None


def origin_form(target: bytes, headers: Headers) -> tuple[bytes, Headers]:
    """
    Convert target and fields of a request from absolute-form to origin-form (RFC 9112 section 3.2.2).

    The authority of the target takes the place of each Host field; a request of HTTP/1.1 that has none, or two, fails in
    `check_head`.

    :raise BadRequest: the target is of another form, or its authority is empty.
    """
    absolute = _absolute(target)
    if absolute is None:
        raise BadRequest(400, _BAD_TARGET)
    authority, rest = absolute[1], absolute[2] or b""
    if not authority:
        raise BadRequest(400, "The request target has no host.")
    fields = tuple((name, authority if name.lower() == b"host" else value) for name, value in headers)
    return b"/" + rest.removeprefix(b"/"), fields


def check_lists(headers: Headers) -> None:
    """
    Reject a head in which a field that mpp parses is too long. To be called for heads longer than `LONG_HEAD`.

    :raise BadRequest: 431 (RFC 6585 section 5), if all fields of one name together exceed `MAX_LIST`.
    """
    sizes: dict[bytes, int] = {}
    for name, value in headers:
        lower = name.lower()
        if lower in _LISTS:
            size = sizes[lower] = sizes.get(lower, 0) + len(value)
            if size > MAX_LIST:
                raise BadRequest(431, f"The {name.decode('ascii')} field is longer than {MAX_LIST} bytes.")


def check_head(target: bytes, version: bytes, headers: Headers, max_body_of: Callable[[bytes], int]) -> AnnouncedBody:
    """
    Accept or reject a request by its head.

    :param target: in origin-form: it begins with a slash.
    :param version: ``1.1``, ``1.0`` or any other version that the parser accepts.
    :param max_body_of: returns how many bytes a body may have, from the target; called only if a body follows.
    :raise BadRequest: with the status of the response.
    """
    if version not in (b"1.1", b"1.0"):
        raise BadRequest(400 if version == b"0.9" else 505, "The supported versions are HTTP/1.1 and HTTP/1.0.")
    # A third of what a regular expression takes for a long query.
    if target.translate(None, _IN_TARGETS):
        raise BadRequest(400, _BAD_TARGET)
    hosts = 0
    length = coding = expectation = None
    for name, value in headers:
        if len(name) in _LENGTHS:
            name = name.lower()
            if name == b"host":
                hosts += 1
                if len(value) > _LONGEST_HOST or not _is_known_host(value):
                    raise BadRequest(400, "The Host field is not a host name.")
            elif name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                coding = value if coding is None else _SEVERAL
            elif name == b"expect":
                expectation = value if expectation is None else _SEVERAL
    if hosts != 1 and (hosts or version == b"1.1"):
        raise BadRequest(400, "There must be exactly one Host field.")
    if length is None and coding is None and expectation is None:
        return NOTHING
    return _announced(target, version, length, coding, expectation, max_body_of)


def _announced(
    target: bytes,
    version: bytes,
    length: bytes | None,
    coding: bytes | None,
    expectation: bytes | None,
    max_body_of: Callable[[bytes], int],
) -> AnnouncedBody:
    """Return the body that these fields announce; reject fields that are ambiguous or not supported."""
    if coding is not None:
        if version == b"1.0" or length is not None:
            raise BadRequest(400, "The length of the body is ambiguous.")
        if coding.strip().lower() != b"chunked":
            raise BadRequest(501, "The only supported transfer coding is chunked.")
    body = coding is not None or (length is not None and int(length) > 0)
    max_body = max_body_of(target) if body else 0
    if body and (max_body == 0 or (length is not None and int(length) > max_body)):
        raise too_large(max_body)
    # A server ignores the expectations of HTTP/1.0 (RFC 9110 section 10.1.1).
    if expectation is None or version == b"1.0":
        return _just_a_body(max_body) if body else NOTHING
    if expectation.strip().lower() != b"100-continue":
        raise BadRequest(417, "The only supported expectation is 100-continue.")
    return AnnouncedBody(body, body, max_body)


@functools.lru_cache(16)
def _just_a_body(max_body: int) -> AnnouncedBody:
    """Return the announcement of most requests with a body. Cached, since there are few limits."""
    return AnnouncedBody(True, False, max_body)


def large_head(max_head: int) -> BadRequest:
    """Return the rejection of a head larger than ``max_head`` bytes."""
    return BadRequest(431, f"The head is larger than {max_head} bytes.")


def many_fields() -> BadRequest:
    """Return the rejection of a head with more fields than `MAX_FIELDS`."""
    return BadRequest(431, f"The head has more than {MAX_FIELDS} fields.")


def no_memory() -> BadRequest:
    """Return the rejection of a request for which the memory budget has no room."""
    return BadRequest(503, "There is no memory for this request, because other requests arrive faster.")


def too_large(max_body: int) -> BadRequest:
    """Return the rejection of a body larger than ``max_body`` bytes."""
    return BadRequest(413, f"The body is larger than {max_body} bytes." if max_body else "A request for this path has no body.")
