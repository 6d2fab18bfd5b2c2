"""
Carries one client request to a backend and its answer back, with retries on other backends.

An `Exchange` lives as long as one request. It decides nothing itself: which backend, whether to retry and what an outcome
means is `mpp.policy`; how bytes move is `mpp.wire`; whether the world has changed is told to, and asked of, `ISelections`.

::

    start ── no selection yet: wait for the first round, bounded
      └─ attempt(backend) ──────────────── answered, usable → deliver → done
           ^    │ failed, or an answer that blames the server
           │    ├─ stale kept connection → the same backend, a fresh one, not counted
           │    ├─ an untried backend is left → at once; the standing is reported, a new selection is made beside it
           └────┴─ none left → wait for the new selection once, bounded → whoever it selects, else give up
"""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from txaio import tx

from mpp import headers, paths, policy
from mpp.affinity import AffinityChain
from mpp.errors import UpstreamError
from mpp.interfaces import IDownstream, IResponse, ISelections, IUpstreams
from mpp.metrics import OWN, Metrics
from mpp.model import Backend, Selection
from mpp.policy import Verdict
from mpp.settings import Settings

_log = tx.make_logger()

# Longer than a slow first round takes (locating 3 s, DNS 2 s, probes 1 s, a large metrics page 3 s), shorter than the
# patience of Grafana (60 s) and of most scripts.
SELECTION_WAIT_S = 10.0
# What a client is told to wait before it asks again (Retry-After): by then a round has passed.
RETRY_AFTER_S = 5
# What the status would be had the client waited (nginx' convention; it is only counted and logged).
CLIENT_GONE = 499


@frozen
class Forwarder:
    """
    What all exchanges share.

    :ivar clock: for durations and waits, monotonic.
    :ivar rng: picks among several selected backends.
    """

    upstreams: IUpstreams
    selections: ISelections
    affinity: AffinityChain
    metrics: Metrics
    settings: Settings
    clock: IReactorTime
    rng: random.Random

    def forward(self, downstream: IDownstream) -> Exchange:
        """Start answering a request; the Exchange tells when the client goes away."""
        exchange = Exchange(self, downstream)
        exchange.start()
        return exchange


class Exchange:
    """One client request, from its last byte to the last byte of its answer."""

    __slots__ = (
        "_attempts",
        "_began",
        "_by_affinity",
        "_context",
        "_crashes",
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
        "_sent_at",
        "_served_by",
        "_status",
        "_tried",
        "_waiting",
        "_was_stale",
    )

    def __init__(self, context: Forwarder, downstream: IDownstream) -> None:
        self._context = context
        self._downstream = downstream
        self._facts = downstream.facts
        self._read = paths.is_read(self._facts.method, paths.path_of(self._facts.target))
        self._began = context.clock.seconds()
        self._tried: list[Backend] = []
        self._attempts = 0
        self._crashes = 0
        self._renewed = False
        self._was_stale = False
        self._by_affinity = ""
        self._last_why = ""
        self._maybe_done = False
        self._given_up: tuple[str, str] | None = None
        self._served_by: Backend | None = None
        self._status = 0
        self._response: IResponse | None = None
        self._waiting: Deferred[IResponse] | Deferred[Selection] | None = None
        self._gone = False
        self._ended = False

    def start(self) -> None:
        """Make the first attempt, after the first selection round if need be."""
        self._context.metrics.request_began()
        selection = self._context.selections.current
        try:
            if selection.ranked:
                self._first(selection)
            else:
                self._wait(self._context.selections.ready(), self._first)
        except Exception:
            self._stopped(Failure())

    def client_gone(self) -> None:
        """
        Stop: the client has hung up. Its upstream request is aborted, and that counts against nobody.

        Why it ends is remembered before anything is cancelled; no exception is asked for it later.
        """
        if self._ended:
            return
        self._gone = True
        if self._waiting is not None:
            self._waiting.cancel()
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
        if backend is None:
            self._give_up()
        else:
            self._attempt(backend, fresh=not self._read)

    # Attempting

    def _attempt(self, backend: Backend, *, fresh: bool) -> None:
        context = self._context
        target = paths.with_prefix(backend.prefix, self._facts.target)
        if self._given_up is not None:
            context.metrics.retried(*self._given_up)
            self._given_up = None
        self._served_by = backend
        self._sent_at = context.clock.seconds()
        answer = context.upstreams.send(
            backend,
            headers.request_head(self._facts, backend, target),
            self._facts.body,
            fresh=fresh,
            hold=context.settings.response_buffer,
            may_hold=policy.may_hold,
        )
        self._waiting = answer
        answer.addCallbacks(self._answered, self._failed)
        answer.addErrback(self._stopped)

    def _answered(self, response: IResponse) -> None:
        self._waiting = None
        backend = self._served_by
        assert backend is not None
        self._context.metrics.upstream_answered(backend.name, self._context.clock.seconds() - self._sent_at)
        if response.status < 400:
            self._deliver(response, backend)
            return
        verdict = policy.judge_answer(response.status, response.headers, b"".join(response.held))
        if verdict is policy.ANSWERED or not self._read:
            self._deliver(response, backend)
            return
        self._was_stale = False
        self._attempts += 1
        self._report(backend, verdict, f"answered {response.status}")
        if not self._retry(backend, verdict):
            self._exhausted_with(response, backend, verdict)
            return
        response.cancel()
        self._next()

    def _failed(self, failure: Failure) -> None:
        self._waiting = None
        if self._gone and failure.check(CancelledError):
            return
        failure.trap(UpstreamError)
        error = failure.value
        assert isinstance(error, UpstreamError)
        backend = self._served_by
        assert backend is not None
        if error.stale:
            self._was_stale = True
            self._attempt(backend, fresh=True)
            return
        verdict = policy.judge_failure(error)
        self._attempts += 1
        # A kept connection that broke and a server that is not there any more make one crash.
        self._crashes += verdict.crash or self._was_stale
        self._was_stale = False
        self._maybe_done = self._maybe_done or not (self._read or verdict.resend)
        self._report(backend, verdict, str(error))
        if self._retry(backend, verdict):
            self._next()
        else:
            self._give_up()

    def _report(self, backend: Backend, verdict: Verdict, why: str) -> None:
        self._last_why = f"{backend.name}: {why}"
        _log.debug(
            "attempt {attempts} of {method} {target} on {why}: {reason}",
            attempts=self._attempts,
            method=self._facts.method,
            target=self._facts.target[:200],
            why=self._last_why,
            reason=verdict.reason,
        )
        if verdict.standing is not None:
            self._context.selections.report(backend, verdict.standing, why)

    def _retry(self, backend: Backend, verdict: Verdict) -> bool:
        """Decide whether to go on elsewhere, and note it."""
        self._tried.append(backend)
        go_on = policy.may_retry(
            verdict,
            read=self._read,
            attempts=self._attempts,
            retries=self._context.settings.retries,
            crashes=self._crashes,
        )
        if go_on:
            self._given_up = (backend.name, verdict.reason)
        return go_on

    def _next(self) -> None:
        """Try the next untried backend at once, or the next selection's when all were tried."""
        selections = self._context.selections
        backend = policy.choose(selections.current, None, self._tried, self._context.rng)
        if backend is not None:
            self._attempt(backend, fresh=not self._read)
        elif self._renewed:
            self._give_up()
        else:
            self._wait(selections.reselect(), self._again)

    # Ending

    def _deliver(self, response: IResponse, backend: Backend) -> None:
        context = self._context
        self._status = response.status
        self._response = response
        if self._by_affinity and not self._tried:
            context.metrics.affinity_hit(self._by_affinity)
        cookies = context.affinity.remember(self._facts, backend, self._began)
        self._downstream.deliver(response, backend, cookies, self._delivered)

    def _delivered(self, error: Exception | None) -> None:
        self._response = None
        if self._ended:
            return
        if isinstance(error, UpstreamError) and self._served_by is not None:
            self._context.metrics.truncated(self._served_by.name)
            self._report(self._served_by, policy.judge_failure(error), str(error))
            _log.warn("answer of {why} broke off after its first bytes had gone out", why=self._last_why)
        self._end(self._status)

    def _exhausted_with(self, response: IResponse, backend: Backend, verdict: Verdict) -> None:
        """Pass on the last server's own words where a client can use them, else say it in ours."""
        if not verdict.mask:
            self._deliver(response, backend)
            return
        response.cancel()
        self._give_up()

    def _give_up(self) -> None:
        """Answer for all backends: none could."""
        known = self._context.selections.current.ranked
        self._served_by = None
        if not known and not self._attempts:
            self._fail(503, "no Prometheus server is known; see /mpp/status", RETRY_AFTER_S)
        elif self._maybe_done:
            self._fail(
                502, f"the request may have been carried out, its answer is lost; it is not repeated: {self._last_why}", None
            )
        elif self._crashes >= 2:
            self._fail(
                502, f"{self._crashes} servers broke off under this request; it is not tried on another: {self._last_why}", None
            )
        else:
            self._fail(503, f"no Prometheus server could answer, tried {self._attempts}; last: {self._last_why}", RETRY_AFTER_S)

    def _fail(self, status: int, message: str, retry_after: int | None) -> None:
        self._downstream.fail(status, "unavailable", message, retry_after)
        self._end(status)

    def _stopped(self, failure: Failure) -> None:
        """The outermost errback: a client that went away while we waited, or a bug, which must not leave it hanging."""
        if self._gone and failure.check(CancelledError):
            return
        _log.failure(
            "request {method} {target} failed", failure=failure, method=self._facts.method, target=self._facts.target[:200]
        )
        if self._ended:
            return
        self._served_by = None
        if self._response is None:
            self._fail(500, "internal error of mpp, see its log", None)
        else:
            self._downstream.abort()
            self._end(500)

    def _end(self, code: int) -> None:
        self._ended = True
        took = self._context.clock.seconds() - self._began
        name = self._served_by.name if self._served_by is not None else OWN
        self._context.metrics.request_ended(name, code, took)
