"""
Reads the ``timeout`` parameter of queries, and limits it to the time that is left for the request. Pure.

Without the parameter a server may continue a query after its client has disconnected. Only ``query`` and ``query_range`` have it
(Prometheus API page, "Expression queries"). The edit is textual: a value is added or reduced, and every other byte stays. A
percent-encoded parameter name is not recognized.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from mpp.core.model import MIB, RequestInfo

_NAME = b"timeout="
# Longer than any useful duration with every byte percent-encoded; longer values are not parsed.
_LONGEST = 100

_SECOND = 10**9
_HOUR, _DAY = 3600 * _SECOND, 86400 * _SECOND
_NANOSECONDS = {b"ms": 10**6, b"s": _SECOND, b"m": 60 * _SECOND, b"h": _HOUR, b"d": _DAY, b"w": 7 * _DAY, b"y": 365 * _DAY}
_NUMBER = re.compile(rb"[0-9]{1,12}(?:\.[0-9]{0,9})?")
_DURATION = re.compile(rb"(?:[0-9]{1,12}(?:ms|[smhdwy]))+")
_PART = re.compile(rb"([0-9]{1,12}+)(ms|[smhdwy])")

# The limit of Go's time.Duration (nanoseconds in 64 bits): a server answers longer durations with 400.
_END = 2**63

_AMPERSAND = ord("&")
_FORM = b"application/x-www-form-urlencoded"
# With any other parameter, or several, it depends on the parser of a server whether there is a type at all.
_FORM_LIKE = re.compile(re.escape(_FORM) + rb"[ \t]*(?:;[ \t]*charset=[!#$%&'*+.^_`|~0-9a-z-]+[ \t]*)?", re.IGNORECASE)
_TYPE_SIZE, _ENCODING_SIZE, _CONNECTION_SIZE = len(b"content-type"), len(b"content-encoding"), len(b"connection")
_LONGEST_FORM = 10 * MIB - _LONGEST
"""Go's servers ignore a form of more than 10 MiB (``parsePostForm`` in ``net/http/request.go``); a timeout may be added to it."""


class TimeoutParameter(NamedTuple):
    """
    The ``timeout`` parameter of a query.

    :ivar in_body: it is in the body, else in the query string.
    :ivar start: the offset of its value in the body or query string.
    :ivar end: the offset of the end of its value.
    :ivar seconds: its duration, None when the value is invalid.
    """

    in_body: bool
    start: int
    end: int
    seconds: float | None


def find(info: RequestInfo) -> TimeoutParameter | None:
    """Return the effective ``timeout`` of a request: of the body, else of the query string (Go's Request.FormValue); or None."""
    # Not with "in", which takes twice the time: it first finds out, by an exception, that bytes are no number.
    in_body = info.body.find(_NAME) >= 0
    if not in_body and info.target.find(_NAME) < 0:
        return None
    found = _found(info.body, True) if in_body and is_form(info) else None
    return found or _found(info.target.partition(b"?")[2], False)


def _found(text: bytes, in_body: bool) -> TimeoutParameter | None:
    """Return the first ``timeout``, the effective one (Go's url.Values.Get), of a query string or form; or None."""
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
    Limit the duration of a query.

    :param found: the result of `find`.
    :param seconds: the maximum duration.
    :return: the target and body with an added or reduced ``timeout``. Both are unchanged if that is not needed, or not possible
        by a plain edit: the body is not a plain form, or the value is invalid, which the server reports itself.
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
    Return the ``Location`` of a redirect without the ``timeout`` that `limited` has added or reduced.

    Otherwise a client that follows the redirect would send a timeout that it never chose, and a browser would show it. The
    parameter is recognized byte for byte; a location without it is returned unchanged.

    :param target: the target that the client sent.
    :param found: the result of `find` for it.
    :param sent: the different target that `limited` made of it.
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
    """
    Return whether every server reads the body as a form: in a POST (Go ignores forms in GET and HEAD), and not compressed.

    Other requests would be mistaken for ones with the same parameters, and share their responses.
    """
    if info.method != b"POST" or len(info.body) > _LONGEST_FORM:
        return False
    kind = None
    # One loop instead of `headers.values` for each field: this is called several times for each query of Grafana.
    for name, value in info.headers:
        size = len(name)
        if size == _TYPE_SIZE and name.lower() == b"content-type":
            if kind is not None:
                return False
            kind = value
        elif size == _ENCODING_SIZE and name.lower() == b"content-encoding":
            return False
        elif size == _CONNECTION_SIZE and name.lower() == b"connection" and b"content-type" in value.lower():
            # The field is not passed on.
            return False
    return kind is not None and (kind == _FORM or _FORM_LIKE.fullmatch(kind.strip(b" \t")) is not None)


def _joined(text: bytes, value: bytes) -> bytes:
    """Return a form with the parameter added at its end."""
    return (b"%b&timeout=%b" if text and text[-1] != _AMPERSAND else b"%btimeout=%b") % (text, value)


def _replaced(text: bytes, found: TimeoutParameter, value: bytes) -> bytes:
    return text[: found.start] + value + text[found.end :]


def seconds_of(text: bytes) -> float | None:
    """Parse a duration like the API: a number of seconds, or a Prometheus duration; None if it is invalid or too long."""
    nanoseconds = _nanoseconds(text)
    return None if nanoseconds is None else nanoseconds / 1e9


def milliseconds_of(text: bytes) -> int | None:
    """Parse a duration as `seconds_of` does, cut to milliseconds like the step of a range query."""
    nanoseconds = _nanoseconds(text)
    return None if nanoseconds is None else nanoseconds // 10**6


def _nanoseconds(text: bytes) -> int | None:
    """
    Return a duration in nanoseconds, exactly as ``parseDuration`` in Prometheus' ``web/api/v1/api.go`` computes it.

    It multiplies a number of seconds as a float and cuts the result, and adds up the parts of a duration as integers.
    """
    if b"%" in text:
        text = unquote_to_bytes(text)
    if _NUMBER.fullmatch(text):
        found = int(float(text) * 1e9)
    elif _DURATION.fullmatch(text):
        found = sum(int(number) * _NANOSECONDS[unit] for number, unit in _PART.findall(text))
    else:
        return None
    return found if found < _END else None
