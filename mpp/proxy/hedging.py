"""
Handles an attempt that takes long: has its server checked, and hedges the request with another attempt if the server is stuck.

`mpp.proxy.liveness` checks servers, and `mpp.proxy.attempts` handles the end of attempts.

# Note [Hedging]

A request whose latest attempt is stuck is sent to another server: to one that it has not tried, or to one that failed it before
and is healthy again. The request waits until its deadline, so it can still use a server that was restarting when it was first
tried. The number of attempts is limited:

- Only one attempt at a time runs beside the stuck ones: the next one is made when the latest one is stuck, too, or has failed.
- A server that has returned to service since it failed the request is tried once for each return, regardless of ``--retries``;
  the returns of a flapping server are seconds apart (Note [Flapping] in `mpp.selection.outliers.ejection`).
- A server that failed the request and stayed in service is tried again when a probe has found it viable since, within
  ``--retries``.
- Each attempt takes a token out of the retry budget.
- A request that two servers may have died of is not sent again, and one that a server may have died of is not sent to the last
  healthy server (Note [Query of death] in `mpp.selection.query_of_death`).
"""

from __future__ import annotations

from typing import Protocol

from txaio import tx

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.model import Backend
from mpp.coverage.planning.request_plan import RequestPlan
from mpp.proxy import placing
from mpp.proxy.attempt import Attempt
from mpp.proxy.context import ForwardContext
from mpp.proxy.liveness import Liveness
from mpp.proxy.retry_state import RetryState, take_retry_token
from mpp.proxy.ticker import ROUNDING

_log = tx.make_logger()


class HedgedRequest(Protocol):
    """A request whose attempts can be moved and hedged: `mpp.proxy.attempts.Attempts`, which describes the attributes."""

    reasons: tuple[str, ...]
    by_affinity: str
    running: list[Attempt]
    started: int
    retry_state: RetryState | None
    plan: RequestPlan | None

    def go_on(self, backend: Backend, /) -> None:
        """Make a further attempt on a backend."""

    def failed(self, attempt: Attempt, error: UpstreamError, /) -> None:
        """Handle an attempt that failed without a response."""


def check_progress(request: HedgedRequest, attempt: Attempt) -> None:
    """Count one tick of `mpp.proxy.ticker` for an attempt; move, hedge or cancel the attempt if it takes too long."""
    if attempt not in request.running:
        # A step that followed from another attempt in this tick has ended this one.
        return
    idle, now, settings = attempt.tick(), attempt.context.clock.seconds(), attempt.context.settings
    if attempt.received and not attempt.idle:
        attempt.alive_at = now
    if attempt.received and attempt.idle > settings.stall_timeout - ROUNDING:
        attempt.cancel()
        request.failed(attempt, stalled(settings.stall_timeout))
    elif idle:
        _check_idle(request, attempt, idle)
    hedge_after = 0.0 if attempt.deadline.sticky else settings.hedge_after
    if 0 < hedge_after <= now - attempt.sent_at and request.started == 1:
        _hedge(request, attempt, "slow")


def _check_idle(request: HedgedRequest, attempt: Attempt, idle: float) -> None:
    """Move an attempt that waits for a slot; hedge an attempt whose server is stuck."""
    if (attempt.queued and _move(request, attempt)) or not attempt.deadline.read:
        return
    context = attempt.context
    liveness = context.liveness.liveness(attempt.backend, idle, context.settings.suspect_after)
    if liveness is Liveness.STUCK:
        _hedge(request, attempt, "stuck")
    elif liveness is Liveness.ALIVE:
        attempt.trust()
        attempt.alive_at = context.clock.seconds()


def _move(request: HedgedRequest, attempt: Attempt) -> bool:
    """Move an attempt to a backend with a free slot; return whether there is one."""
    backend = placing.new_backend(attempt, request.running, request.retry_state, request.plan)
    if backend is None:
        return False
    attempt.context.metrics.moved_requests.inc(attempt.backend.name)
    request.reasons += (f"{attempt.backend.name}: no free slot",)
    request.by_affinity = ""
    attempt.move(backend)
    return True


def _hedge(request: HedgedRequest, attempt: Attempt, reason: str) -> None:
    """Make another attempt beside one that takes too long, if it is the latest one and there is a usable backend."""
    context, deadline = attempt.context, attempt.deadline
    if not deadline.read or not request.running or attempt is not request.running[-1]:
        return
    backend, plan = _candidate(request, context), request.plan
    if backend is not None and plan is not None and reason == "slow" and not plan.lacks_no_more(backend, attempt.backend):
        backend = None
    if backend is None or not take_retry_token("hedge", context, deadline.info):
        # There may be one later.
        attempt.trust()
        return
    retry_state = request.retry_state
    if retry_state is not None and retry_state.came_back(backend, context.selections.current):
        retry_state.again += 1
    context.metrics.hedges.inc(attempt.backend.name, reason)
    request.reasons += (f"{attempt.backend.name}: {reason}",)
    _log.debug(
        "{target} is sent to {backend}, too, because {slow} is {reason}",
        target=deadline.info.target[:200].decode("latin-1"),
        slow=attempt.backend.name,
        reason=reason,
        backend=backend.name,
    )
    request.go_on(backend)


def _candidate(request: HedgedRequest, context: ForwardContext) -> Backend | None:
    """Return the usable backend for another attempt, see Note [Hedging]; None when there is none now."""
    selection, retry_state, retries = context.selections.current, request.retry_state, context.settings.retries
    if not retries or (retry_state is not None and retry_state.is_query_of_death):
        return None
    within = request.started - (0 if retry_state is None else retry_state.again) <= retries
    running = [attempt.backend for attempt in request.running]

    def eligible(backend: Backend) -> bool:
        if backend in running:
            return False
        if retry_state is None or backend not in retry_state.tried:
            return within
        return retry_state.came_back(backend, selection) or (within and retry_state.found_healthy(backend, selection))

    excluded = [each for each in selection.ranked if not eligible(each)]
    backend = placing.next_choice(request.plan, selection, excluded, context.rng)
    if backend is None or not selection.is_usable(backend) or selection.lacks(backend):
        return None
    return backend if retry_state is None or retry_state.may_send_to(backend) else None


def stalled(seconds: float) -> UpstreamError:
    """Return the error of a response that has begun and then stalled for so many seconds."""
    return UpstreamError(Phase.BODY, Cause.TIMEOUT, f"silent for {seconds:g} s")
