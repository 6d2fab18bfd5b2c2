"""
Puts together what is known of one response, has `mpp.core.prometheus.responses` judge it, and acts on what a verdict says beside
the retry: what a server cannot read is remembered and reported, credentials that it refuses are read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import evolve

from mpp.core import headers
from mpp.core.prometheus import paths, responses
from mpp.core.prometheus.responses import Authorization, Sent
from mpp.proxy.decisions.retry_policy import ANSWERED

if TYPE_CHECKING:
    from mpp.core.interfaces import IResponse
    from mpp.core.model import Backend, RequestFacts
    from mpp.core.prometheus.responses import Classified
    from mpp.proxy.attempt import Attempt
    from mpp.proxy.decisions.request_deadline import Terms
    from mpp.proxy.decisions.retry_policy import Verdict
    from mpp.proxy.forwarder import Forwarder


class OwnCredentials(Protocol):
    """The credentials of mpp's own: `mpp.security.upstream.active_credentials.Keyring`."""

    def authorizes(self, backend: Backend, /) -> bool:
        """Return whether requests to a backend carry an ``Authorization`` of mpp's own."""

    def renewed_since(self, backend: Backend, at: float, /) -> bool:
        """
        Read those files again that have changed, unless that was done within the last second.

        :param at: a time by the monotonic clock.
        :return: whether the backend is sent other fields now than at that time.
        """


class NoCredentials:
    """There are none: what clients send is passed on."""

    def authorizes(self, backend: Backend) -> bool:
        """Return False."""
        return False

    def renewed_since(self, backend: Backend, at: float) -> bool:
        """Return False."""
        return False


def judge(context: Forwarder, terms: Terms, backend: Backend, response: IResponse) -> Classified:
    """
    Return what a response with a status of 400 or more means for this request.

    A response to what must not be sent twice is the client's, unless it speaks of mpp's own credentials.
    """
    facts = terms.facts
    path = paths.without_prefix(backend.prefix, facts.target, context.selections.current.prefixes)
    sent = Sent(path, _authorization(context, facts, backend))
    found = responses.classify(response.status, response.headers, b"".join(response.held), sent)
    if not terms.read and not found.verdict.credentials:
        return evolve(found, verdict=ANSWERED)
    if found.verdict is responses.REFUSED and context.selections.current.is_limited(backend):
        return evolve(found, verdict=responses.LIMITED)
    return found


def _authorization(context: Forwarder, facts: RequestFacts, backend: Backend) -> Authorization:
    if context.credentials.authorizes(backend):
        return Authorization.OWN
    return Authorization.CLIENT if headers.values(facts.headers, b"authorization") else Authorization.NONE


def note_damage(context: Forwarder, terms: Terms, backend: Backend, found: Classified) -> None:
    """Remember and report what a server could not read of its own storage, if that is what it said."""
    if found.verdict.storage:
        context.unreadable.note(backend, terms.facts)
        context.selections.storage_failed(backend, found.error)


def worth_asking_again(context: Forwarder, attempt: Attempt, verdict: Verdict) -> bool:
    """Return whether the same server may answer the same request now: it is sent other credentials than before."""
    return verdict.credentials and context.credentials.renewed_since(attempt.backend, attempt.sent_at)
