"""
The failed attempts of one request, and what they mean for the next attempt and for the client.

A `RetryState` is made when an attempt has failed, or while a server may have died of a query: most requests never need one. It
makes no attempt itself.
"""

from __future__ import annotations

from attrs import define, field
from txaio import tx

from mpp.core.errors import Cause, UpstreamError
from mpp.core.interfaces import IResponse
from mpp.core.model import Backend, Observation, RequestInfo, Selection, Standing
from mpp.core.prometheus.outcomes import Outcome
from mpp.proxy.attempt import Attempt
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import local_replies
from mpp.proxy.decisions import retry_policy as policy
from mpp.proxy.decisions.local_replies import LocalReply
from mpp.proxy.decisions.request_deadline import RequestDeadline
from mpp.selection import query_of_death

_log = tx.make_logger()


def take_retry_token(what: str, context: ForwardContext, info: RequestInfo) -> bool:
    """
    Pay for a further attempt out of the retry budget; return False if the budget is exhausted.

    :param what: ``retry`` or ``hedge``.
    """
    if context.budget.take(context.clock.seconds()):
        return True
    context.metrics.retry_budget_exhausted.inc(what)
    _log.debug("{what} of {target} skipped: retry budget exhausted", what=what, target=info.target[:200].decode("latin-1"))
    return False


@define(eq=False, repr=False, weakref_slot=False)
class RetryState:
    """
    The failed attempts of one request, and what they mean for further ones.

    :ivar tried: the backends that failed the request.
    :ivar blamed: the backends that failed it through their own fault.
    :ivar last_reason: why the last attempt failed, in one line.
    :ivar refreshed: whether the request has waited for a selection made after all backends had failed it.
    :ivar abandoned: the backend and reason of the last failed attempt, until another attempt follows it.
    :ivar fallback: a response to deliver if no backend gives a better one, and its attempt.
    :ivar suspect: whether a server may have died of the request, see Note [Query of death] in `mpp.selection.query_of_death`.
    :ivar again: the number of attempts on backends that had failed the request and returned to service since; ``--retries`` does
        not limit these.
    """

    _context: ForwardContext
    _deadline: RequestDeadline
    tried: list[Backend] = field(factory=list)
    blamed: list[Backend] = field(factory=list)
    last_reason: str = ""
    refreshed: bool = False
    abandoned: tuple[str, str] | None = None
    fallback: tuple[IResponse, Attempt] | None = None
    suspect: bool = False
    again: int = 0
    _crashes: int = 0
    _crashed: set[Backend] = field(factory=set)
    _maybe_done: bool = False
    _seen: dict[Backend, Observation | None] = field(factory=dict)
    _unauthorized: int = 0

    @property
    def is_query_of_death(self) -> bool:
        """Whether the connections of two attempts broke, so that servers may have died of the request: it is not sent again."""
        return self._crashes >= 2

    def report_failure(self, backend: Backend, standing: Standing, why: str) -> None:
        """Report a failure that is the backend's fault, see `mpp.core.interfaces.ISelections.report`."""
        if standing is Standing.NOT_READY:
            self._context.liveness.unready(backend)
        if standing >= Standing.SUSPECT:
            self.blamed.append(backend)
        self._context.selections.report(backend, standing, why)

    def may_send_to(self, backend: Backend) -> bool:
        """
        Return whether the request may be sent to a backend: if servers may have died of the request, another healthy backend must
        be left for other requests.
        """
        if not self._is_suspect():
            return True
        return query_of_death.healthy(self._context.selections.current, [*self.tried, backend]) > 0

    def may_run(self, running: list[Attempt]) -> bool:
        """
        Return whether a request that is retried may continue to run on its backend.

        Another request with the same query may show, after this one was sent, that a server has died of it.
        """
        return not self.tried or self.may_send_to(running[-1].backend)

    def _is_suspect(self) -> bool:
        suspects = self._context.selections.suspects
        if not self.suspect and suspects.until and self._deadline.read:
            self.suspect = query_of_death.key_of(self._deadline.info) in suspects
        return self.suspect

    def exclude(self, backend: Backend) -> None:
        """Record that a backend has failed the request, and the observation of the backend at that time."""
        if backend not in self._seen:
            self.tried.append(backend)
        self._seen[backend] = self._context.selections.current.observed.get(backend)

    def came_back(self, backend: Backend, selection: Selection) -> bool:
        """Return whether a backend has left service and returned since it failed the request."""
        before, now = self._seen.get(backend), selection.observed.get(backend)
        return before is not None and now is not None and now.returns > before.returns

    def found_healthy(self, backend: Backend, selection: Selection) -> bool:
        """Return whether a probe has found a backend viable since it failed the request."""
        before, now = self._seen.get(backend), selection.observed.get(backend)
        return before is not None and now is not None and now.standing is Standing.VIABLE and now.at > before.at

    def failed(self, attempt: Attempt, error: UpstreamError) -> Outcome:
        """Record an attempt that failed without a response, and return its outcome."""
        outcome = policy.judge_failure(error)
        # A kept connection that broke and a server that then refuses connections count as one crash.
        if outcome.crash or attempt.was_stale:
            self._crashes += 1
            self._crashed.add(attempt.backend)
        self._maybe_done = self._maybe_done or not (self._deadline.read or outcome.resend)
        self.exclude(attempt.backend)
        if error.cause is Cause.REFUSED:
            self._context.liveness.refused(attempt.backend)
        return outcome

    def answered(self, backend: Backend, outcome: Outcome, *, again: bool) -> None:
        """
        Record a response that is the fault of its server.

        :param again: whether the same server may be tried again at once.
        """
        self._unauthorized += outcome.credentials
        if not again:
            self.exclude(backend)

    def may_go_on(self, attempt: Attempt, outcome: Outcome, started: int, running: list[Attempt]) -> bool:
        """
        Decide whether another backend is tried after a failed attempt, and pay for it out of the retry budget.

        :param started: the number of attempts of the request.
        :param running: the attempts that still run.
        """
        context, deadline, attempts = self._context, self._deadline, started - self.again
        selection, retries = context.selections.current, context.settings.retries
        go_on = policy.may_retry(outcome, read=deadline.read, attempts=attempts, retries=retries, crashes=self._crashes)
        if go_on and outcome.elsewhere:
            go_on = policy.is_better_elsewhere(outcome, selection, self.tried, context.rng)
        elif go_on and running:
            # Otherwise the request waits for the attempt that still runs, which takes nothing out of the budget.
            busy = self.busy(running)
            go_on = any(backend not in busy for backend in selection.ranked)
        # A request of which nothing was sent has caused no work on a backend.
        if go_on and not outcome.resend:
            go_on = take_retry_token("retry", context, deadline.info)
        if go_on:
            self.abandoned = (attempt.backend.name, outcome.reason)
        return go_on

    def busy(self, running: list[Attempt]) -> list[Backend]:
        """Return the backends to exclude from the next attempt: they failed the request, or an attempt runs on them."""
        return [*self.tried, *(attempt.backend for attempt in running)]

    def rescued(self, response: IResponse, backend: Backend) -> None:
        """Report that a backend works although it is considered down or not ready, if its response proves this."""
        selections = self._context.selections
        observation = selections.current.observed.get(backend)
        if observation is None or observation.standing < Standing.NOT_READY:
            return
        if policy.is_proof(response.status, response.headers, b"".join(response.buffered)):
            for failed in self.blamed:
                selections.rescued(failed, backend)

    def keep(self, response: IResponse, attempt: Attempt) -> None:
        """Keep a response as the fallback: it says more than an error of mpp's own if no other server gives a better one."""
        self.drop_fallback()
        self.fallback = (response, attempt)

    def drop_fallback(self) -> None:
        """Release the fallback response, if there is one."""
        if self.fallback is not None:
            self.fallback[0].release()
            self.fallback = None

    def local_reply(self, attempts: int) -> LocalReply:
        """Return the error that mpp sends itself when there is no backend left to try."""
        if self._unauthorized and self._unauthorized == attempts:
            return local_replies.unauthorized(self.last_reason)
        if self._maybe_done:
            return local_replies.not_repeatable(self.last_reason)
        if self.is_query_of_death:
            return local_replies.query_of_death(self._crashes, len(self._crashed), self.last_reason)
        return local_replies.exhausted(attempts, self.last_reason)
