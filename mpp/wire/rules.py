"""
Which requests are served: the checks that llhttp leaves to its user.

Pure. Two readings of one request by two programs are how requests are smuggled, so whatever is ambiguous is refused (RFC 9112
sections 3.2, 6.1 and 11.2).
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from mpp.errors import BadRequest
from mpp.model import Headers


class Announced(NamedTuple):
    """
    What a request's head says about what follows it.

    :ivar body: a body follows.
    :ivar expects_continue: the client waits for ``100 Continue`` before it sends the body.
    """

    body: bool
    expects_continue: bool


_NOTHING = Announced(False, False)
_JUST_A_BODY = Announced(True, False)

# Visible ASCII without the number sign: a fragment is never sent (RFC 9110 section 7.1).
_IN_TARGETS = bytes(code for code in range(0x21, 0x7F) if code != ord("#"))
# RFC 3986 section 3.2: an IP literal or a registered name, and a port. Empty is allowed.
_host = re.compile(rb"(?:\[[0-9A-Fa-fvV:.%\w~!$&'()*+,;=-]*\]|[\w.~!$&'()*+,;=%-]*)(?::[0-9]*)?").fullmatch

# Longer than any name with its port (RFC 1035 section 2.3.4); what is longer is not remembered, or it could fill the memory.
_LONGEST_HOST = 260
# In place of the value of a field that came more than once: a list (RFC 9110 section 5.3), none of which is known here.
_SEVERAL = b"several"
# The lengths of the names below: most fields are passed over without a lower-case copy.
_LENGTHS = frozenset((4, 6, 14, 17))


@functools.lru_cache(128)
def _is_known_host(value: bytes) -> bool:
    """Tell whether a Host field is one. Remembered: clients know mpp by a few names."""
    return _host(value) is not None


def _is_host(value: bytes) -> bool:
    return _is_known_host(value) if len(value) <= _LONGEST_HOST else _host(value) is not None


def check_head(target: bytes, version: bytes, headers: Headers, max_body: int) -> Announced:
    """
    Accept or refuse a request by its head.

    :param version: ``1.1``, ``1.0`` or whatever else the parser let pass.
    :param max_body: how many bytes a body may have.
    :raise BadRequest: with the status to answer.
    """
    if version not in (b"1.1", b"1.0"):
        raise BadRequest(400 if version == b"0.9" else 505, "HTTP/1.1 and HTTP/1.0 are spoken here.")
    # A third of what a regular expression takes for a long query.
    if target[:1] != b"/" or target.translate(None, _IN_TARGETS):
        raise BadRequest(400, "The request target must be a path in visible ASCII that starts with a slash.")
    hosts = 0
    length = coding = expectation = None
    for name, value in headers:
        if len(name) in _LENGTHS:
            name = name.lower()
            if name == b"host":
                hosts += 1
                if not _is_host(value):
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
        return _NOTHING
    return _announced(version, length, coding, expectation, max_body)


def _announced(version: bytes, length: bytes | None, coding: bytes | None, expectation: bytes | None, max_body: int) -> Announced:
    if coding is not None:
        if version == b"1.0" or length is not None:
            raise BadRequest(400, "The length of the body is ambiguous.")
        if coding.strip().lower() != b"chunked":
            raise BadRequest(501, "The only transfer coding known here is chunked.")
    elif length is not None and int(length) > max_body:
        raise too_large(max_body)
    body = coding is not None or (length is not None and int(length) > 0)
    # A server ignores the expectations of HTTP/1.0 (RFC 9110 section 10.1.1).
    if expectation is None or version == b"1.0":
        return _JUST_A_BODY if body else _NOTHING
    if expectation.strip().lower() != b"100-continue":
        raise BadRequest(417, "The only expectation known here is 100-continue.")
    return Announced(body, body)


def too_large(max_body: int) -> BadRequest:
    """Give the refusal of a body larger than ``max_body``."""
    return BadRequest(413, f"The body is larger than {max_body} bytes.")
