"""
Adds to the explanation of a request how the range cache would be used for it. Changes nothing in the cache.
"""

from __future__ import annotations

from attrs import evolve

from mpp.cache.view import View
from mpp.core.model import RequestInfo
from mpp.core.text.durations import duration
from mpp.core.text.humanize import noun, quantity
from mpp.coverage.freshness import freshness
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import caching, identical
from mpp.proxy.decisions.caching import CacheableRequest
from mpp.proxy.decisions.explain import Explanation
from mpp.proxy.exchanges import cached_response


def with_cache(explanation: Explanation, context: ForwardContext, info: RequestInfo) -> Explanation:
    """Return an explanation whose first reasons are about the cache, if there is a cache and the request is forwarded."""
    if context.cache is None or explanation.outcome != "forwarded":
        return explanation
    return evolve(explanation, reasons=(*_sentences(context, info), *explanation.reasons))


def _sentences(context: ForwardContext, info: RequestInfo) -> tuple[str, ...]:
    key = identical.key_of(info, context.counted)
    found = "its response is never shared" if key is None else caching.cacheable(info, key, context.wall(), context.planner.reads)
    found = caching.unless_forbidden(found, info.headers)
    if isinstance(found, str):
        return (f"The cache is not used: {found}.",)
    age = freshness(context.settings.cache_freshness, context.selections.current.observations).seconds
    cached = _cached(context, found, may_read=key is not None and not key.accepted.new)
    return cached, f"A step is cached if it reads no sample that is newer than {duration(age)}."


def _cached(context: ForwardContext, request: CacheableRequest, *, may_read: bool) -> str:
    """Return a sentence about the steps of a request that are cached; ``may_read``: the client accepts them."""
    cache = context.cache
    assert cache is not None
    cached, count = cache.peek(request.key), request.last - request.first + 1
    steps = quantity(count, "step")
    none = "Its 1 step is not cached" if count == 1 else f"None of its {steps} is cached"
    if cached is None:
        return f"{none}: {caching.why_new(request.key, cache.alike(request.key))}."
    view = cached.pages.view(request.first, request.last)
    from_cache = sum(last - first + 1 for first, last in view.cached)
    are = noun(from_cache, "is", "are")
    if not from_cache:
        return f"{none}, only other steps of the same query."
    if not may_read:
        return f"{from_cache:,} of its {steps} {are} cached, but the client wants none of them (no-cache)."
    others = "no server is asked" if from_cache == count else f"servers are asked for the others only{_newest(context, view)}"
    return f"{from_cache:,} of its {steps} {are} cached, and {others}."


def _newest(context: ForwardContext, view: View) -> str:
    """Return which server is asked before the client's own one, as a part of a sentence; empty if there is none."""
    newest, selection = cached_response.newest_server(view), context.selections.current
    if newest is None or not selection.is_in_service(newest) or selection.lacks(newest):
        return ""
    return f": first {newest.name}, which has answered the newest of these"
