"""
Has one request answered: attempts on one backend after the other, beside each other where one is stuck.

It decides nothing itself: which backend, whether to retry and what an outcome means is `mpp.policy`; how bytes move is
`mpp.wire`; whether the world has changed is told to, and asked of, `ISelections`; whether a silent server is still there is asked
of `mpp.forward.suspicion`.

::

    start ── no selection yet: wait for the first round, bounded
      └─ attempt(backend) ──────────────── answered, usable → cancel the other attempts → deliver
           ^    │ failed, or an answer that blames the server
           │    ├─ stale kept connection → the same backend, a fresh one, not counted
           │    ├─ an untried backend is left → at once; the standing is reported, a new selection is made beside it
           │    ├─ another attempt still runs → wait for that one
           ├────┴─ none left → wait for the new selection once, bounded → whoever it selects, else refuse
           └── tick: no progress, and the server shows no sign of life → another attempt beside this one
    deadline ── nothing to deliver by then → refuse
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import CancelledError, Deferred
from txaio import tx

from mpp import placement, policy
from mpp.errors import Cause, Phase, UpstreamError
from mpp.forward import refusal
from mpp.forward.attempt import Attempt
from mpp.forward.setbacks import Setbacks
from mpp.forward.suspicion import Sign

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from mpp.forward.forwarder import Forwarder
    from mpp.forward.refusal import Refusal
    from mpp.forward.terms import Terms
    from mpp.interfaces import IResponse
    from mpp.model import Backend, Selection
    from mpp.policy import Verdict

_log = tx.make_logger()

# Longer than a slow first round takes (locating 3 s, DNS 2 s, probes 1 s, a large metrics page 3 s), shorter than the
# patience of Grafana (60 s) and of most scripts.
SELECTION_WAIT_S = 10.0


class Owner(Protocol):
    """Whom the answer is for: an `mpp.forward.exchange.Exchange`."""

    @property
    def ended(self) -> bool:
        """Nobody waits any more."""

    def deliver(self, response: IResponse, attempt: Attempt, attempts: int, affinity: str, /) -> None:
        """Take the answer over."""

    def refuse(self, why: Refusal, /) -> None:
        """There is no answer."""

    def failed(self, failure: Failure, /) -> None:
        """There is a bug."""


class Attempts:
    """All attempts to have one request answered. Ends with one call of its owner's, unless it is cancelled before."""

    __slots__ = (
        "_by_affinity",
        "_context",
        "_owner",
        "_running",
        "_setbacks",
        "_started",
        "_terms",
        "_waiting",
        "whys",
    )

    def __init__(self, context: Forwarder, terms: Terms, owner: Owner) -> None:
        self._context = context
        self._terms = terms
        self._owner = owner
        self._running: list[Attempt] = []
        self._started = 0
        self._setbacks: Setbacks | None = None
        self._by_affinity = ""
        self.whys: tuple[str, ...] = ()
        """Why there was more than one attempt, or none that was any good; one line each."""
        self._waiting: Deferred[Selection] | None = None

    def start(self) -> None:
        """Make the first attempt, after the first selection round if need be."""
        selections = self._context.selections
        selection = selections.current
        if selection.ranked:
            self._first(selection)
        else:
            self._wait(selections.ready(), self._first)

    def cancel(self) -> None:
        """Give up all attempts, and the wait for a selection. Only when the owner has ended, or has its answer."""
        running, self._running = self._running, []
        for attempt in running:
            attempt.cancel()
        if self._waiting is not None:
            self._waiting.cancel()
        if self._setbacks is not None:
            self._setbacks.forget_reserve()

    @property
    def started(self) -> int:
        """How many attempts were made."""
        return self._started

    @property
    def latest(self) -> Backend | None:
        """The backend that was asked last and has not answered."""
        return self._running[-1].backend if self._running else None

    def client(self) -> str:
        """Return the address of the client, as the access log shows it."""
        return self._context.client_address(self._terms.facts)

    # Choosing

    def _wait(self, selection: Deferred[Selection], then: Callable[[Selection], None]) -> None:
        """Go on with the Selection when it comes, or with the one in force when it takes too long."""

        def too_late(result: object, timeout: float) -> Selection:
            return self._context.selections.current

        self._waiting = selection
        selection.addTimeout(SELECTION_WAIT_S, self._context.clock, onTimeoutCancel=too_late)
        selection.addCallback(then)
        selection.addErrback(self.stopped)

    def _first(self, selection: Selection) -> None:
        context = self._context
        preferred, self._by_affinity = context.affinity.preferred(self._terms.facts, selection, self._terms.began)
        self._attempt_or_refuse(policy.choose(selection, preferred, (), context.rng))

    def _again(self, selection: Selection) -> None:
        """Choose once more, after a round that began when all known backends had failed this request."""
        setbacks = self._so_far()
        setbacks.renewed = True
        self._attempt_or_refuse(policy.choose(selection, None, setbacks.tried, self._context.rng, renewed=True))

    def _attempt_or_refuse(self, backend: Backend | None) -> None:
        self._waiting = None
        if self._owner.ended:
            return
        if backend is None:
            self._refuse()
        else:
            self._attempt(backend)

    # Attempting

    def _attempt(self, backend: Backend) -> None:
        context = self._context
        setbacks = self._setbacks
        if setbacks is not None and setbacks.given_up is not None:
            context.metrics.retried(*setbacks.given_up)
            setbacks.given_up = None
        attempt = Attempt(self, backend, context.clock.seconds())
        self._started += 1
        self._running.append(attempt)
        attempt.send(context, self._terms, fresh=not self._terms.read)

    def answered(self, attempt: Attempt, response: IResponse) -> None:
        """Deliver an answer, or go on elsewhere if it blames the server."""
        self._running.remove(attempt)
        context, backend = self._context, attempt.backend
        attempt.took = context.clock.seconds() - attempt.sent_at
        context.metrics.upstream_answered(backend.name, attempt.took)
        if response.status < 400:
            context.selections.answered(backend)
            self._deliver(response, attempt)
            return
        verdict = policy.judge_answer(response.status, response.headers, b"".join(response.held))
        if verdict is policy.ANSWERED or not self._terms.read:
            context.selections.answered(backend)
            self._deliver(response, attempt)
            return
        self.report(attempt, verdict, f"answered {response.status}")
        setbacks = self._so_far()
        setbacks.tried.append(backend)
        if self._may_go_on(attempt, verdict, setbacks):
            if verdict.busy and response.complete:
                setbacks.keep(response, attempt)
            else:
                response.cancel()
            self._next(setbacks)
        elif self._running or verdict.mask:
            # Another attempt may do better; and some answers are of no use to a client.
            response.cancel()
            self._refuse()
        else:
            self._deliver(response, attempt)

    def lost(self, attempt: Attempt, error: UpstreamError) -> None:
        """Go on after an attempt that brought no usable answer."""
        self._running.remove(attempt)
        setbacks = self._so_far()
        verdict = setbacks.failed(attempt, error, read=self._terms.read)
        self.report(attempt, verdict, str(error))
        if self._may_go_on(attempt, verdict, setbacks):
            self._next(setbacks)
        else:
            self._refuse()

    def _so_far(self) -> Setbacks:
        if self._setbacks is None:
            self._setbacks = Setbacks()
        return self._setbacks

    def report(self, attempt: Attempt, verdict: Verdict, why: str) -> str:
        """Tell the world what an outcome says about a backend; give it in one line."""
        backend = attempt.backend
        line = self._so_far().last_why = f"{backend.name}: {why}"
        self.whys += (line,)
        _log.debug(
            "attempt {attempts} of {method} {target} on {why}: {reason}",
            attempts=self._started,
            method=self._terms.facts.method.decode("latin-1"),
            target=self._terms.facts.target[:200].decode("latin-1"),
            why=line,
            reason=verdict.reason,
        )
        if verdict.standing is not None:
            self._context.selections.report(backend, verdict.standing, why)
        return line

    def _may_go_on(self, attempt: Attempt, verdict: Verdict, setbacks: Setbacks) -> bool:
        """Decide whether to try another backend, and note it."""
        context = self._context
        go_on = setbacks.may_go_on(verdict, read=self._terms.read, attempts=self._started, retries=context.settings.retries)
        if go_on and verdict.busy:
            # It helps only if there is somebody with less to do.
            selection = context.selections.current
            backend = policy.choose(selection, None, setbacks.tried, context.rng)
            go_on = backend is not None and not selection.is_busy(backend)
        # Where nothing was sent, nobody had any work from it.
        if go_on and not verdict.resend:
            go_on = self._afford("retry")
        if go_on:
            setbacks.given_up = (attempt.backend.name, verdict.reason)
        return go_on

    def _afford(self, what: str) -> bool:
        context = self._context
        if context.budget.take(context.clock.seconds()):
            return True
        context.metrics.retry_budget_exhausted(what)
        _log.debug(
            "no {what} of {target}: the retry budget is used up",
            what=what,
            target=self._terms.facts.target[:200].decode("latin-1"),
        )
        return False

    def _busy(self) -> list[Backend]:
        """Give the backends that need not be asked: they failed, or are being asked."""
        tried = self._setbacks.tried if self._setbacks is not None else []
        return [*tried, *(attempt.backend for attempt in self._running)]

    def _next(self, setbacks: Setbacks) -> None:
        """Try the next untried backend at once, or the next selection's when all were tried."""
        context = self._context
        backend = policy.choose(context.selections.current, None, self._busy(), context.rng)
        if backend is not None:
            self._attempt(backend)
        elif self._running or setbacks.renewed:
            self._refuse()
        else:
            self._wait(context.selections.reselect(), self._again)

    # Waiting

    def tick(self) -> None:
        """Look after what takes long."""
        if self._context.clock.seconds() >= self._terms.deadline:
            self._too_late()
            return
        for attempt in tuple(self._running):
            self._look_after(attempt)

    def _look_after(self, attempt: Attempt) -> None:
        context = self._context
        quiet = attempt.tick()
        if attempt.received and attempt.silent >= context.stall_ticks:
            self._stalled(attempt)
        elif quiet and not attempt.overtaken and attempt in self._running:
            self._doubt(attempt, quiet)
        if 0 < context.settings.hedge_after <= context.clock.seconds() - attempt.sent_at and self._started == 1:
            self._overtake(attempt, "slow")

    def _doubt(self, attempt: Attempt, quiet: int) -> None:
        """Move a request that waits for a slot; have another one sent beside this one if its server is stuck."""
        if (attempt.queued and self._move(attempt)) or not self._terms.read:
            return
        sign = self._context.suspicions.sign(attempt.backend, quiet)
        if sign is Sign.STUCK:
            self._overtake(attempt, "stuck")
        elif sign is Sign.ALIVE:
            attempt.trust()

    def _move(self, attempt: Attempt) -> bool:
        """Send a request that waits for a slot to a server that has one, see `mpp.placement`; return whether there is any."""
        context, terms = self._context, self._terms
        selection = context.selections.current

        def has_room(backend: Backend) -> bool:
            return context.upstreams.has_room(backend, query_slots=terms.query_slots(selection, backend))

        backend = placement.elsewhere(selection, attempt.backend, self._busy(), has_room, query=terms.query)
        if backend is None:
            return False
        context.metrics.moved(attempt.backend.name)
        self.whys += (f"{attempt.backend.name}: no free slot",)
        self._by_affinity = ""
        attempt.move(backend, context, terms)
        return True

    def _overtake(self, attempt: Attempt, reason: str) -> None:
        """Hedge: make another attempt beside one that takes too long, if there is a usable backend for it."""
        context = self._context
        if attempt.overtaken or not self._terms.read or self._started > context.settings.retries:
            return
        backend = policy.choose(context.selections.current, None, self._busy(), context.rng)
        if backend is None or not context.selections.current.is_usable(backend) or not self._afford("hedge"):
            # Perhaps there is one later.
            attempt.trust()
            return
        attempt.overtaken = True
        context.metrics.hedged(attempt.backend.name, reason)
        self.whys += (f"{attempt.backend.name}: {reason}",)
        _log.debug(
            "hedge of {target}: {slow} is {reason}, {backend} is asked as well",
            target=self._terms.facts.target[:200].decode("latin-1"),
            slow=attempt.backend.name,
            reason=reason,
            backend=backend.name,
        )
        self._attempt(backend)

    def _stalled(self, attempt: Attempt) -> None:
        """Give up an answer that has begun and does not go on."""
        attempt.cancel()
        self.lost(attempt, silence(self._context.settings.stall_timeout))

    # Ending

    def _too_late(self) -> None:
        setbacks = self._so_far()
        if setbacks.reserve is not None:
            self._deliver(*setbacks.reserve)
            return
        asked = ", ".join(attempt.backend.name for attempt in self._running)
        why = f"{asked} did not answer" if asked else setbacks.last_why or "no Prometheus server is known"
        terms = self._terms
        self._owner.refuse(refusal.too_late(terms.deadline - terms.began, why, read=terms.read))
        self.cancel()

    def _deliver(self, response: IResponse, attempt: Attempt) -> None:
        """Hand the answer over; whoever else was asked need not answer any more."""
        setbacks = self._setbacks
        if setbacks is not None and setbacks.reserve is not None and setbacks.reserve[0] is response:
            setbacks.reserve = None
        if self._running or setbacks is not None:
            self.cancel()
        self._owner.deliver(response, attempt, self._started, self._by_affinity if self._started == 1 else "")

    def _refuse(self) -> None:
        """Say that nobody could answer. Unless one is still being asked."""
        if self._running:
            return
        setbacks = self._so_far()
        if setbacks.reserve is not None:
            self._deliver(*setbacks.reserve)
        elif not self._started and not self._context.selections.current.ranked:
            self._owner.refuse(refusal.UNKNOWN)
        else:
            self._owner.refuse(setbacks.refusal(self._started))

    def stopped(self, failure: Failure) -> None:
        """The outermost errback: somebody who went away while we waited, or a bug."""
        if not (self._owner.ended and failure.check(CancelledError)):
            self._owner.failed(failure)


def silence(seconds: float) -> UpstreamError:
    """Give the failure of an answer that has begun and does not go on."""
    return UpstreamError(Phase.BODY, Cause.TIMEOUT, f"silent for {seconds:g} s")
