"""
What has gone wrong with one request so far: made at the first thing that does, which most requests never see.

It remembers, and knows what that means for the next attempt and for the client; it makes no attempt itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from txaio import tx

from mpp.core.errors import Cause
from mpp.core.model import Standing
from mpp.proxy import local_replies as refusal
from mpp.proxy.decisions import retry_policy as policy
from mpp.selection import query_of_death

if TYPE_CHECKING:
    from mpp.core.errors import UpstreamError
    from mpp.core.interfaces import IResponse, ISelections
    from mpp.core.model import Backend, Observation, RequestInfo, Selection
    from mpp.core.prometheus.outcomes import Outcome
    from mpp.proxy.attempt import Attempt
    from mpp.proxy.context import ForwardContext
    from mpp.proxy.decisions.request_deadline import RequestDeadline
    from mpp.proxy.local_replies import LocalReply

_log = tx.make_logger()


def take_retry_token(what: str, context: ForwardContext, info: RequestInfo) -> bool:
    """
    Take one attempt out of the retry budget; return False if it is exhausted.

    :param what: ``retry`` or ``hedge``.
    """
    if context.budget.take(context.clock.seconds()):
        return True
    context.metrics.retry_budget_exhausted(what)
    _log.debug("{what} of {target} skipped: retry budget exhausted", what=what, target=info.target[:200].decode("latin-1"))
    return False


class AttemptsMade(Protocol):
    """The attempts that were made to have a request answered: `mpp.proxy.attempts.Attempts`."""

    @property
    def started(self) -> int:
        """Return how many attempts were made."""

    @property
    def running(self) -> list[Attempt]:
        """Return the attempts under way, in the order in which they began."""


class RetryState:
    """
    The setbacks of one request.

    :ivar tried: the backends that failed it.
    :ivar blamed: those of them through whose fault it failed.
    :ivar last_reason: what the last one did, in one line.
    :ivar refreshed: a selection was waited for that knows of all of them.
    :ivar abandoned: backend and reason of the last attempt, until another one follows it.
    :ivar fallback: an answer that is better than none, and who gave it.
    :ivar suspect: a server may have died of it, see Note [Query of death] in `mpp.selection.query_of_death`.
    :ivar again: how many attempts were made on backends that had failed the request before and have come back since.
    """

    __slots__ = (
        "_crashed",
        "_crashes",
        "_maybe_done",
        "_seen",
        "_unauthorized",
        "abandoned",
        "again",
        "blamed",
        "fallback",
        "last_reason",
        "refreshed",
        "suspect",
        "tried",
    )

    def __init__(self) -> None:
        self.tried: list[Backend] = []
        self.blamed: list[Backend] = []
        self.last_reason = ""
        self.refreshed = False
        self.abandoned: tuple[str, str] | None = None
        self.fallback: tuple[IResponse, Attempt] | None = None
        self.suspect = False
        self.again = 0
        self._crashes = 0
        self._crashed: set[Backend] = set()
        self._maybe_done = False
        self._seen: dict[Backend, Observation | None] = {}
        self._unauthorized = 0

    @property
    def is_query_of_death(self) -> bool:
        """This request was broken off twice, and servers may have died of it: it is not sent to any server again."""
        return self._crashes >= 2

    def report_failure(self, backend: Backend, standing: Standing, why: str, context: ForwardContext) -> None:
        """Report that the request failed through a backend's fault, see `mpp.core.interfaces.ISelections`."""
        if standing is Standing.NOT_READY:
            context.liveness.unready(backend)
        if standing >= Standing.SUSPECT:
            self.blamed.append(backend)
        context.selections.report(backend, standing, why)

    def may_send_to(self, backend: Backend, context: ForwardContext, deadline: RequestDeadline) -> bool:
        """Return whether a healthy backend is left for the others should this one die of the request."""
        if not self._is_suspect(context, deadline):
            return True
        return query_of_death.healthy(context.selections.current, [*self.tried, backend]) > 0

    def may_run(self, running: list[Attempt], context: ForwardContext, deadline: RequestDeadline) -> bool:
        """
        Return whether a request that was sent on after a failure may run on where it runs now.

        Another request for the same may be what tells that a server has died of it, and that may come a moment later.
        """
        return not self.tried or self.may_send_to(running[-1].backend, context, deadline)

    def _is_suspect(self, context: ForwardContext, deadline: RequestDeadline) -> bool:
        suspects = context.selections.suspects
        if not self.suspect and suspects.until and deadline.read:
            self.suspect = query_of_death.key_of(deadline.info) in suspects
        return self.suspect

    def exclude(self, backend: Backend, selection: Selection) -> None:
        """Note that a backend has failed the request, and what was known of the backend at that time."""
        if backend not in self._seen:
            self.tried.append(backend)
        self._seen[backend] = selection.observed.get(backend)

    def came_back(self, backend: Backend, selection: Selection) -> bool:
        """Return whether a backend has left service and come back since it failed the request."""
        before, now = self._seen.get(backend), selection.observed.get(backend)
        return before is not None and now is not None and now.returns > before.returns

    def found_healthy(self, backend: Backend, selection: Selection) -> bool:
        """Return whether a probe has found a backend viable since it failed the request."""
        before, now = self._seen.get(backend), selection.observed.get(backend)
        return before is not None and now is not None and now.standing is Standing.VIABLE and now.at > before.at

    def failed(self, attempt: Attempt, error: UpstreamError, context: ForwardContext, *, read: bool) -> Outcome:
        """Note an attempt that brought no usable answer; give what it means."""
        outcome = policy.judge_failure(error)
        # A kept connection that broke and a server that is not there any more make one crash.
        if outcome.crash or attempt.was_stale:
            self._crashes += 1
            self._crashed.add(attempt.backend)
        self._maybe_done = self._maybe_done or not (read or outcome.resend)
        self.exclude(attempt.backend, context.selections.current)
        if error.cause is Cause.REFUSED:
            context.liveness.refused(attempt.backend)
        return outcome

    def answered(self, backend: Backend, outcome: Outcome, selection: Selection, *, again: bool) -> None:
        """
        Note a response that blames its server.

        :param again: the same server may do better at once.
        """
        self._unauthorized += outcome.credentials
        if not again:
            self.exclude(backend, selection)

    def may_go_on(
        self, attempt: Attempt, outcome: Outcome, context: ForwardContext, deadline: RequestDeadline, made: AttemptsMade
    ) -> bool:
        """
        Decide whether another backend is tried after an attempt that failed, pay for it, and note it.

        :param made: all attempts of the request, without this one.
        """
        selection, retries, attempts = context.selections.current, context.settings.retries, made.started - self.again
        go_on = policy.may_retry(outcome, read=deadline.read, attempts=attempts, retries=retries, crashes=self._crashes)
        if go_on and outcome.elsewhere:
            go_on = policy.is_better_elsewhere(outcome, selection, self.tried, context.rng)
        elif go_on and made.running:
            # Else the one that still runs is waited for, and nothing is taken out of the budget for that.
            busy = self.busy(made.running)
            go_on = any(backend not in busy for backend in selection.ranked)
        # Where nothing was sent, nobody had any work from it.
        if go_on and not outcome.resend:
            go_on = take_retry_token("retry", context, deadline.info)
        if go_on:
            self.abandoned = (attempt.backend.name, outcome.reason)
        return go_on

    def busy(self, running: list[Attempt]) -> list[Backend]:
        """Return the backends that need not be asked: they failed, or are being asked."""
        return [*self.tried, *(attempt.backend for attempt in running)]

    def rescued(self, response: IResponse, backend: Backend, selections: ISelections) -> None:
        """Report that a backend has answered the request well, if it was not expected to answer at all."""
        observation = selections.current.observed.get(backend)
        if observation is None or observation.standing < Standing.NOT_READY:
            return
        if policy.is_proof(response.status, response.headers, b"".join(response.buffered)):
            for failed in self.blamed:
                selections.rescued(failed, backend)

    def keep(self, response: IResponse, attempt: Attempt) -> None:
        """Have an answer in reserve: its server's own words tell more than ours, should no other one do better in time."""
        self.drop_fallback()
        self.fallback = (response, attempt)

    def drop_fallback(self) -> None:
        """Need it no more."""
        if self.fallback is not None:
            self.fallback[0].release()
            self.fallback = None

    def local_reply(self, attempts: int) -> LocalReply:
        """Give what the client is told when there is nobody left to try."""
        if self._unauthorized and self._unauthorized == attempts:
            return refusal.unauthorized(self.last_reason)
        if self._maybe_done:
            return refusal.not_repeatable(self.last_reason)
        if self.is_query_of_death:
            return refusal.query_of_death(self._crashes, len(self._crashed), self.last_reason)
        return refusal.exhausted(attempts, self.last_reason)
