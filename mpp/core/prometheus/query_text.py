"""The text of a read without the times that it is about, by which a read is recognized when it is repeated. Pure."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from mpp.core.model import RequestInfo
from mpp.core.prometheus import paths
from mpp.core.prometheus import query_timeout as timeouts

# The parameters in which a refreshed panel differs: times and time limits.
_TIMES = frozenset((b"start", b"end", b"time", b"step", b"timeout", b"_"))


class QueryText(NamedTuple):
    """
    The text of a read.

    The order of the parameters, their encoding, and whether they are in the query string or in a form make no difference.

    :ivar path: the normalized path.
    :ivar parameters: the names and values, sorted and percent-decoded, without the parameters that give times.
    :ivar body: a body that is no form (remote read), as it is; empty for a form.
    """

    path: bytes
    parameters: tuple[tuple[bytes, bytes], ...]
    body: bytes


def query_text(info: RequestInfo) -> QueryText:
    """Return the text of a read. The text is bytes, because a request may contain bytes that are no valid characters."""
    path, _, query = info.target.partition(b"?")
    form = timeouts.is_form(info)
    parts = query.split(b"&") + (info.body.split(b"&") if form else [])
    named = [_pair(part) for part in parts if part]
    kept = tuple(sorted(part for part in named if part[0] not in _TIMES))
    return QueryText(paths.normalized(path), kept, b"" if form else info.body)


def _pair(text: bytes) -> tuple[bytes, bytes]:
    name, _, value = text.replace(b"+", b" ").partition(b"=")
    return unquote_to_bytes(name), unquote_to_bytes(value)
