"""The fetch of a response from the servers: attempts on one after the other, or on several that answer some of the steps each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mpp.core.errors import UpstreamError
from mpp.core.interfaces import IResponse
from mpp.core.model import Backend, RequestInfo
from mpp.coverage.planning.request_plan import RequestPlan
from mpp.proxy.answer import Answer, AnsweredRange
from mpp.proxy.attempt import Attempt
from mpp.proxy.attempts import Attempts
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions.local_replies import LocalReply
from mpp.proxy.decisions.request_deadline import RequestDeadline
from mpp.proxy.exchanges.fetch import Fetch
from mpp.proxy.exchanges.splicing import SplicedAttempts
from mpp.proxy.preparing import turn_to_plan


class ServerFetch(Fetch):
    """
    The fetch of a response from the servers.

    :param note: why the cache is not used, in the words of ``MPP.Cache``; empty if there is no cache.
    :param wanted: the server that gets the first attempt if it is in service; None: affinity or strategy choose it.
    :param buffer: how many bytes of the response are buffered at most; None for ``--response-buffer``.
    """

    __slots__ = ("_attempts", "_deadline", "_note")

    def __init__(
        self,
        context: ForwardContext,
        info: RequestInfo,
        began: float,
        landed: Callable[[Fetch], object] | None = None,
        *,
        note: str = "",
        wanted: Backend | None = None,
        buffer: int | None = None,
    ) -> None:
        super().__init__(context, info, began, landed)
        self._deadline = deadline = RequestDeadline(info, began, context.settings, buffer)
        self.ends_at = deadline.ends_at
        self._note = note
        self._attempts: Attempts | SplicedAttempts = Attempts(context, deadline, self, wanted=wanted)

    def turn_to_start(self) -> Deferred[None] | None:
        """Return a Deferred that fires when the request is to be planned; None if it can be planned now."""
        return turn_to_plan(self._context, self.info)

    def start(self) -> None:
        """Start the attempts on servers."""
        self._attempts.start()

    @property
    def running(self) -> list[Attempt]:
        """The attempts that are under way."""
        return self._attempts.running

    @property
    def started(self) -> int:
        """How many attempts were made."""
        return self._attempts.started

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why attempts failed, were moved or were hedged, one line each."""
        return self._attempts.reasons

    def progress(self) -> None:
        """End the fetch if its deadline has passed, else move or hedge attempts that make no progress."""
        self._attempts.tick()

    def cancel(self) -> None:
        """Cancel the attempts that are under way."""
        self._attempts.cancel()
        self._forget()
        del self._attempts

    # Called by the attempts

    splices = True

    def splice(self, plan: RequestPlan) -> None:
        """
        Replace the attempts by the ones of a plan: several servers answer some of the steps each, or one server answers all, with
        a warning about the data that it lacks.
        """
        before = self._attempts
        self._attempts = spliced = SplicedAttempts(self._context, self._deadline, plan, self)
        if isinstance(before, Attempts) and before.started:
            spliced.go_on(before)
        spliced.start()

    def undivided(self, plan: RequestPlan) -> None:
        """Let one server answer the whole request, because the responses could not be joined."""
        before = self._attempts
        attempts = Attempts(self._context, self._deadline, self)
        attempts.reasons = (*before.reasons, "the parts could not be joined")
        self._forget()
        self._attempts = attempts
        attempts.start_planned(plan)

    def deliver(
        self, response: IResponse, attempt: Attempt, attempts: int, affinity: str, *, ranges: tuple[AnsweredRange, ...] = ()
    ) -> None:
        """
        Deliver a response to all waiting requests.

        :param attempts: the number of attempts that were made.
        :param affinity: the name of the affinity that chose the backend, or empty.
        :param ranges: see `mpp.proxy.answer.Answer`.
        """
        made = self._attempts
        plan, backend = made.plan, attempt.backend
        # A client keeps the server that it has if this one answers only because that one lacks data.
        keeps_server = plan is not None and backend != plan.own
        broke_off = None if response.complete else partial(_broke_off, made, attempt)
        also: tuple[Backend, ...] = ()
        asked_at = attempt.sent_at
        if ranges:
            also = tuple(server for server in dict.fromkeys(each[0] for each in ranges) if server != backend)
            # Another server may have been asked long before this attempt.
            asked_at = self.began
        answer = Answer(
            response,
            backend,
            attempt,
            attempts,
            made.reasons,
            affinity,
            also,
            ranges,
            keeps_server,
            broke_off,
            self._note,
            False,
            asked_at,
        )
        if response.complete and isinstance(made, SplicedAttempts):
            made.forget()
        del self._attempts
        self._answered(answer)

    def fail(self, why: LocalReply) -> None:
        """End all waiting requests with an error of mpp's own, because no backend gave a usable response."""
        self._unanswered(why)
        self._forget()
        del self._attempts

    def failed(self, failure: Failure) -> None:
        """End all waiting requests on a bug. The outermost errback."""
        if self.ended:
            self._failed(failure)
            return
        self._attempts.cancel()
        self._failed(failure)
        self._forget()
        del self._attempts

    def _forget(self) -> None:
        """Remove the reference cycles of the subrequests: they would wait for the garbage collector."""
        if isinstance(self._attempts, SplicedAttempts):
            self._attempts.forget()


def _broke_off(made: Attempts | SplicedAttempts, attempt: Attempt, error: UpstreamError) -> tuple[str, ...]:
    """Report a response that broke off on its way to the client; return why attempts failed, with this reason."""
    made.response_failed(attempt, error)
    return made.reasons
