"""
Makes the attempts of one client request: one backend after the other, and a second one beside an attempt that is stuck.

The decisions are made elsewhere: `mpp.proxy.decisions.retry_policy` chooses the backend and whether to retry,
`mpp.core.prometheus.responses` classifies responses, and `mpp.proxy.hedging` handles attempts that take long.

::

    start ── no backend known yet: wait for the first selection, for a limited time
      └─ attempt(backend) ─── usable response → cancel the other attempts → deliver
           ^    │ no response, or one that is the fault of the server
           │    ├─ stale kept connection → a fresh one to the same backend, not counted as an attempt
           │    ├─ an untried backend is left → attempt on it at once; the failure is reported, and a new selection is made
           │    ├─ another attempt still runs → wait for that one
           ├────┴─ none left → wait once for the new selection → attempt on a backend that it selects, else a local reply
           └── tick: no progress, and the server does not respond to a liveness check → another attempt beside this one
    deadline ── no response by then → a local reply
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from mpp.core.errors import UpstreamError
from mpp.core.interfaces import IResponse
from mpp.core.model import Backend, Selection
from mpp.core.prometheus.outcomes import ANSWERED, Outcome
from mpp.core.prometheus.own_requests import check_sender
from mpp.coverage.planning.request_plan import RequestPlan
from mpp.proxy import crashes, evidence, hedging, placing
from mpp.proxy.attempt import Attempt
from mpp.proxy.callbacks import FetchCallbacks
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import local_replies
from mpp.proxy.decisions import retry_policy as policy
from mpp.proxy.decisions.request_deadline import RequestDeadline
from mpp.proxy.retry_state import RetryState

# Longer than a slow first round takes (discovery 3 s, DNS 2 s, probes 1 s, a large metrics page 3 s), and shorter than the
# timeouts of Grafana (60 s) and of most scripts.
SELECTION_WAIT_S = 10.0


@define(eq=False, repr=False, weakref_slot=False)
class Attempts:
    """
    All attempts of one client request. They end with one call of their `FetchCallbacks`, unless they are cancelled before.

    :ivar running: the attempts under way, in the order in which they began.
    :ivar started: the number of attempts that were made.
    :ivar retry_state: the failed attempts of the request, and what follows from them; None as long as it is not needed.
    :ivar by_affinity: the name of the affinity that chose the backend of the first attempt, or empty.
    :ivar plan: which servers answer the request, if some servers lack data that it reads; None if no lack matters to it.
    :ivar reasons: why attempts failed, were moved or were hedged, one line each.
    :ivar wanted: the backend that gets the first attempt if it is in service; None: affinity or strategy choose it.
    """

    _context: ForwardContext
    _deadline: RequestDeadline
    _callbacks: FetchCallbacks
    running: list[Attempt] = field(factory=list, init=False)
    started: int = 0
    retry_state: RetryState | None = None
    by_affinity: str = ""
    plan: RequestPlan | None = None
    reasons: tuple[str, ...] = ()
    _waiting: Deferred[Selection] | None = None
    wanted: Backend | None = None

    def start(self) -> None:
        """
        Make the first attempt; if no backend is known yet, wait for the first selection round, at most `SELECTION_WAIT_S`.

        :raise LoopDetected: this mpp has sent the request itself.
        """
        selections = self._context.selections
        if selections.suspects.until:
            self._so_far()  # With it, each attempt is checked: a server may have died of the request, see `may_send_to`.
        selection = selections.current
        if selection.ranked:
            self._first(selection)
        else:
            check_sender(self._deadline.info, self._context.instance)
            self._wait(selections.ready(), self._first)

    def start_planned(self, plan: RequestPlan) -> None:
        """Make the first attempt on the server that a plan chooses. It raises `LoopDetected`, as `start` does."""
        if self._context.selections.suspects.until:
            self._so_far()
        self.plan = plan
        self._attempt_or_fail(plan.backend)

    def cancel(self) -> None:
        """Cancel all attempts and the wait for a selection; called only when the fetch has ended or has its response."""
        running, self.running = self.running, []
        for attempt in running:
            attempt.cancel()
        if self._waiting is not None:
            self._waiting.cancel()
        if self.retry_state is not None:
            self.retry_state.drop_fallback()

    # Choosing

    def _wait(self, selection: Deferred[Selection], then: Callable[[Selection], None]) -> None:
        """Continue with a new Selection, or with the current one if the new one takes longer than `SELECTION_WAIT_S`."""
        context, self._waiting = self._context, selection
        selection.addTimeout(SELECTION_WAIT_S, context.clock, lambda _result, _timeout: context.selections.current)
        # A selection never fails: only `cancel` ends the wait, before or after the end of the fetch.
        selection.addCallbacks(then, lambda failure: failure.trap(CancelledError)).addErrback(self.stopped)

    def _first(self, selection: Selection) -> None:
        backend, self.by_affinity, self.plan = placing.first_choice(self._context, self._deadline, selection, self.wanted)
        if self.plan is not None and self.plan.is_spliced:
            self._callbacks.splice(self.plan)
            return
        if self.plan is not None and backend != self.plan.own:
            self.reasons = (self.plan.why(),)
        self._attempt_or_fail(backend)

    def _again(self, selection: Selection) -> None:
        """Choose a backend again, after a selection round that began when all known backends had failed this request."""
        retry_state = self._so_far()
        retry_state.refreshed = True
        self._attempt_or_fail(placing.next_choice(self.plan, selection, retry_state.tried, self._context.rng, renewed=True))

    def _attempt_or_fail(self, backend: Backend | None) -> None:
        self._waiting = None
        if backend is not None and not self._callbacks.ended:
            (self.go_on if self.started else self.attempt)(backend)
        elif not self._callbacks.ended:
            self._fail()

    # Attempting

    def go_on(self, backend: Backend) -> None:
        """Make a further attempt; if the backend lacks so much that the client must be warned, the fetch has to `splice`."""
        plan = placing.with_warning(self._context, self.plan, backend) if self._callbacks.splices else None
        if plan is None:
            self.attempt(backend)
        else:
            while self.running:
                self.running.pop().cancel()
            self._callbacks.splice(plan)

    def attempt(self, backend: Backend) -> None:
        """Make an attempt on a backend, unless it is the last healthy one and another may have died of the request."""
        context, retry_state = self._context, self.retry_state
        if retry_state is not None:
            if not retry_state.may_send_to(backend):
                self._fail_suspect(retry_state)
                return
            if retry_state.abandoned is not None:
                context.metrics.retries.inc(*retry_state.abandoned)
                retry_state.abandoned = None
        attempt = Attempt(self, backend, context, self._deadline, context.clock.seconds())
        self.started += 1
        self.running.append(attempt)
        attempt.send(fresh=not self._deadline.read)

    def answered(self, attempt: Attempt, response: IResponse) -> None:
        """Deliver a response, or try another backend if the response is the fault of its server."""
        self.running.remove(attempt)
        context, backend = self._context, attempt.backend
        attempt.took = context.clock.seconds() - attempt.sent_at
        context.metrics.upstream_answered(backend.name, attempt.took)
        if response.status < 400:
            context.selections.answered(backend)
            if self.retry_state is not None:
                self.retry_state.rescued(response, backend)
            self._deliver(response, attempt)
            return
        found = evidence.judge(attempt, response)
        outcome = found.outcome
        if outcome is ANSWERED:
            context.selections.answered(backend)
            self._deliver(response, attempt)
            return
        self.report(attempt, outcome, found.why)
        evidence.record_storage_error(attempt, found)
        retry_state = self._so_far()
        retry_state.answered(backend, outcome, again=evidence.is_worth_resending(attempt, outcome))
        if not crashes.may_go_on(attempt, response.status, retry_state):
            response.cancel()
            self._fail_suspect(retry_state)
        elif retry_state.may_go_on(attempt, outcome, self.started, self.running):
            if outcome.elsewhere and not outcome.hide_from_client and response.complete:
                retry_state.keep(response, attempt)
            else:
                response.cancel()
            self._next(retry_state)
        elif self.running or outcome.hide_from_client:
            # Another attempt may bring a better response; and some responses are hidden from clients.
            response.cancel()
            self._fail()
        else:
            self._deliver(response, attempt)

    def failed(self, attempt: Attempt, error: UpstreamError) -> None:
        """Try another backend after an attempt that failed without a response, or end the request."""
        self.running.remove(attempt)
        retry_state = self._so_far()
        outcome = retry_state.failed(attempt, error)
        self.report(attempt, outcome, str(error))
        if not crashes.may_go_on(attempt, error, retry_state):
            self._fail_suspect(retry_state)
        elif retry_state.may_go_on(attempt, outcome, self.started, self.running):
            self._next(retry_state)
        else:
            self._fail()

    def response_failed(self, attempt: Attempt, error: UpstreamError) -> None:
        """Report a response that broke off after its first bytes were sent to the client."""
        self.report(attempt, policy.judge_failure(error), str(error))
        crashes.may_go_on(attempt, error, self._so_far())

    def _fail_suspect(self, retry_state: RetryState) -> None:
        """Send the local error reply that the last healthy server is not risked, and cancel the attempts that still run."""
        self._context.metrics.query_of_death_refusals.inc()
        self.cancel()
        self._callbacks.fail(local_replies.suspected(retry_state.last_reason))

    def _so_far(self) -> RetryState:
        if self.retry_state is None:
            self.retry_state = RetryState(self._context, self._deadline)
        return self.retry_state

    def report(self, attempt: Attempt, outcome: Outcome, why: str) -> None:
        """Record why an attempt failed, and report its backend (`ISelections.report`) if that may be at fault."""
        self.reasons += (evidence.report(self._so_far(), attempt, outcome, why, self.started),)

    def _next(self, retry_state: RetryState) -> None:
        """Try the next untried backend at once; if all were tried, wait for a new selection."""
        selections = self._context.selections
        backend = placing.next_choice(self.plan, selections.current, retry_state.busy(self.running), self._context.rng)
        if backend is not None:
            self.go_on(backend)
        elif self.running or retry_state.refreshed:
            self._fail()
        else:
            self._wait(selections.reselect(), self._again)

    # Waiting

    def tick(self) -> None:
        """End the request if its deadline has passed; else move, hedge or cancel the attempts that make no progress."""
        if self._context.clock.seconds() >= self._deadline.ends_at:
            self._deadline_passed()
            return
        retry_state, running = self.retry_state, self.running
        if retry_state is not None and running and not retry_state.may_run(running):
            self._fail_suspect(retry_state)
            return
        for attempt in tuple(self.running):
            hedging.check_progress(self, attempt)

    # Ending

    def _deadline_passed(self) -> None:
        retry_state = self._so_far()
        if retry_state.fallback is not None:
            self._deliver(*retry_state.fallback)
            return
        asked, deadline = ", ".join(attempt.backend.name for attempt in self.running), self._deadline
        why = f"{asked} did not answer" if asked else retry_state.last_reason or "no Prometheus server is known"
        self._callbacks.fail(local_replies.deadline_exceeded(deadline.ends_at - deadline.began, why, read=deadline.read))
        self.cancel()

    def _deliver(self, response: IResponse, attempt: Attempt) -> None:
        """Deliver a response, and cancel the other attempts."""
        retry_state = self.retry_state
        if retry_state is not None and retry_state.fallback is not None and retry_state.fallback[0] is response:
            retry_state.fallback = None
        if self.running or retry_state is not None:
            self.cancel()
        if 300 <= response.status < 400:
            response.headers = self._deadline.redirect(response.headers)
        self._callbacks.deliver(response, attempt, self.started, self.by_affinity if self.started == 1 else "")

    def _fail(self) -> None:
        """Send the fallback response or a local reply, unless another attempt still runs."""
        if self.running:
            # Its time without progress counts from now on, so that the backend that failed beside it is not tried again at once.
            self.running[-1].trust()
            return
        retry_state = self._so_far()
        if retry_state.fallback is not None:
            self._deliver(*retry_state.fallback)
        elif not self.started and not self._context.selections.current.ranked:
            self._callbacks.fail(local_replies.UNKNOWN)
        else:
            self._callbacks.fail(retry_state.local_reply(self.started))

    def stopped(self, failure: Failure) -> None:
        """End the fetch on a bug. The outermost errback."""
        self._callbacks.failed(failure)
