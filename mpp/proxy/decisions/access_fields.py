"""
The fields of the access log that describe a request: its client, dashboard and query. Pure.

Most values come from the client, and their length is limited here; `mpp.app.logs.format` escapes them. Of credentials, only the
user's name is logged: the one that mpp has verified, else the one that the client sends to the servers.
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from mpp.core.model import RequestInfo

COMPONENT = "mpp.access"
"""The component of the access log's lines, which are written at any log level."""

# In characters. The beginning of a query identifies it; genuine names and ids are short.
MAX_QUERY = 200
MAX_NAME = 100
MAX_REASON = 500
# The bytes of a query string or form that are searched: a long query with every byte percent-encoded, and more than enough
# parameters before it.
_SEARCHED = 16 * 1024

# The first match counts. Requests for series, labels and federation have match[], in one of these spellings.
_QUERY = re.compile(rb"(?:^|&)query=([^&]*)").search
_MATCH = re.compile(rb"(?:^|&)match(?:\[\]|%5[Bb]%5[Dd])=([^&]*)").search
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?").fullmatch

_FIELDS = {
    b"authorization": "user",
    b"x-dashboard-uid": "dashboard",
    b"x-panel-id": "panel",
    b"x-grafana-user": "grafana_user",
    b"traceparent": "trace_id",
}
_LENGTHS = frozenset(map(len, _FIELDS))


def describe(info: RequestInfo, client: str) -> dict[str, str]:
    """
    Return the fields that describe a request. A field that the request does not have is empty.

    :param client: the client's address.
    """
    path, _, parameters = info.target.partition(b"?")
    fields = {
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
        key = _FIELDS.get(name.lower()) if len(name) in _LENGTHS else None
        if key == "user":
            fields[key] = fields[key] or user_of(value)
        elif key == "trace_id":
            fields[key] = trace_of(value)
        elif key is not None:
            fields[key] = _text(value, MAX_NAME)
    return fields


def query_of(parameters: bytes, body: bytes) -> str:
    """Return the decoded beginning of a request's query, from the form if it has one, else from the query string."""
    for text in (body[:_SEARCHED], parameters[:_SEARCHED]):
        found = _QUERY(text) or _MATCH(text)
        if found is not None:
            return _text(unquote_to_bytes(found[1].replace(b"+", b" ")), MAX_QUERY)
    return ""


def user_of(authorization: bytes) -> str:
    """Return the user's name of HTTP basic authentication (RFC 7617); empty for other schemes and malformed credentials."""
    scheme, _, credentials = authorization.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        name, colon, _ = base64.b64decode(credentials.strip(), validate=True).partition(b":")
    except binascii.Error:
        return ""
    return _text(name, MAX_NAME) if colon else ""


def trace_of(traceparent: bytes) -> str:
    """Return the trace id of a ``traceparent`` (W3C Trace Context); empty if the field is malformed."""
    found = _TRACE(traceparent.strip())
    return "" if found is None else found[1].decode("ascii")


def reason_of(reasons: tuple[str, ...]) -> str:
    """Join the reasons why attempts failed and why the request ended; reasons that the last one contains are left out."""
    if not any(reasons):
        return ""
    *earlier, end = reasons
    text = "; ".join(why for why in (*(why for why in earlier if why not in end), end) if why)
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 3] + "..."


def _text(value: bytes, most: int) -> str:
    # A character has at most four bytes.
    text = value[: 4 * most].decode("utf-8", "backslashreplace")
    return text if len(text) <= most else text[: most - 3] + "..."
