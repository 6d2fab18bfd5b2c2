"""
Chooses the server of a request's first attempt, and moves a request that waits for a slot to a server with a free one.

`mpp.proxy.decisions.retry_policy` and `mpp.proxy.decisions.placement` decide where it goes. No byte of a waiting request has been
sent, so moving it is no retry and takes no token out of the retry budget.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import NamedTuple, Protocol

from mpp.core.model import Backend, Selection
from mpp.coverage.planning.planner import RequestPlan
from mpp.proxy.attempt import Attempt
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import placement, rerouting
from mpp.proxy.decisions import retry_policy as policy
from mpp.proxy.decisions.request_deadline import RequestDeadline
from mpp.proxy.retry_state import RetryState


class MovableRequest(Protocol):
    """
    A request whose attempts can be moved: `mpp.proxy.attempts.Attempts`.

    :ivar reasons: why attempts failed, were moved or were hedged, one line each.
    :ivar by_affinity: the name of the affinity that chose the server of the first attempt, or empty.
    :ivar plan: which server should answer it by what the servers lack; None if that does not matter.
    """

    reasons: tuple[str, ...]
    by_affinity: str
    plan: RequestPlan | None

    @property
    def running(self) -> list[Attempt]:
        """The attempts under way, in order of their start."""

    @property
    def retry_state(self) -> RetryState | None:
        """The failures of the request so far; None while there is none."""


class FirstChoice(NamedTuple):
    """
    The server for the first attempt.

    :ivar backend: None if there is no server.
    :ivar affinity: the name of the affinity that chose it, or empty.
    :ivar plan: see `MovableRequest`.
    """

    backend: Backend | None
    affinity: str = ""
    plan: RequestPlan | None = None


def first_choice(context: ForwardContext, deadline: RequestDeadline, selection: Selection) -> FirstChoice:
    """Return the server for the first attempt."""
    if selection.past is not None:
        selection = placement.for_time(selection, deadline.info)
    if deadline.sticky:
        preferred, by_affinity = placement.sticky_choice(deadline, selection, context.sticky_address)
    else:
        preferred, by_affinity = context.affinity.preferred(deadline.info, selection, deadline.began)
    backend = policy.choose(selection, preferred, (), context.rng)
    if context.unreadable.until:
        backend = policy.spare(selection, backend, context.unreadable.backends(deadline.info), context.rng)
        by_affinity = by_affinity if backend == preferred else ""
    if backend is not None and not deadline.sticky and context.selections.coverage:
        return _by_coverage(context, deadline, selection, backend, by_affinity)
    return FirstChoice(backend, by_affinity)


def _by_coverage(
    context: ForwardContext, deadline: RequestDeadline, selection: Selection, own: Backend, by_affinity: str
) -> FirstChoice:
    """Return the server that lacks least of what the request reads: its own server unless that lacks more."""
    info, unreadable = deadline.info, context.unreadable
    unfit = unreadable.backends(info) if unreadable.until else ()
    plan = rerouting.request_plan(
        context.planner, context.selections.coverage, selection, info, own, context.wall(), excluded=unfit
    )
    if plan is None:
        return FirstChoice(own, by_affinity)
    if plan.plan.warning:
        context.metrics.incomplete()
    if plan.backend == own:
        return FirstChoice(own, by_affinity, plan)
    context.metrics.rerouted(own.name)
    return FirstChoice(plan.backend, "", plan)


def next_choice(
    plan: RequestPlan | None, selection: Selection, tried: Collection[Backend], rng: random.Random, *, renewed: bool = False
) -> Backend | None:
    """
    Return the server for a further attempt, None when all have been tried.

    :param plan: see `MovableRequest`.
    :param renewed: see `mpp.proxy.decisions.retry_policy.choose`.
    """
    best = None if plan is None else rerouting.next_best(plan, selection, tried)
    return policy.choose(selection, best, tried, rng, renewed=renewed)


def move(request: MovableRequest, attempt: Attempt, context: ForwardContext, deadline: RequestDeadline) -> bool:
    """
    Move an attempt that is ``queued`` to a server with a free slot; return whether there is one.

    A ``sticky`` request is not moved while its server is in service.
    """
    selection, retry_state = context.selections.current, request.retry_state
    if deadline.sticky and selection.is_in_service(attempt.backend):
        return False
    excluded = [] if retry_state is None else list(retry_state.tried)
    excluded += (each.backend for each in request.running)
    if context.unreadable.until:
        excluded += context.unreadable.backends(deadline.info)
    plan = request.plan
    if plan is not None:
        excluded += (each for each in selection.ranked if not plan.lacks_no_more(each, attempt.backend))

    def has_room(backend: Backend) -> bool:
        if retry_state is not None and not retry_state.may_send_to(backend, context, deadline):
            return False
        return context.upstreams.has_room(backend, query_slots=deadline.query_slots(selection, backend))

    backend = placement.elsewhere(selection, attempt.backend, excluded, has_room, query=deadline.query)
    if backend is None:
        return False
    context.metrics.moved(attempt.backend.name)
    request.reasons += (f"{attempt.backend.name}: no free slot",)
    request.by_affinity = ""
    attempt.move(backend, context, deadline)
    return True
