"""
The log of the overall status: a line whenever a state of the verdict (`mpp.selection.verdict.verdict`) starts or ends, with the
text of the verdict, and a line when clients no longer get errors from mpp itself. A line is always about the status at its time;
after many changes within a minute, further ones are counted. No decision about servers or requests is made here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IReactorTime
from txaio.tx import make_logger

from mpp.core.metrics import local_errors as failures
from mpp.core.metrics.local_errors import LocalErrors
from mpp.core.scheduling.periodic import PeriodicCheck
from mpp.security.web_config.rate_limit import RateLimiter
from mpp.security.web_config.values import RateLimit
from mpp.selection.verdict.verdict import BAD, GOOD, WARN, Situation, Verdict, VerdictState, judge

_log = make_logger()

LOOK_S = 1.0
"""Seconds between two checks. Changes between two checks are logged as one."""

BURST = 6
"""The number of changes that are logged at once, if there were none for a minute before."""

PACE_S = 10.0
"""Seconds between two lines after a burst. The status that is current then is logged, and the changes before it are counted."""

REMIND_S = 60.0
"""Seconds after which the status is logged again while clients keep getting errors."""


class StatusLog(PeriodicCheck):
    """
    The service that logs changes of the overall status.

    :param situation: returns the inputs of the verdict.
    :param local_errors: returns the number of error responses that mpp itself has made since its start, by status code.
    :param clock: the monotonic clock of the checks.
    :param wall: returns the time of day in seconds since the epoch.
    :ivar errors: the errors that clients have got from mpp itself lately, without a longer pause; None if there are none.
    """

    def __init__(
        self,
        situation: Callable[[], Situation],
        local_errors: Callable[[], Mapping[int, int]],
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        PeriodicCheck.__init__(self, self._look, clock, LOOK_S, "log of the status", _log)
        self.errors: LocalErrors | None = None
        self._situation = situation
        self._local_errors = local_errors
        self._clock = clock
        self._wall = wall
        self._counts: Mapping[int, int] = {}
        self._judged: tuple[Situation, Verdict] | None = None
        self._reminded = (0.0, 0)
        self._seen: tuple[VerdictState, ...] = ()
        # The changes since the last line.
        self._changes = 0
        self._limiter = RateLimiter(RateLimit(PACE_S, BURST), clock.seconds())

    def stopService(self) -> None:
        """Stop the periodic check, and log the errors that clients have got from mpp itself lately, if there are any."""
        PeriodicCheck.stopService(self)
        self._end_run(None)

    def _look(self) -> None:
        self._follow_errors()
        outcome = self._verdict()
        if VerdictState.STARTING in outcome.states:
            return
        if outcome.states != self._seen:
            self._seen = outcome.states
            self._changes += 1
        if self._is_due() or (self._changes and self._limiter.take(self._clock.seconds())):
            self._log(outcome)

    def _verdict(self) -> Verdict:
        """Return the verdict; a cached one while its inputs are the same, because there may be many servers."""
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
        """Replace the current run of errors; log the former one if None replaces it."""
        if run is None and self.errors is not None:
            _log.warn("{summary}", summary=_sentence(self.errors.summary), log_same="run of errors", requests=self.errors.total)
        self.errors = run

    def _is_due(self) -> bool:
        """Return whether clients got more errors since the last line, and this line is at least `REMIND_S` old."""
        at, total = self._reminded
        return self.errors is not None and self.errors.total > total and self._clock.seconds() - at >= REMIND_S

    def _log(self, outcome: Verdict) -> None:
        self._reminded = self._clock.seconds(), 0 if self.errors is None else self.errors.total
        states = ",".join(state.value for state in outcome.states)
        text = "status is {status}: {log_text}"
        if self._changes > 1:
            text += f" (after {self._changes - 1} other changes)" if self._changes > 2 else " (after another change)"
        self._changes = 0
        # With `log_each`, because the filter of repeated lines writes some of them a minute late, when they may be wrong.
        log = {GOOD: _log.info, WARN: _log.warn, BAD: _log.error}[outcome.level]
        log(text, status=outcome.level, log_text=outcome.text, states=states, log_each=True)


def _is_same(one: Situation, other: Situation) -> bool:
    """Return whether two situations are equal; Selections, which may be large, are compared by identity."""
    return one.selection is other.selection and all(
        getattr(one, name) == getattr(other, name) for name in ("locators", "errors", "config", "web_config", "workers")
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
