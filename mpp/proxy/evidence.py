"""
Classifies one response with `mpp.core.prometheus.responses`, and handles two of its results: queries that a server cannot read
from its storage are recorded and reported, and credentials of mpp that it rejects are read again from their files.
"""

from __future__ import annotations

from attrs import evolve
from txaio import tx

from mpp.core.http import headers
from mpp.core.interfaces import IResponse
from mpp.core.model import Backend, RequestInfo
from mpp.core.prometheus import paths, responses
from mpp.core.prometheus.outcomes import ANSWERED, Outcome
from mpp.core.prometheus.responses import Authorization, ClassifiedResponse, SentRequest
from mpp.proxy.attempt import Attempt
from mpp.proxy.context import ForwardContext
from mpp.proxy.retry_state import RetryState

_log = tx.make_logger()


def judge(attempt: Attempt, response: IResponse) -> ClassifiedResponse:
    """
    Return what a response with a status of 400 or more means for this request.

    A response to a request that must not be sent twice is delivered, unless it rejects credentials of mpp.
    """
    context, info, backend = attempt.context, attempt.deadline.info, attempt.backend
    path = paths.without_prefix(backend.prefix, info.target, context.selections.current.prefixes)
    sent = SentRequest(path, _authorization(context, info, backend))
    found = responses.classify(response.status, response.headers, b"".join(response.buffered), sent)
    if not attempt.deadline.read and not found.outcome.credentials:
        return evolve(found, outcome=ANSWERED)
    if found.outcome is responses.REFUSED and context.selections.current.is_limited(backend):
        return evolve(found, outcome=responses.LIMITED)
    return found


def _authorization(context: ForwardContext, info: RequestInfo, backend: Backend) -> Authorization:
    if context.credentials.authorizes(backend):
        return Authorization.OWN
    return Authorization.CLIENT if headers.values(info.headers, b"authorization") else Authorization.NONE


def record_storage_error(attempt: Attempt, found: ClassifiedResponse) -> None:
    """Record and report a query that a server could not read from its own storage, if the response says so."""
    if found.outcome.storage:
        attempt.context.unreadable.record(attempt.backend, attempt.deadline.info)
        attempt.context.selections.storage_failed(attempt.backend, found.error)


def is_worth_resending(attempt: Attempt, outcome: Outcome) -> bool:
    """Return whether the same server may accept the request now, because mpp has other credentials for it than before."""
    return outcome.credentials and attempt.context.credentials.refreshed_since(attempt.backend, attempt.sent_at)


def report(retry_state: RetryState, attempt: Attempt, outcome: Outcome, why: str, number: int) -> str:
    """
    Log why an attempt failed, and report its backend (`mpp.core.interfaces.ISelections.report`) if that may be at fault.

    :param number: the number of attempts that were made.
    :return: the failure in one line.
    """
    info = attempt.deadline.info
    line = retry_state.last_reason = f"{attempt.backend.name}: {why}"
    _log.debug(
        "an attempt of {method} {target} failed: {why} ({reason}); attempts so far: {attempts}",
        attempts=number,
        method=info.method.decode("latin-1"),
        target=info.target[:200].decode("latin-1"),
        why=line,
        reason=outcome.reason,
    )
    if outcome.standing is not None:
        retry_state.report_failure(attempt.backend, outcome.standing, why)
    return line
