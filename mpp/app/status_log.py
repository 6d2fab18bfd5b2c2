"""
Logs how things stand whenever a state of the verdict (`mpp.selection.verdict.verdict`) begins or ends, in the words of the
verdict, and follows the errors that clients get. Decides nothing about servers or requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from txaio.tx import make_logger

from mpp.core import local_errors as failures
from mpp.core.local_errors import LocalErrors
from mpp.selection.verdict.verdict import BAD, GOOD, WARN, Situation, Verdict, VerdictState, judge

_log = make_logger()

LOOK_S = 1.0
"""Seconds between two looks. Changes that come within one are logged once."""

REMIND_S = 60.0
"""While clients keep getting errors, that is logged again after so many seconds."""


class StatusLog(Service):
    """
    The log of how things stand.

    :param situation: returns what the verdict depends on.
    :param local_errors: returns how many requests mpp itself answered with errors since its start, by code.
    :param clock: for the looks, monotonic.
    :param wall: the time of day, seconds since the epoch.
    :param speaks: whether it observes and logs; a worker leaves both to its parent.
    :ivar errors: the run of errors that clients get; None if there is none.
    """

    def __init__(
        self,
        situation: Callable[[], Situation],
        local_errors: Callable[[], Mapping[int, int]],
        clock: IReactorTime,
        wall: Callable[[], float],
        *,
        speaks: bool,
    ) -> None:
        self.errors: LocalErrors | None = None
        self._situation = situation
        self._local_errors = local_errors
        self._clock = clock
        self._wall = wall
        self._speaks = speaks
        self._counts: Mapping[int, int] = {}
        self._judged: tuple[Situation, Verdict] | None = None
        self._logged: tuple[VerdictState, ...] = ()
        self._reminded = (0.0, 0)
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def startService(self) -> None:
        """Begin to look."""
        Service.startService(self)
        if self._speaks:
            looking = self._loop.start(LOOK_S, now=False)
            looking.addErrback(lambda failure: _log.failure("Bug: how things stand is not logged any more", failure))

    def stopService(self) -> None:
        """Look no more; say how many errors there were, if clients still get some."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
            self._end_run(None)

    def _look(self) -> None:
        self._follow_errors()
        outcome = self._verdict()
        if VerdictState.STARTING in outcome.states:
            return
        if outcome.states != self._logged or self._is_due():
            self._logged = outcome.states
            self._log(outcome)

    def _verdict(self) -> Verdict:
        """Return the verdict; the same one while nothing has changed that it depends on, since there may be many servers."""
        situation = self._situation()
        if self._judged is None or not _is_same(situation, self._judged[0]):
            self._judged = situation, judge(situation)
        return self._judged[1]

    def _follow_errors(self) -> None:
        counts = self._local_errors()
        fresh = {code: count - self._counts.get(code, 0) for code, count in counts.items()}
        self._counts = counts
        if self.errors is None and not any(count > 0 for count in fresh.values()):
            return
        self._end_run(failures.follow(self.errors, fresh, self._wall(), usable=self._verdict().servers.level != BAD))

    def _end_run(self, run: LocalErrors | None) -> None:
        """Go on with a run of errors; log the former one if it is over."""
        if run is None and self.errors is not None:
            _log.warn("{summary}", summary=_sentence(self.errors.summary), log_same="run of errors", requests=self.errors.total)
        self.errors = run

    def _is_due(self) -> bool:
        """Return whether clients have got more errors since that was logged, and long enough ago."""
        at, total = self._reminded
        return self.errors is not None and self.errors.total > total and self._clock.seconds() - at >= REMIND_S

    def _log(self, outcome: Verdict) -> None:
        self._reminded = self._clock.seconds(), 0 if self.errors is None else self.errors.total
        states = ",".join(state.value for state in outcome.states)
        text = "Status is {status}: {log_text}"
        # The number of errors, and which server serves, differ each time.
        tell = {GOOD: _log.info, WARN: _log.warn, BAD: _log.error}[outcome.level]
        tell(text, status=outcome.level, log_text=outcome.text, states=states, log_same=f"status {states}")


def _is_same(one: Situation, other: Situation) -> bool:
    """Compare two situations; Selections, which may be large, only by their identity."""
    return one.selection is other.selection and all(
        getattr(one, name) == getattr(other, name) for name in ("locators", "errors", "config", "web_config", "workers")
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
