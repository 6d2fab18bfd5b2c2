"""
Chooses the server of a request's first attempt, and the server that a request moves to when it waits for a slot.

It does so by the rules in `mpp.proxy.decisions.retry_policy` and `mpp.proxy.decisions.placement`. No byte of a waiting request
has been sent, so moving it is no retry and takes no token out of the retry budget.
"""

from __future__ import annotations

import random
from collections.abc import Collection

from mpp.core.model import Backend, RequestInfo, Selection
from mpp.coverage.planning.request_plan import RequestPlan
from mpp.proxy.attempt import Attempt
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import placement, rerouting
from mpp.proxy.decisions import retry_policy as policy
from mpp.proxy.decisions.request_deadline import RequestDeadline
from mpp.proxy.retry_state import RetryState

FirstChoice = tuple[Backend | None, str, RequestPlan | None]
"""
The server for the first attempt, None if there is none; the name of the affinity that chose it, or empty; and the plan of which
servers answer the request, if some servers lack data that it reads: None if no lack matters to it.
"""


def first_choice(
    context: ForwardContext, deadline: RequestDeadline, selection: Selection, wanted: Backend | None = None
) -> FirstChoice:
    """
    Return the server for the first attempt.

    :param wanted: a server that is chosen if it is in service and lacks no newest data; None: affinity or strategy choose one.
    """
    if selection.past is not None:
        selection = placement.for_time(selection, deadline.info)
    preferred: Backend | None
    if wanted is not None and selection.is_in_service(wanted) and not selection.lacks(wanted):
        preferred, by_affinity = wanted, ""
    elif deadline.sticky:
        preferred, by_affinity = placement.sticky_choice(deadline, selection, context.sticky_address)
    else:
        preferred, by_affinity = context.affinity.preferred(deadline.info, selection, deadline.began)
    backend = policy.choose(selection, preferred, (), context.rng)
    if context.unreadable.until:
        backend = policy.spare(selection, backend, context.unreadable.backends(deadline.info), context.rng)
        by_affinity = by_affinity if backend == preferred else ""
    if backend is not None and not context.selections.coverage.is_whole:
        return _by_coverage(context, deadline, selection, backend, by_affinity)
    return backend, by_affinity, None


def _by_coverage(
    context: ForwardContext, deadline: RequestDeadline, selection: Selection, own: Backend, by_affinity: str
) -> FirstChoice:
    """Return the server of the whole request, or of its first steps, by what the servers lack: its own unless that lacks more."""
    plan = planned(context, deadline.info, selection, own)
    if plan is None:
        return own, by_affinity, None
    if plan.plan.warning:
        context.metrics.incomplete_requests.inc()
    if plan.backend == own:
        return own, by_affinity, plan
    if len(plan.plan.parts) == 1:
        context.metrics.rerouted_requests.inc(own.name)
    return plan.backend, "", plan


def planned(context: ForwardContext, info: RequestInfo, selection: Selection, own: Backend) -> RequestPlan | None:
    """
    Return which servers answer a request, if some servers lack data that it reads; None if no lack matters to the request.

    :param own: the server that would answer the request if no server lacked anything.
    """
    coverage, unreadable = context.selections.coverage, context.unreadable
    if coverage.is_whole:
        return None
    unfit = unreadable.backends(info) if unreadable.until else ()
    # A server may have died of a request that is suspect: such a one is not sent to several servers at once.
    splice = not context.selections.suspects.until and info.method in (b"GET", b"POST")
    wall = context.wall()
    return rerouting.request_plan(context.planner, coverage, selection, info, own, wall, excluded=unfit, splice=splice)


def next_choice(
    plan: RequestPlan | None, selection: Selection, tried: Collection[Backend], rng: random.Random, *, renewed: bool = False
) -> Backend | None:
    """
    Return the server for a further attempt, None when all have been tried.

    :param plan: see `FirstChoice`; ignored if all servers lack the same of the request's data.
    :param renewed: whether the selection was made after all servers had failed, see `mpp.proxy.decisions.retry_policy.choose`.
    """
    best = rerouting.next_best(plan, selection, tried) if plan is not None and plan.differs else None
    return policy.choose(selection, best, tried, rng, renewed=renewed)


def with_warning(context: ForwardContext, plan: RequestPlan | None, backend: Backend) -> RequestPlan | None:
    """
    Return the plan by which another server answers a request, with a warning about the data that this server lacks; None if the
    client needs no warning.
    """
    moved = None if plan is None else plan.moved(backend, rerouting.in_service(context.selections.current))
    if moved is None or not moved.plan.warning:
        return None
    context.metrics.incomplete_requests.inc()
    return moved


def new_backend(
    attempt: Attempt, running: list[Attempt], retry_state: RetryState | None, plan: RequestPlan | None
) -> Backend | None:
    """
    Return the backend to which an attempt moves that waits for a slot; None if it stays.

    A ``sticky`` request (federation or remote read) stays as long as its server is in service.
    """
    context, deadline = attempt.context, attempt.deadline
    selection = context.selections.current
    if deadline.sticky and selection.is_in_service(attempt.backend):
        return None
    excluded = [] if retry_state is None else list(retry_state.tried)
    excluded += (each.backend for each in running)
    if context.unreadable.until:
        excluded += context.unreadable.backends(deadline.info)
    if plan is not None:
        excluded += (each for each in selection.ranked if not plan.lacks_no_more(each, attempt.backend))

    def has_room(backend: Backend) -> bool:
        if retry_state is not None and not retry_state.may_send_to(backend):
            return False
        return context.upstreams.has_room(backend, query_slots=deadline.query_slots(selection, backend))

    return placement.elsewhere(selection, attempt.backend, excluded, has_room, query=deadline.query)
