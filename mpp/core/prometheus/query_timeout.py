"""
The ``timeout`` parameter of queries: what a client asked for, and how a server is told of what is left. Pure.

A server goes on with a query when nobody waits for it any more, unless it was told when to stop. Only ``query`` and
``query_range`` have the parameter (Prometheus API page, "Expression queries"). The edit is textual: a value is put in or made
smaller, every other byte stays; what is percent-encoded where a plain word is expected is left alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from mpp.core import headers
from mpp.core.model import RequestInfo

_NAME = b"timeout="
# Longer than any duration that makes sense, written with every byte percent-encoded; what is longer is not read.
_LONGEST = 100

_SECONDS = {b"ms": 1e-3, b"s": 1.0, b"m": 60.0, b"h": 3600.0, b"d": 86400.0, b"w": 7 * 86400.0, b"y": 365 * 86400.0}
_NUMBER = re.compile(rb"[0-9]{1,12}(?:\.[0-9]{0,9})?")
_DURATION = re.compile(rb"(?:[0-9]{1,12}(?:ms|[smhdwy]))+")
_PART = re.compile(rb"([0-9]{1,12}+)(ms|[smhdwy])")

# What Go's time.Duration holds (nanoseconds in 64 bits): a server answers more than that with 400.
_MAX_SECONDS = 2.0**63 / 1e9

_AMPERSAND = ord("&")
_FORM = b"application/x-www-form-urlencoded"


class TimeoutParameter(NamedTuple):
    """
    The parameter of a query that has one.

    :ivar in_body: it stands in the body, else in the query string.
    :ivar start: where its value begins there.
    :ivar end: where its value ends.
    :ivar seconds: how long, None when it makes no sense.
    """

    in_body: bool
    start: int
    end: int
    seconds: float | None


def find(info: RequestInfo) -> TimeoutParameter | None:
    """Find the parameter that counts: in the body if there is one, else in the query string (Go's Request.FormValue)."""
    # Not with "in", which finds out first, by an exception, that bytes are no number: that takes twice the time.
    in_body = info.body.find(_NAME) >= 0
    if not in_body and info.target.find(_NAME) < 0:
        return None
    found = _found(info.body, True) if in_body and is_form(info) else None
    return found or _found(info.target.partition(b"?")[2], False)


def _found(text: bytes, in_body: bool) -> TimeoutParameter | None:
    """Find the first parameter of that name, which counts (Go's url.Values.Get), in a query string or form."""
    if text.startswith(_NAME):
        start = len(_NAME)
    else:
        before = text.find(b"&" + _NAME)
        if before < 0:
            return None
        start = before + 1 + len(_NAME)
    end = text.find(b"&", start)
    end = len(text) if end < 0 else end
    return TimeoutParameter(in_body, start, end, seconds_of(text[start:end]) if end - start <= _LONGEST else None)


def limited(info: RequestInfo, found: TimeoutParameter | None, seconds: float) -> tuple[bytes, bytes]:
    """
    Have a query stop after ``seconds`` at the latest.

    :param found: what `find` gives.
    :return: its target and body with a ``timeout`` put in or made smaller; as they are if that is not needed, or cannot be
        done by a plain edit (a body that is no plain form, a value that is not understood: the server shall complain about
        that itself).
    """
    target, body = info.target, info.body
    value = b"%dms" % max(1, int(seconds * 1000))
    if found is None:
        if not body:
            mark = target.find(b"?")
            if mark < 0:
                return target + b"?timeout=" + value, body
            ready = target[-1] == _AMPERSAND or mark == len(target) - 1
            return target + (b"timeout=" if ready else b"&timeout=") + value, body
        return target, _joined(body, value) if is_form(info) else body
    given = found.seconds
    if given is None or given <= seconds:
        return target, body
    if found.in_body:
        return target, _replaced(body, found, value)
    path, _, query = target.partition(b"?")
    return path + b"?" + _replaced(query, found, value), body


def without_injected(location: bytes, target: bytes, found: TimeoutParameter | None, sent: bytes) -> bytes:
    """
    Return the ``Location`` of a redirect as if the target had been sent as the client wrote it.

    The parameter is recognized byte for byte; a location that does not have it is returned as it is. Otherwise a client that
    follows the redirect would ask with a timeout that it never chose, and a browser would show it.

    :param target: as the client sent it.
    :param found: what `find` returned for it.
    :param sent: the target that `limited` made of it, which is another one.
    """
    start = sent.rfind(_NAME) if found is None else sent.index(b"?") + 1 + found.start - len(_NAME)
    injected = sent[start:].partition(b"&")[0]
    address, number_sign, fragment = location.partition(b"#")
    path, _, query = address.partition(b"?")
    parameters = query.split(b"&")
    if injected not in parameters:
        return location
    at = parameters.index(injected)
    parameters[at : at + 1] = [] if found is None else [target[start:].partition(b"&")[0]]
    query = b"&".join(parameters)
    return b"%b%b%b%b" % (path, b"?" + query if query else b"", number_sign, fragment)


def is_form(info: RequestInfo) -> bool:
    """Return whether the body is a plain form: not compressed, and Go reads forms of POST only (of these methods)."""
    if info.method != b"POST" or headers.values(info.headers, b"content-encoding"):
        return False
    kinds = headers.values(info.headers, b"content-type")
    return len(kinds) == 1 and kinds[0].partition(b";")[0].strip().lower() == _FORM


def _joined(text: bytes, value: bytes) -> bytes:
    """Put the parameter at the end of a form, or of a query string."""
    return (b"%b&timeout=%b" if text and text[-1] != _AMPERSAND else b"%btimeout=%b") % (text, value)


def _replaced(text: bytes, found: TimeoutParameter, value: bytes) -> bytes:
    return text[: found.start] + value + text[found.end :]


def seconds_of(text: bytes) -> float | None:
    """Read a duration as the API does: seconds as a number, or a Prometheus duration; None if it is neither, or too long."""
    if b"%" in text:
        text = unquote_to_bytes(text)
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif _DURATION.fullmatch(text):
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    else:
        return None
    return seconds if seconds <= _MAX_SECONDS else None
