"""
Chooses the server of a request's first attempt, and moves a request that waits for a slot to a server with a free one.

`mpp.proxy.decisions.retry_policy` and `mpp.proxy.decisions.placement` decide where it goes. No byte of a waiting request has been
sent, so moving it is no retry and takes no token out of the retry budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mpp.proxy.decisions import placement
from mpp.proxy.decisions import retry_policy as policy

if TYPE_CHECKING:
    from mpp.core.model import Backend, Selection
    from mpp.proxy.attempt import Attempt
    from mpp.proxy.context import ForwardContext
    from mpp.proxy.decisions.request_deadline import RequestDeadline
    from mpp.proxy.retry_state import RetryState


class MovableRequest(Protocol):
    """
    A request whose attempts can be moved: `mpp.proxy.attempts.Attempts`.

    :ivar reasons: why attempts failed, were moved or were hedged, one line each.
    :ivar by_affinity: the name of the affinity that chose the server of the first attempt, or empty.
    """

    reasons: tuple[str, ...]
    by_affinity: str

    @property
    def running(self) -> list[Attempt]:
        """The attempts under way, in order of their start."""

    @property
    def retry_state(self) -> RetryState | None:
        """The failures of the request so far; None while there is none."""


def first_choice(context: ForwardContext, deadline: RequestDeadline, selection: Selection) -> tuple[Backend | None, str]:
    """Return the server for the first attempt, None if there is none, and the name of the affinity that chose it, or empty."""
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
    return backend, by_affinity


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
