"""Makes the responses to range queries of which steps are cached, or are cached after the response."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

from twisted.web.http import datetimeToString

from mpp.cache.assembly import Assembly, ParsedSteps
from mpp.cache.cached_query import CachedQuery, Tail
from mpp.cache.recent import MOST_BODY, AssembledBody, BodyKey
from mpp.cache.texts.deflate import Deflated, compressed
from mpp.cache.view import View
from mpp.core.http import headers
from mpp.core.interfaces import IResponse
from mpp.core.model import Backend, Headers, RequestInfo
from mpp.core.scheduling.turns import Turns
from mpp.proxy.answer import Answer
from mpp.proxy.decisions.caching import lasting_fields
from mpp.proxy.exchanges.new_steps import NewSteps
from mpp.wire.whole_response import AT_ONCE, GZIP_FIELDS, GeneratedResponse, WholeResponse

MOST_SERVERS = 4
"""How many servers ``MPP.ServedBy`` names at most; it begins with the one that was asked last."""

# Bytes of a body that is handed over as a whole; the pieces of a larger one are made while the client reads it.
_WHOLE = 1024 * 1024


def response(
    turns: Turns, info: RequestInfo, fields: Headers, length: int, pieces: Iterator[bytes], *, gzip: bool
) -> WholeResponse:
    """
    Return a response with the given body; for a HEAD request, a response without the body but with its length.

    :param turns: divides the delivery of a large body.
    :param length: bytes of the body.
    :param gzip: the body is compressed.
    """
    if gzip:
        fields += GZIP_FIELDS
    if info.method == b"HEAD":
        return WholeResponse(200, b"OK", (*fields, (b"Content-Length", b"%d" % length)), (), 0)
    if length > _WHOLE and not gzip:
        return GeneratedResponse(b"OK", fields, pieces, length, turns)
    return WholeResponse(200, b"OK", fields, pieces, length, turns=turns)


def is_joinable(response: IResponse) -> bool:
    """Return whether a response can be joined with others: it is successful, complete and not compressed."""
    return how_answered(response) == ""


def how_answered(response: IResponse) -> str:
    """Return how a response differs from one that can be joined with others, for ``MPP.Cache``; empty if it does not."""
    if response.status != 200:
        return f"answered with status {response.status}"
    if not response.complete:
        return "too large to buffer"
    # No coding was asked for, but there are servers and proxies that do not care.
    return "answered with a content coding" if headers.values(response.headers, b"content-encoding") else ""


def known_body(view: View, tail: ParsedSteps | None, warning: str, *, gzip: bool) -> AssembledBody | None:
    """Return the body of a response of cached steps only, if it was assembled lately; for the parameters see `assembled`."""
    return view.recent.body(_body_key(view, tail, warning, gzip=gzip))


def _body_key(view: View, tail: ParsedSteps | None, warning: str, *, gzip: bool) -> BodyKey:
    # The key must not keep the newest steps alive.
    return view.version, view.first, view.last, gzip, (None if tail is None else weakref.ref(tail), warning)


async def assembled(
    turns: Turns, view: View, new: Sequence[ParsedSteps], tail: ParsedSteps | None, warning: str = "", *, gzip: bool
) -> tuple[int, Iterator[bytes]]:
    """
    Return the length and the pieces of a response that is made of cached steps and other steps.

    :param turns: divides the work among the turns of the reactor.
    :param view: the cached steps, and the range of the response.
    :param new: the steps that servers were asked for.
    :param tail: the newest steps, which are cached for a short time; None if they are not.
    :param warning: mpp's own warning for the client; empty for none.
    :param gzip: the pieces are compressed.
    :raise NotJoinable: the responses are not written as Prometheus writes them.
    """
    assembly = Assembly(view, new if tail is None else [*new, tail], warning, gzip=gzip)
    while not assembly.work():
        await turns.next()
    pieces: Iterator[bytes] = map(bytes, assembly.pieces())
    if not new and assembly.length <= MOST_BODY:
        body = AssembledBody(tuple(pieces), assembly.length)
        view.recent.put_body(_body_key(view, tail, warning, gzip=gzip), body)
        pieces = iter(body.pieces)
    elif gzip:
        # Their memory is shared by clients that wait for the same steps.
        pieces = iter(await _listed(turns, pieces))
    return assembly.length, pieces


async def _listed(turns: Turns, pieces: Iterator[bytes]) -> list[bytes]:
    """Return the pieces of a body; a turn of the reactor makes a part of a large one."""
    found = []
    size = 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size >= AT_ONCE:
            size = 0
            await turns.next()
    return found


async def compressed_body(turns: Turns, body: Sequence[bytes]) -> list[bytes]:
    """Return the pieces of a body compressed by gzip; a turn of the reactor compresses one piece."""
    deflated = Deflated()
    for piece in body:
        deflated.put(compressed(piece))
        if len(body) > 1:
            await turns.next()
    return [bytes(piece) for piece in deflated.gzip()]


def newest_server(view: View) -> Backend | None:
    """Return the server that has answered the newest cached steps; None if there are none."""
    source: Any = view.sources[0] if view.sources else None
    return None if source is None else source.backend


def servers(view: View, tail: Tail | None, new: Sequence[NewSteps]) -> list[Backend]:
    """Return the servers that have answered the steps of a response: of the new steps first, then of the cached ones."""
    sources: list[Any] = [*(() if tail is None else reversed(tail.sources)), *view.sources]
    asked = [backend for each in reversed(new) for backend in (each.answer.backend, *reversed(each.answer.also))]
    return list(dict.fromkeys([*asked, *(source.backend for source in sources)]))[:MOST_SERVERS]


def answer(response: IResponse, view: View, tail: Tail | None, new: Sequence[NewSteps], started: int, note: str) -> Answer:
    """
    Return the `Answer` with a response that is made of cached steps and new ones.

    :param started: how many attempts were made.
    :param note: the value of ``MPP.Cache``.
    """
    backend, *also = servers(view, tail, new)
    attempt = new[-1].answer.attempt if new else None
    reasons = tuple(why for each in new for why in each.answer.reasons)
    return Answer(response, backend, attempt, started, reasons, also=tuple(also), keeps_server=True, cache=note)


def fields(cached: CachedQuery, new: Sequence[NewSteps], now: float) -> Headers:
    """
    Return the header fields of a response that is made of cached steps and new ones: the ones of the newest response of a server.

    :param now: seconds since the epoch.
    """
    newest = lasting_fields(max(new, key=attrgetter("sent_at")).answer.response.headers) if new else cached.fields
    return (*newest, (b"Date", _date(int(now))))


@functools.lru_cache(1)
def _date(second: int) -> bytes:
    """Return the value of ``Date`` for a second since the epoch."""
    found: bytes = datetimeToString(second)
    return found
