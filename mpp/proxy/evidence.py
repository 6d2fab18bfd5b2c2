"""
Puts together what is known of one response, has `mpp.core.prometheus.responses` judge it, and acts on what a verdict says beside
the retry: what a server cannot read is remembered and reported, credentials that it refuses are read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from mpp.core import headers
from mpp.core.prometheus import paths, responses
from mpp.core.prometheus.outcomes import ANSWERED
from mpp.core.prometheus.responses import Authorization, SentRequest

if TYPE_CHECKING:
    from mpp.core.interfaces import IResponse
    from mpp.core.model import Backend, RequestInfo
    from mpp.core.prometheus.outcomes import Outcome
    from mpp.core.prometheus.responses import ClassifiedResponse
    from mpp.proxy.attempt import Attempt
    from mpp.proxy.context import ForwardContext
    from mpp.proxy.decisions.request_deadline import RequestDeadline


def judge(context: ForwardContext, deadline: RequestDeadline, backend: Backend, response: IResponse) -> ClassifiedResponse:
    """
    Return what a response with a status of 400 or more means for this request.

    A response to what must not be sent twice is the client's, unless it speaks of mpp's own credentials.
    """
    info = deadline.info
    path = paths.without_prefix(backend.prefix, info.target, context.selections.current.prefixes)
    sent = SentRequest(path, _authorization(context, info, backend))
    found = responses.classify(response.status, response.headers, b"".join(response.buffered), sent)
    if not deadline.read and not found.outcome.credentials:
        return evolve(found, outcome=ANSWERED)
    if found.outcome is responses.REFUSED and context.selections.current.is_limited(backend):
        return evolve(found, outcome=responses.LIMITED)
    return found


def _authorization(context: ForwardContext, info: RequestInfo, backend: Backend) -> Authorization:
    if context.credentials.authorizes(backend):
        return Authorization.OWN
    return Authorization.CLIENT if headers.values(info.headers, b"authorization") else Authorization.NONE


def record_storage_error(context: ForwardContext, deadline: RequestDeadline, backend: Backend, found: ClassifiedResponse) -> None:
    """Remember and report what a server could not read of its own storage, if that is what it said."""
    if found.outcome.storage:
        context.unreadable.record(backend, deadline.info)
        context.selections.storage_failed(backend, found.error)


def is_worth_resending(context: ForwardContext, attempt: Attempt, outcome: Outcome) -> bool:
    """Return whether the same server may answer the same request now: it is sent other credentials than before."""
    return outcome.credentials and context.credentials.refreshed_since(attempt.backend, attempt.sent_at)
