"""
What the access log tells of a request: who asks, from which dashboard, and what. Pure.

Nearly all of it is the client's word and bounded here; that it cannot break a line is seen to by `mpp.app.logs.format`. Of
credentials only the user's name is ever told: the one that mpp has verified, else the one that the client gives the servers.
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from mpp.core.model import RequestInfo

COMPONENT = "mpp.access"
"""The component of the access log's lines, which are written whatever the level."""

# In characters. A query is recognized by its beginning; names and ids are short, unless somebody plays.
MAX_QUERY = 200
MAX_NAME = 100
MAX_REASON = 500
# How much of a query string or form is looked at, in bytes: what a query may have when every byte is percent-encoded, and
# more than enough parameters before it.
_LOOKED_AT = 16 * 1024

# The first one counts. Series, labels and federation are asked for by match[], in one of its spellings.
_QUERY = re.compile(rb"(?:^|&)query=([^&]*)").search
_MATCH = re.compile(rb"(?:^|&)match(?:\[\]|%5[Bb]%5[Dd])=([^&]*)").search
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?").fullmatch

_TOLD = {
    b"authorization": "user",
    b"x-dashboard-uid": "dashboard",
    b"x-panel-id": "panel",
    b"x-grafana-user": "grafana_user",
    b"traceparent": "trace_id",
}
_LENGTHS = frozenset(map(len, _TOLD))


def describe(info: RequestInfo, client: str) -> dict[str, str]:
    """
    Give what is told of a request; what it does not say is empty.

    :param client: the client's address.
    """
    path, _, parameters = info.target.partition(b"?")
    told = {
        "client": client,
        "user": _text(info.user, MAX_NAME),
        "dashboard": "",
        "panel": "",
        "grafana_user": "",
        "method": _text(info.method, MAX_NAME),
        "path": _text(path, MAX_QUERY),
        "query": query_of(parameters, info.body),
        "trace_id": "",
    }
    for name, value in info.headers:
        # Most names have another length: comparing that first saves the lower-case copies.
        key = _TOLD.get(name.lower()) if len(name) in _LENGTHS else None
        if key == "user":
            told[key] = told[key] or user_of(value)
        elif key == "trace_id":
            told[key] = trace_of(value)
        elif key is not None:
            told[key] = _text(value, MAX_NAME)
    return told


def query_of(parameters: bytes, body: bytes) -> str:
    """Give the beginning of the query that a request is for, decoded: a form's before the query string's, as Prometheus does."""
    for text in (body[:_LOOKED_AT], parameters[:_LOOKED_AT]):
        found = _QUERY(text) or _MATCH(text)
        if found is not None:
            return _text(unquote_to_bytes(found[1].replace(b"+", b" ")), MAX_QUERY)
    return ""


def user_of(authorization: bytes) -> str:
    """Give the user's name of HTTP basic authentication (RFC 7617); nothing of anything else, nor of what is no such pair."""
    scheme, _, credentials = authorization.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        name, colon, _ = base64.b64decode(credentials.strip(), validate=True).partition(b":")
    except binascii.Error:
        return ""
    return _text(name, MAX_NAME) if colon else ""


def trace_of(traceparent: bytes) -> str:
    """Give the trace id of a ``traceparent`` (W3C Trace Context); empty when it is none."""
    found = _TRACE(traceparent.strip())
    return "" if found is None else found[1].decode("ascii")


def reason_of(reasons: tuple[str, ...]) -> str:
    """Give in one text why a request took more than one attempt, or was not answered; what the end says again is left out."""
    if not any(reasons):
        return ""
    *earlier, end = reasons
    text = "; ".join(why for why in (*(why for why in earlier if why not in end), end) if why)
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 3] + "..."


def _text(value: bytes, most: int) -> str:
    # So many characters are at most four times as many bytes.
    text = value[: 4 * most].decode("utf-8", "backslashreplace")
    return text if len(text) <= most else text[: most - 3] + "..."
