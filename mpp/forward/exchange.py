"""
Carries one client request to a backend and its answer back, with retries and hedges on other backends.

An `Exchange` lives as long as one request. It decides nothing itself: which backend, whether to retry and what an outcome
means is `mpp.policy`; how bytes move is `mpp.wire`; whether the world has changed is told to, and asked of, `ISelections`;
whether a silent server is still there is asked of `mpp.forward.suspicion`.

::

    start ── no selection yet: wait for the first round, bounded
      └─ attempt(backend) ──────────────── answered, usable → deliver, cancel the other attempts → done
           ^    │ failed, or an answer that blames the server
           │    ├─ stale kept connection → the same backend, a fresh one, not counted
           │    ├─ an untried backend is left → at once; the standing is reported, a new selection is made beside it
           │    ├─ another attempt still runs → wait for that one
           ├────┴─ none left → wait for the new selection once, bounded → whoever it selects, else give up
           └── tick: no progress, and the server shows no sign of life → another attempt beside this one
    deadline ── nothing to deliver by then → give up
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from txaio import tx

from mpp import headers, paths, policy, timeouts
from mpp.errors import Cause, Phase, UpstreamError
from mpp.forward.attempt import Attempt
from mpp.forward.suspicion import Sign
from mpp.interfaces import IDownstream, IResponse
from mpp.metrics import OWN
from mpp.model import Backend, Selection
from mpp.policy import Verdict

if TYPE_CHECKING:
    from mpp.forward.forwarder import Forwarder

_log = tx.make_logger()

# Longer than a slow first round takes (locating 3 s, DNS 2 s, probes 1 s, a large metrics page 3 s), shorter than the
# patience of Grafana (60 s) and of most scripts.
SELECTION_WAIT_S = 10.0
# What a client is told to wait before it asks again (Retry-After): by then a round has passed.
RETRY_AFTER_S = 5
# What the status would be had the client waited (nginx' convention; it is only counted and logged).
CLIENT_GONE = 499
# A query that has a timeout of its own is ended by the server; so much later its answer must be here.
GRACE_S = 1.0
# A server is told to stop so much before nobody waits any more, so that it can say so: a second, less of short times.
_MARGIN_S = 1.0
_MARGIN_SHARE = 0.1


class Exchange:
    """One client request, from its last byte to the last byte of its answer."""

    __slots__ = (
        "_asked_until",
        "_began",
        "_by_affinity",
        "_context",
        "_crashes",
        "_deadline",
        "_delivering",
        "_downstream",
        "_ended",
        "_facts",
        "_given_up",
        "_gone",
        "_last_why",
        "_maybe_done",
        "_read",
        "_renewed",
        "_response",
        "_running",
        "_served_by",
        "_started",
        "_status",
        "_takes_timeout",
        "_tried",
        "_waiting",
    )

    def __init__(self, context: Forwarder, downstream: IDownstream) -> None:
        self._context = context
        self._downstream = downstream
        self._facts = facts = downstream.facts
        path = paths.path_of(facts.target)
        self._read = paths.is_read(facts.method, path)
        self._began = context.clock.seconds()
        self._takes_timeout = timeouts.takes_timeout(path)
        asked = timeouts.asked(facts) if self._takes_timeout else None
        longest = context.settings.request_timeout
        self._asked_until = self._began + (longest if asked is None else min(asked, longest))
        self._deadline = self._began + (longest if asked is None else min(asked + GRACE_S, longest))
        self._running: list[Attempt] = []
        self._started = 0
        self._tried: list[Backend] = []
        self._crashes = 0
        self._renewed = False
        self._by_affinity = ""
        self._last_why = ""
        self._maybe_done = False
        self._given_up: tuple[str, str] | None = None
        self._served_by: Backend | None = None
        self._status = 0
        self._response: IResponse | None = None
        self._delivering: Attempt | None = None
        self._waiting: Deferred[Selection] | None = None
        self._gone = False
        self._ended = False

    def start(self) -> None:
        """Make the first attempt, after the first selection round if need be."""
        context = self._context
        context.metrics.request_began()
        context.budget.deposit()
        context.watch.add(self)
        selection = context.selections.current
        try:
            if selection.ranked:
                self._first(selection)
            else:
                self._wait(context.selections.ready(), self._first)
        except Exception:
            self._stopped(Failure())

    def client_gone(self) -> None:
        """
        Stop: the client has hung up. Its upstream requests are aborted, and that counts against nobody.

        Why it ends is remembered before anything is cancelled; no exception is asked for it later.
        """
        if self._ended:
            return
        self._gone = True
        if self._running:
            self._served_by = self._running[-1].backend
        self._stop_waiting()
        if self._response is not None:
            self._response.cancel()
        self._end(CLIENT_GONE)

    def draining(self) -> None:
        """Break off an event stream, which would not end by itself; its client connects anew, elsewhere."""
        response = self._response
        if response is not None and not policy.may_hold(response.status, response.headers):
            self._downstream.abort()

    # Choosing

    def _wait(self, selection: Deferred[Selection], then: Callable[[Selection], None]) -> None:
        """Go on with the Selection when it comes, or with the one in force when it takes too long."""

        def too_late(result: object, timeout: float) -> Selection:
            return self._context.selections.current

        self._waiting = selection
        selection.addTimeout(SELECTION_WAIT_S, self._context.clock, onTimeoutCancel=too_late)
        selection.addCallback(then)
        selection.addErrback(self._stopped)

    def _first(self, selection: Selection) -> None:
        context = self._context
        preferred, self._by_affinity = context.affinity.preferred(self._facts, selection, self._began)
        self._attempt_or_give_up(policy.choose(selection, preferred, (), context.rng))

    def _again(self, selection: Selection) -> None:
        """Choose once more, after a round that began when all known backends had failed this request."""
        self._renewed = True
        self._attempt_or_give_up(policy.choose(selection, None, self._tried, self._context.rng, renewed=True))

    def _attempt_or_give_up(self, backend: Backend | None) -> None:
        self._waiting = None
        if self._ended:
            return
        if backend is None:
            self._give_up()
        else:
            self._attempt(backend)

    # Attempting

    def _attempt(self, backend: Backend) -> None:
        context = self._context
        if self._given_up is not None:
            context.metrics.retried(*self._given_up)
            self._given_up = None
        attempt = Attempt(backend, context.clock.seconds())
        self._started += 1
        self._running.append(attempt)
        self._send(attempt, fresh=not self._read)

    def _send(self, attempt: Attempt, *, fresh: bool) -> None:
        context, facts, backend = self._context, self._facts, attempt.backend
        if self._takes_timeout and self._read and not context.settings.no_timeout_parameter:
            left = self._deadline - attempt.sent_at
            facts = timeouts.limited(facts, left - min(_MARGIN_S, left * _MARGIN_SHARE))
        answer = attempt.answer = context.upstreams.send(
            backend,
            headers.request_head(facts, backend, paths.with_prefix(backend.prefix, facts.target)),
            facts.body,
            fresh=fresh,
            hold=context.settings.response_buffer,
            may_hold=policy.may_hold,
            progress=attempt,
        )
        answer.addCallbacks(self._answered, self._failed, callbackArgs=(attempt,), errbackArgs=(attempt,))
        answer.addErrback(self._stopped)

    def _answered(self, response: IResponse, attempt: Attempt) -> None:
        attempt.answer = None
        self._running.remove(attempt)
        context, backend = self._context, attempt.backend
        context.metrics.upstream_answered(backend.name, context.clock.seconds() - attempt.sent_at)
        if response.status < 400:
            context.selections.answered(backend)
            self._deliver(response, attempt)
            return
        verdict = policy.judge_answer(response.status, response.headers, b"".join(response.held))
        if verdict is policy.ANSWERED or not self._read:
            self._deliver(response, attempt)
            return
        self._report(attempt, verdict, f"answered {response.status}")
        if self._may_go_on(attempt, verdict):
            response.cancel()
            self._next()
        elif self._running or verdict.mask:
            # Another attempt may do better; and some answers are of no use to a client.
            response.cancel()
            self._give_up()
        else:
            self._deliver(response, attempt)

    def _failed(self, failure: Failure, attempt: Attempt) -> None:
        attempt.answer = None
        if attempt not in self._running:
            # Cancelled: the client is gone, or another attempt was faster.
            if not failure.check(CancelledError):
                _log.failure("Bug: an attempt that was given up failed", failure)
            return
        failure.trap(UpstreamError)
        error = failure.value
        assert isinstance(error, UpstreamError)
        if error.stale:
            attempt.was_stale = True
            self._send(attempt, fresh=True)
        else:
            self._running.remove(attempt)
            self._lost(attempt, error)

    def _lost(self, attempt: Attempt, error: UpstreamError) -> None:
        """Go on after an attempt that brought no usable answer."""
        verdict = policy.judge_failure(error)
        # A kept connection that broke and a server that is not there any more make one crash.
        self._crashes += verdict.crash or attempt.was_stale
        self._maybe_done = self._maybe_done or not (self._read or verdict.resend)
        self._report(attempt, verdict, str(error))
        if self._may_go_on(attempt, verdict):
            self._next()
        else:
            self._give_up()

    def _report(self, attempt: Attempt, verdict: Verdict, why: str) -> None:
        backend = attempt.backend
        self._last_why = f"{backend.name}: {why}"
        _log.debug(
            "attempt {attempts} of {method} {target} on {why}: {reason}",
            attempts=self._started,
            method=self._facts.method,
            target=self._facts.target[:200],
            why=self._last_why,
            reason=verdict.reason,
        )
        if verdict.standing is not None:
            self._context.selections.report(backend, verdict.standing, why)

    def _may_go_on(self, attempt: Attempt, verdict: Verdict) -> bool:
        """Decide whether to try another backend, and note it."""
        context = self._context
        self._tried.append(attempt.backend)
        go_on = policy.may_retry(
            verdict, read=self._read, attempts=self._started, retries=context.settings.retries, crashes=self._crashes
        )
        if go_on and verdict.busy:
            go_on = self._is_worth_it()
        # Where nothing was sent, nobody had any work from it.
        if go_on and not verdict.resend:
            go_on = self._afford()
        if go_on:
            self._given_up = (attempt.backend.name, verdict.reason)
        return go_on

    def _is_worth_it(self) -> bool:
        """Tell whether it may help to leave a busy server: there is time, and somebody else with less to do."""
        context = self._context
        selection = context.selections.current
        backend = policy.choose(selection, None, self._tried, context.rng)
        return backend is not None and not selection.is_busy(backend) and context.clock.seconds() < self._asked_until

    def _afford(self) -> bool:
        context = self._context
        if context.budget.take(context.clock.seconds()):
            return True
        context.metrics.retry_budget_exhausted()
        return False

    def _next(self) -> None:
        """Try the next untried backend at once, or the next selection's when all were tried."""
        context = self._context
        busy = [*self._tried, *(attempt.backend for attempt in self._running)] if self._running else self._tried
        backend = policy.choose(context.selections.current, None, busy, context.rng)
        if backend is not None:
            self._attempt(backend)
        elif self._running or self._renewed:
            self._give_up()
        else:
            self._wait(context.selections.reselect(), self._again)

    # Waiting

    def tick(self) -> None:
        """Look after what takes long: once for each tick of `mpp.forward.watch`."""
        context = self._context
        try:
            if self._delivering is not None:
                self._look_after_delivery(self._delivering)
            elif context.clock.seconds() >= self._deadline:
                self._too_late()
            else:
                for attempt in tuple(self._running):
                    self._look_after(attempt)
        except Exception:
            self._stopped(Failure())

    def _look_after(self, attempt: Attempt) -> None:
        context = self._context
        quiet = attempt.tick()
        if attempt.received and attempt.silent >= context.stall_ticks:
            self._stalled(attempt)
        elif attempt.overtaken or not self._read or attempt not in self._running:
            pass
        elif quiet:
            sign = context.suspicions.sign(attempt.backend, quiet)
            if sign is Sign.STUCK:
                self._overtake(attempt, "stuck")
            elif sign is Sign.ALIVE:
                attempt.trust()
        if 0 < context.settings.hedge_after <= context.clock.seconds() - attempt.sent_at and self._started == 1:
            self._overtake(attempt, "slow")

    def _overtake(self, attempt: Attempt, reason: str) -> None:
        """Hedge: make another attempt beside one that takes too long, if there is a usable backend for it."""
        context = self._context
        if attempt.overtaken or not self._read or self._started > context.settings.retries:
            return
        busy = [*self._tried, *(each.backend for each in self._running)]
        backend = policy.choose(context.selections.current, None, busy, context.rng)
        if backend is None or not context.selections.current.is_usable(backend) or not self._afford():
            # Perhaps there is one later.
            attempt.trust()
            return
        attempt.overtaken = True
        context.metrics.hedged(attempt.backend.name, reason)
        self._attempt(backend)

    def _stalled(self, attempt: Attempt) -> None:
        """Give up an answer that has begun and does not go on."""
        self._running.remove(attempt)
        attempt.cancel()
        self._lost(attempt, self._silence())

    def _silence(self) -> UpstreamError:
        return UpstreamError(Phase.BODY, Cause.TIMEOUT, f"silent for {self._context.settings.stall_timeout:g} s")

    def _look_after_delivery(self, attempt: Attempt) -> None:
        """Break off an answer whose rest does not come, unless it is the client who does not take it."""
        response = self._response
        assert response is not None
        attempt.tick()
        if response.paused:
            attempt.silent = 0
        elif attempt.silent >= self._context.stall_ticks:
            response.cancel()
            self._delivered(self._silence())
            self._downstream.abort()

    def _too_late(self) -> None:
        asked = ", ".join(attempt.backend.name for attempt in self._running)
        why = f"{asked} did not answer" if asked else self._last_why or "no Prometheus server is known"
        took = self._deadline - self._began
        if self._read:
            self._fail(504, "timeout", f"no answer within {took:g} s: {why}", None)
        else:
            self._fail(504, "timeout", f"no answer within {took:g} s, the request may have been carried out: {why}", None)
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        """Give up all attempts, and the wait for a selection."""
        running, self._running = self._running, []
        for attempt in running:
            attempt.cancel()
        if self._waiting is not None:
            self._waiting.cancel()

    # Ending

    def _deliver(self, response: IResponse, attempt: Attempt) -> None:
        """Pass the answer on; whoever else was asked need not answer any more."""
        context, backend = self._context, attempt.backend
        if self._running:
            self._stop_waiting()
        self._status = response.status
        self._response = response
        self._served_by = backend
        self._delivering = attempt
        if response.complete or not policy.may_hold(response.status, response.headers):
            # All is here, or it has no end.
            context.watch.discard(self)
        if self._by_affinity and self._started == 1:
            context.metrics.affinity_hit(self._by_affinity)
        cookies = context.affinity.remember(self._facts, backend, self._began)
        self._downstream.deliver(response, backend, cookies, self._started, self._delivered)

    def _delivered(self, error: Exception | None) -> None:
        attempt, self._delivering = self._delivering, None
        self._response = None
        if self._ended:
            return
        if isinstance(error, UpstreamError) and attempt is not None:
            self._context.metrics.truncated(attempt.backend.name)
            self._report(attempt, policy.judge_failure(error), str(error))
            _log.warn("answer of {why} broke off after its first bytes had gone out", why=self._last_why)
        self._end(self._status)

    def _give_up(self) -> None:
        """Answer for all backends: none could. Unless one is still being asked."""
        if self._running:
            return
        known = self._context.selections.current.ranked
        if not known and not self._started:
            self._fail(503, "unavailable", "no Prometheus server is known; see /mpp/status", RETRY_AFTER_S)
            return
        last = f"last: {self._last_why}"
        if self._maybe_done:
            message = f"the request may have been carried out, its answer is lost; it is not repeated; {last}"
            self._fail(502, "unavailable", message, None)
        elif self._crashes >= 2:
            message = f"{self._crashes} servers broke off under this request; it is not tried on another; {last}"
            self._fail(502, "unavailable", message, None)
        else:
            message = f"no Prometheus server could answer, tried {self._started}; {last}"
            self._fail(503, "unavailable", message, RETRY_AFTER_S)

    def _fail(self, status: int, error_type: str, message: str, retry_after: int | None) -> None:
        self._served_by = None
        self._downstream.fail(status, error_type, message, retry_after)
        self._end(status)

    def _stopped(self, failure: Failure) -> None:
        """The outermost errback: a client that went away while we waited, or a bug, which must not leave it hanging."""
        if (self._gone or self._ended) and failure.check(CancelledError):
            return
        _log.failure(
            "request {method} {target} failed", failure=failure, method=self._facts.method, target=self._facts.target[:200]
        )
        if self._ended:
            return
        if self._response is None:
            self._fail(500, "internal", "internal error of mpp, see its log", None)
        else:
            self._served_by = None
            self._downstream.abort()
            self._end(500)
        self._stop_waiting()

    def _end(self, code: int) -> None:
        context = self._context
        self._ended = True
        context.watch.discard(self)
        name = self._served_by.name if self._served_by is not None else OWN
        context.metrics.request_ended(name, code, context.clock.seconds() - self._began)
