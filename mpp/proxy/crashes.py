"""
Recognizes and reports reads that a server may have died of, see Note [Query of death] in `mpp.selection.query_of_death`.
"""

from __future__ import annotations

from txaio import tx

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.model import Standing
from mpp.proxy.attempt import Attempt
from mpp.proxy.retry_state import RetryState
from mpp.selection.query_of_death import healthy, key_of

_log = tx.make_logger()

# The number of bytes of a query that the log shows.
_SHOWN = 500
# The status with which a gateway reports that the connection to the server behind it broke.
BAD_GATEWAY = 502


def is_suspect(attempt: Attempt, outcome: UpstreamError | int) -> bool:
    """
    Return whether the server of an attempt may have died of the read that it ran.

    :param outcome: the error of the attempt, or the status of the response.
    """
    if isinstance(outcome, int):
        broke_off = outcome == BAD_GATEWAY
    else:
        broke_off = outcome.phase is not Phase.CONNECT and outcome.cause in (Cause.RESET, Cause.CLOSED)
    if not broke_off or not attempt.ran_long:
        return False
    context = attempt.context
    observation = context.selections.current.observed.get(attempt.backend)
    not_ready = observation is not None and observation.standing is Standing.NOT_READY
    return not not_ready and not context.liveness.is_stopping(attempt.backend, attempt.sent_at)


def may_go_on(attempt: Attempt, outcome: UpstreamError | int, retry_state: RetryState) -> bool:
    """
    Return whether a request may be sent to another server after an attempt that has failed.

    If the server may have died of the request, that is reported, and two other healthy servers are needed: one to try, and one
    that is left for other requests if the first one dies, too.
    """
    if not is_suspect(attempt, outcome):
        return True
    report(attempt)
    retry_state.suspect = True
    return healthy(attempt.context.selections.current, retry_state.tried) > 1


def report(attempt: Attempt) -> None:
    """Log and count that a server may have died of a read, and report the read as suspect (`ISelections.suspect`)."""
    context, info, name = attempt.context, attempt.deadline.info, attempt.backend.name
    context.metrics.query_of_death_suspects.inc(name)
    _log.warn(
        "{backend} broke the connection after running a query for {ran:.1f} s, and may have died of it; for some minutes the"
        " query is not sent to a server that is the last healthy one: {method} {query}",
        backend=name,
        ran=attempt.ran_for,
        method=info.method.decode("latin-1"),
        query=b" ".join(filter(None, (info.target[:_SHOWN], info.body[:_SHOWN]))).decode("latin-1"),
    )
    why = f"{name} broke the connection after running a query for {attempt.ran_for:.1f} s, and may have died of it; see the log"
    context.selections.suspect(key_of(info), why)
