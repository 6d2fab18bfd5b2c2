"""
The warning about missing data in a response that has cached steps.

The warnings of mpp are not cached with the steps, because they name times of a whole range, and more gaps may be known by now.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from mpp.cache.cached_query import Tail
from mpp.cache.view import View
from mpp.core.model import Backend
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import rerouting
from mpp.proxy.decisions.caching import CacheableRequest
from mpp.proxy.exchanges.new_steps import NewSteps, answered_by


def missing_data(
    context: ForwardContext, request: CacheableRequest, view: View, tail: Tail | None, new: Sequence[NewSteps]
) -> Generator[None, None, str]:
    """
    Return a line for the client about data that is missing in a response; empty if no data is missing. Yields before each part
    of the work; if the same was asked lately, it ends at once.

    :param view: the cached steps.
    :param tail: the newest steps, which are cached for a short time.
    :param new: the steps that servers were asked for.
    """
    coverage = context.selections.coverage
    if coverage.is_whole:
        return ""
    candidates = rerouting.in_service(context.selections.current)
    ranges = _answered_ranges(context, request, view, tail, new)
    return (yield from context.planner.warning(request.data, coverage, ranges, candidates))


def count_incomplete(context: ForwardContext, warning: str, new: Sequence[NewSteps]) -> None:
    """Count a response with a warning as incomplete, unless the request was counted when servers were asked for the new steps."""
    if warning and not any(text.startswith("mpp: ") for each in new if each.matrix for text in each.matrix.warnings):
        context.metrics.incomplete_requests.inc()


def _answered_ranges(
    context: ForwardContext, request: CacheableRequest, view: View, tail: Tail | None, new: Sequence[NewSteps]
) -> list[tuple[Backend, int, int]]:
    """Return the servers that have answered steps, each with its first and last step by number in the range."""
    found: list[tuple[Any, int, int]] = [(each.source, each.first, each.last) for each in view.extents]
    if tail is not None and len(tail.sources) == 1:
        found.append((tail.sources[0], tail.steps.first, tail.steps.last))
    for each in new:
        found += answered_by(context, request, each)
    inside = [(source, max(first, request.first), min(last, request.last)) for source, first, last in found]
    return [(source.backend, first - request.first, last - request.first) for source, first, last in inside if first <= last]
