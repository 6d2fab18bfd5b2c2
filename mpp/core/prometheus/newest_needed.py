"""
The time up to which a request needs data, by its parameters. Pure; reads no PromQL.

Source: Prometheus documentation, "HTTP API": ``time`` of instant queries, ``end`` of the others, as Unix time or RFC 3339.
"""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import unquote_to_bytes

from mpp.core.model import RequestInfo
from mpp.core.prometheus import query_timeout as timeouts

_TIME = re.compile(rb"(?:^|&)time=([^&]{0,100})")
_END = re.compile(rb"(?:^|&)end=([^&]{0,100})")
_API = b"/api/v1/"
_UNIX = re.compile(r"[0-9]{1,12}(?:\.[0-9]{0,9})?")


def newest_needed(info: RequestInfo) -> float | None:
    """
    Return the latest time for which a request needs data, in seconds since the epoch; None if that is now, or not known.

    A query may need later data because of an offset or ``@``; PromQL is not parsed here.
    """
    path, _, query = info.target.partition(b"?")
    if _API not in path:
        return None
    pattern = _TIME if path.endswith(b"/query") else _END
    # The servers prefer the form (``FormValue`` of Go's ``net/http``).
    found = pattern.search(info.body) if info.body and timeouts.is_form(info) else None
    found = found or pattern.search(query)
    return None if found is None else _moment(unquote_to_bytes(found[1].replace(b"+", b" ")))


def _moment(written: bytes) -> float | None:
    text = written.decode("ascii", "replace")
    if _UNIX.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None
