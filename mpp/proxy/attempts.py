"""
Has one request answered: attempts on one backend after the other, beside each other where one is stuck.

It decides nothing itself: which backend and whether to retry is `mpp.proxy.decisions.retry_policy`, what a response means
`mpp.core.prometheus.responses`; how bytes move is `mpp.wire`; whether the world has changed is told to, and asked of,
`ISelections`; attempts that take long are looked after by `mpp.proxy.hedging`.

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
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from txaio import tx

from mpp.core.prometheus.own_requests import check_sender
from mpp.proxy import crashes, evidence, hedging, placing
from mpp.proxy import local_replies as refusal
from mpp.proxy.attempt import Attempt
from mpp.proxy.decisions import retry_policy as policy
from mpp.proxy.retry_state import Setbacks

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from mpp.core.errors import UpstreamError
    from mpp.core.interfaces import IResponse
    from mpp.core.model import Backend, Selection
    from mpp.proxy.callbacks import Owner
    from mpp.proxy.decisions.request_deadline import Terms
    from mpp.proxy.decisions.retry_policy import Verdict
    from mpp.proxy.forwarder import Forwarder

_log = tx.make_logger()


class Attempts:
    """
    All attempts to have one request answered. Ends with one call of its owner's, unless it is cancelled before.

    :ivar running: the attempts under way, in the order in which they began.
    :ivar started: how many attempts were made.
    :ivar setbacks: what has gone wrong so far; None as long as nothing has.
    :ivar by_affinity: the affinity that chose the server of the first attempt, or empty.
    :ivar whys: why there was more than one attempt, or none that was any good; one line each.
    """

    __slots__ = (
        "_context",
        "_owner",
        "_terms",
        "_waiting",
        "by_affinity",
        "running",
        "setbacks",
        "started",
        "whys",
    )

    def __init__(self, context: Forwarder, terms: Terms, owner: Owner) -> None:
        self._context = context
        self._terms = terms
        self._owner = owner
        self.running: list[Attempt] = []
        self.started = 0
        self.setbacks: Setbacks | None = None
        self.by_affinity = ""
        self.whys: tuple[str, ...] = ()
        self._waiting: Deferred[Selection] | None = None

    def start(self) -> None:
        """Make the first attempt, after the first selection round if need be. Raises `Looped` if this mpp has sent it."""
        selections = self._context.selections
        if selections.suspects.until:
            self._so_far()  # It has each attempt checked: a server may have died of this request, see `Setbacks.may_send_to`.
        selection = selections.current
        if selection.ranked:
            self._first(selection)
        else:
            check_sender(self._terms.facts, self._context.instance)
            self._wait(selections.ready(), self._first)

    def cancel(self) -> None:
        """Give up all attempts, and the wait for a selection. Only when the owner has ended, or has its answer."""
        running, self.running = self.running, []
        for attempt in running:
            attempt.cancel()
        if self._waiting is not None:
            self._waiting.cancel()
        if self.setbacks is not None:
            self.setbacks.forget_reserve()

    def client(self) -> str:
        """Return the address of the client, as the access log shows it."""
        return self._context.client_address(self._terms.facts)

    # Choosing

    def _wait(self, selection: Deferred[Selection], then: Callable[[Selection], None]) -> None:
        """Go on with the Selection when it comes, or with the one in force when it takes too long."""
        self._waiting = self._context.bounded(selection)
        selection.addCallback(then).addErrback(self.stopped)

    def _first(self, selection: Selection) -> None:
        backend, self.by_affinity = placing.first_choice(self._context, self._terms, selection)
        self._attempt_or_refuse(backend)

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
            self.attempt(backend)

    # Attempting

    def attempt(self, backend: Backend) -> None:
        """Make another attempt."""
        context, setbacks = self._context, self.setbacks
        if setbacks is not None:
            if not setbacks.may_send_to(backend, context, self._terms):
                self._refuse_suspect(setbacks)
                return
            if setbacks.given_up is not None:
                context.metrics.retried(*setbacks.given_up)
                setbacks.given_up = None
        attempt = Attempt(self, backend, context.clock.seconds())
        self.started += 1
        self.running.append(attempt)
        attempt.send(context, self._terms, fresh=not self._terms.read)

    def answered(self, attempt: Attempt, response: IResponse) -> None:
        """Deliver an answer, or go on elsewhere if it blames the server."""
        self.running.remove(attempt)
        context, backend = self._context, attempt.backend
        attempt.took = context.clock.seconds() - attempt.sent_at
        context.metrics.upstream_answered(backend.name, attempt.took)
        if response.status < 400:
            context.selections.answered(backend)
            if self.setbacks is not None:
                self.setbacks.rescued(response, backend, context.selections)
            self._deliver(response, attempt)
            return
        found = evidence.judge(context, self._terms, backend, response)
        verdict = found.verdict
        if verdict is policy.ANSWERED:
            context.selections.answered(backend)
            self._deliver(response, attempt)
            return
        self.report(attempt, verdict, found.why)
        evidence.note_damage(context, self._terms, backend, found)
        setbacks = self._so_far()
        again = evidence.worth_asking_again(context, attempt, verdict)
        setbacks.answered(backend, verdict, context.selections.current, again=again)
        if not crashes.may_go_on(attempt, response.status, context, self._terms, setbacks):
            response.cancel()
            self._refuse_suspect(setbacks)
        elif setbacks.may_go_on(attempt, verdict, self._context, self._terms, self):
            if verdict.elsewhere and not verdict.mask and response.complete:
                setbacks.keep(response, attempt)
            else:
                response.cancel()
            self._next(setbacks)
        elif self.running or verdict.mask:
            # Another attempt may do better; and some answers are of no use to a client.
            response.cancel()
            self._refuse()
        else:
            self._deliver(response, attempt)

    def lost(self, attempt: Attempt, error: UpstreamError) -> None:
        """Go on after an attempt that brought no usable answer."""
        self.running.remove(attempt)
        setbacks = self._so_far()
        verdict = setbacks.failed(attempt, error, self._context, read=self._terms.read)
        self.report(attempt, verdict, str(error))
        if not crashes.may_go_on(attempt, error, self._context, self._terms, setbacks):
            self._refuse_suspect(setbacks)
        elif setbacks.may_go_on(attempt, verdict, self._context, self._terms, self):
            self._next(setbacks)
        else:
            self._refuse()

    def broke_off(self, attempt: Attempt, error: UpstreamError) -> None:
        """Report an attempt whose answer broke off after its first bytes had gone to the client."""
        self.report(attempt, policy.judge_failure(error), str(error))
        crashes.may_go_on(attempt, error, self._context, self._terms, self._so_far())

    def _refuse_suspect(self, setbacks: Setbacks) -> None:
        """Say that the last healthy server is not risked, and give up what still runs elsewhere."""
        self._context.metrics.query_of_death_refused()
        self.cancel()
        self._owner.refuse(refusal.suspected(setbacks.last_why))

    def _so_far(self) -> Setbacks:
        if self.setbacks is None:
            self.setbacks = Setbacks()
        return self.setbacks

    def report(self, attempt: Attempt, verdict: Verdict, why: str) -> None:
        """Tell the world what an outcome says about a backend."""
        setbacks = self._so_far()
        line = setbacks.last_why = f"{attempt.backend.name}: {why}"
        self.whys += (line,)
        _log.debug(
            "attempt {attempts} of {method} {target} on {why}: {reason}",
            attempts=self.started,
            method=self._terms.facts.method.decode("latin-1"),
            target=self._terms.facts.target[:200].decode("latin-1"),
            why=line,
            reason=verdict.reason,
        )
        if verdict.standing is not None:
            setbacks.blame(attempt.backend, verdict.standing, why, self._context)

    def _next(self, setbacks: Setbacks) -> None:
        """Try the next untried backend at once, or the next selection's when all were tried."""
        selections = self._context.selections
        backend = policy.choose(selections.current, None, setbacks.busy(self.running), self._context.rng)
        if backend is not None:
            self.attempt(backend)
        elif self.running or setbacks.renewed:
            self._refuse()
        else:
            self._wait(selections.reselect(), self._again)

    # Waiting

    def tick(self) -> None:
        """Look after what takes long."""
        if self._context.clock.seconds() >= self._terms.deadline:
            self._too_late()
            return
        if self.setbacks is not None and self.running and not self.setbacks.may_run(self.running, self._context, self._terms):
            self._refuse_suspect(self.setbacks)
            return
        for attempt in tuple(self.running):
            hedging.look_after(self, attempt, self._context, self._terms)

    # Ending

    def _too_late(self) -> None:
        setbacks = self._so_far()
        if setbacks.reserve is not None:
            self._deliver(*setbacks.reserve)
            return
        asked, terms = ", ".join(attempt.backend.name for attempt in self.running), self._terms
        why = f"{asked} did not answer" if asked else setbacks.last_why or "no Prometheus server is known"
        self._owner.refuse(refusal.too_late(terms.deadline - terms.began, why, read=terms.read))
        self.cancel()

    def _deliver(self, response: IResponse, attempt: Attempt) -> None:
        """Hand the answer over; whoever else was asked need not answer any more."""
        setbacks = self.setbacks
        if setbacks is not None and setbacks.reserve is not None and setbacks.reserve[0] is response:
            setbacks.reserve = None
        if self.running or setbacks is not None:
            self.cancel()
        if 300 <= response.status < 400:
            response.headers = self._terms.redirect(response.headers)
        self._owner.deliver(response, attempt, self.started, self.by_affinity if self.started == 1 else "")

    def _refuse(self) -> None:
        """Say that nobody could answer. Unless one is still being asked."""
        if self.running:
            # It is the one to be looked after now, and takes its time anew: whoever failed beside it shall not be asked at once.
            self.running[-1].trust()
            return
        setbacks = self._so_far()
        if setbacks.reserve is not None:
            self._deliver(*setbacks.reserve)
        elif not self.started and not self._context.selections.current.ranked:
            self._owner.refuse(refusal.UNKNOWN)
        else:
            self._owner.refuse(setbacks.refusal(self.started))

    def stopped(self, failure: Failure) -> None:
        """The outermost errback: somebody who went away while we waited, or a bug."""
        if not (self._owner.ended and failure.check(CancelledError)):
            self._owner.failed(failure)
