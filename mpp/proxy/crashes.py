"""
Finds out whether a server may have died of the read that it broke off, and reports it; see Note [Query of death] in
`mpp.selection.query_of_death`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from txaio import tx

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.model import Standing
from mpp.selection.query_of_death import healthy, key_of

if TYPE_CHECKING:
    from mpp.proxy.attempt import Attempt
    from mpp.proxy.context import ForwardContext
    from mpp.proxy.decisions.request_deadline import RequestDeadline
    from mpp.proxy.retry_state import RetryState

_log = tx.make_logger()

# Of the query's text, in the log.
_SHOWN = 500
# What a gateway says when the server behind it has broken off.
BAD_GATEWAY = 502


def is_suspect(attempt: Attempt, outcome: UpstreamError | int, context: ForwardContext, deadline: RequestDeadline) -> bool:
    """
    Return whether a server may have died of a read.

    :param outcome: how its attempt failed, or the status of the response that it got.
    """
    if isinstance(outcome, int):
        broke_off = outcome == BAD_GATEWAY
    else:
        broke_off = outcome.phase is not Phase.CONNECT and outcome.cause in (Cause.RESET, Cause.CLOSED)
    if not broke_off or not attempt.ran_long(context, deadline):
        return False
    observation = context.selections.current.observed.get(attempt.backend)
    has_said_so = observation is not None and observation.standing is Standing.NOT_READY
    return not has_said_so and not context.liveness.is_stopping(attempt.backend, attempt.sent_at)


def may_go_on(
    attempt: Attempt, outcome: UpstreamError | int, context: ForwardContext, deadline: RequestDeadline, retry_state: RetryState
) -> bool:
    """
    Return whether there are servers enough to go on with a request after an attempt that has failed.

    If its server may have died of it, that is reported, and two healthy ones are needed: one to try, and one that is left.
    """
    if not is_suspect(attempt, outcome, context, deadline):
        return True
    report(attempt, context, deadline)
    retry_state.suspect = True
    return healthy(context.selections.current, retry_state.tried) > 1


def report(attempt: Attempt, context: ForwardContext, deadline: RequestDeadline) -> None:
    """Report a server that may have died of a read: to the log, to the metrics, and to all who may be asked for it again."""
    info, name = deadline.info, attempt.backend.name
    context.metrics.query_of_death_suspected(name)
    _log.warn(
        "{backend} broke off after it had run a query for {ran:.1f} s, and may have died of it: {method} {query}",
        backend=name,
        ran=attempt.ran_for,
        method=info.method.decode("latin-1"),
        query=b" ".join(filter(None, (info.target[:_SHOWN], info.body[:_SHOWN]))).decode("latin-1"),
    )
    why = f"{name} broke off after it had run a query for {attempt.ran_for:.1f} s, and may have died of it; see the log"
    context.selections.suspect(key_of(info), why)
