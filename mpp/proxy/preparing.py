"""Decides which requests wait in the `PlanQueue`, and what is to be done before they are planned."""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.defer import Deferred

from mpp.core.model import Backend, RequestInfo
from mpp.coverage.planning.kept_lacks import MANY_GAPS
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import rerouting
from mpp.proxy.plan_queue import Work


def turn_to_plan(context: ForwardContext, info: RequestInfo, is_wanted: Callable[[], bool]) -> Deferred[None] | None:
    """
    Let a request wait until it may be planned, if that takes long.

    :param is_wanted: returns whether a client still waits.
    :return: fires when the plan is to be made, in the same turn of the reactor: it is prepared, unless the gaps change all the
        time or no client waits any longer. None if the plan can be made now, since no lack matters to the request.
    """
    if _work(context, info) is None:
        return None

    def work_left() -> Work | None:
        work = _work(context, info) if is_wanted() else None
        # The first step finds out whether anything is left to do.
        return None if work is None or next(work, _END) is _END else work

    return context.plan_queue.wait(work_left)


def _work(context: ForwardContext, info: RequestInfo) -> Work | None:
    """Return the work of preparing the plan of a request; None if no lack matters to it, or the servers have few gaps."""
    coverage = context.selections.coverage
    if coverage.gaps < MANY_GAPS:
        return None
    selection = context.selections.current
    compared: list[Collection[Backend]] = [rerouting.in_service(selection)]
    if context.cache is not None:
        # The validity of cached steps depends on all servers.
        compared.append({*selection.ranked, *coverage.missing})
    return rerouting.preparation(context.planner, coverage, compared, info, context.wall())


_END = object()
