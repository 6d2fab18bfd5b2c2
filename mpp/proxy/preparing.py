"""Decides which requests wait in the `PlanQueue`, and what is to be done before they are planned."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from twisted.internet.defer import Deferred

from mpp.core import generators
from mpp.core.model import RequestInfo
from mpp.coverage.planning.kept_lacks import MANY_GAPS
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import rerouting
from mpp.proxy.plan_queue import Work

R = TypeVar("R")


def has_many_gaps(context: ForwardContext) -> bool:
    """Return whether the servers have so many gaps that work that looks at them is divided among turns of the reactor."""
    return context.selections.coverage.gaps >= MANY_GAPS


def turn_to_plan(context: ForwardContext, info: RequestInfo) -> Deferred[None] | None:
    """
    Let a request wait until it may be planned, if that takes long.

    :return: fires when the plan is to be made, in the same turn of the reactor: it is prepared, unless the gaps change all the
        time. None if the plan can be made now: there are few gaps, no lack matters to the request, or no server is in service.
    """
    # A call of `has_many_gaps` takes a measurable part of the work for a small request.
    if context.selections.coverage.gaps < MANY_GAPS or (request := rerouting.data_request(info, context.wall())) is None:
        return None

    def work() -> Work | None:
        servers = rerouting.in_service(context.selections.current)
        # If there is none, one of the others is asked as the last resort, without a plan.
        return context.planner.preparation(request, context.selections.coverage, (servers,)) if servers else None

    if work() is None:
        return None

    def work_left() -> Work | None:
        left = work() if has_many_gaps(context) else None
        # The first step finds out whether anything is left to do.
        return None if left is None or next(left, _END) is _END else left

    return context.plan_queue.wait(work_left)


async def worked_out(context: ForwardContext, work: Generator[None, None, R]) -> R:
    """Run a calculation that looks at the gaps of the servers: in slices if they have many of them, else at once."""
    return await context.plan_queue.result_of(work) if has_many_gaps(context) else generators.result_of(work)


def worked_out_if_short(context: ForwardContext, work: Generator[None, None, R]) -> R | None:
    """Return the result of a calculation like that of `worked_out`; None if there are many gaps and it has several steps."""
    return generators.result_if_short(work) if has_many_gaps(context) else generators.result_of(work)


_END = object()
