"""
Sends the queries of the look back, so that it is never in the way: one at a time, with pauses, only to servers that are not busy,
and within a budget of their CPU time.

# Note [What it costs a server]

Each query is estimated before it is sent, by the number of samples that it reads. A server has `BUDGET_S` of CPU time for all
queries together, which `BUDGET_PER_S` slowly fills up again: what it is asked after a restart costs some hundredths of a second.
After each query there is a pause of `PAUSES` times its duration. A server that does not respond is asked again after a minute,
then ever less often.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from typing import NoReturn, TypeVar

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mpp.core.errors import UpstreamError
from mpp.core.model import Backend
from mpp.core.prometheus.runtimeinfo import Ask, ProbeOutcome
from mpp.core.scheduling.pacing import in_slices
from mpp.coverage.history.look_back import SAMPLE_S, halves, pieces
from mpp.coverage.holes import Sums, Unanswered, Windows, read_sums

R = TypeVar("R")

BUDGET_S = 1.0
BUDGET_PER_S = 0.1 / 3600
PAUSES = 4.0
LEAST_PAUSE_S = 0.05
FIRST_RETRY_S = 60.0
LAST_RETRY_S = 3600.0


class Interrupted(Exception):
    """The error that ends a comparison because a server cannot be queried at the moment; the comparison is repeated later."""


@define
class _ServerBudget:
    """
    The state of one server.

    :ivar left: seconds of its CPU time that may be used, at the time ``at`` of the monotonic clock.
    :ivar due: time of the next query on the monotonic clock.
    :ivar failures: number of successive queries that failed.
    :ivar problem: why it is not asked at the moment, one line; empty if it is.
    """

    at: float
    left: float = BUDGET_S
    due: float = float("-inf")
    failures: int = 0
    problem: str = ""


class PacedQueries:
    """
    The sender of the queries of the look back.

    :param ask_history: sends a query; may be replaced.
    :param clock: a monotonic clock.
    :param idle: returns whether a server can be asked at the moment, whatever happened to earlier queries.
    """

    def __init__(self, ask_history: Ask, clock: IReactorTime, idle: Callable[[Backend], bool]) -> None:
        self.ask_history = ask_history
        self._clock = clock
        self._idle = idle
        self._accounts: dict[Backend, _ServerBudget] = {}

    def may_ask(self, backend: Backend) -> bool:
        """Return whether a server can be queried now."""
        account = self._accounts.get(backend)
        return self._idle(backend) and (account is None or account.due <= self._clock.seconds())

    def has_failed(self, backend: Backend) -> bool:
        """Return whether the last query of a server failed."""
        return backend in self._accounts and self._accounts[backend].failures > 0

    def problem(self, backend: Backend) -> str:
        """Return the reason why a server gets no queries at the moment, one line; empty if it gets them."""
        account = self._accounts.get(backend)
        return "" if account is None or account.due <= self._clock.seconds() else account.problem

    def can_afford(self, backends: Collection[Backend], windows: Windows, samples_per_s: float) -> bool:
        """Return whether each of some servers has the CPU time left in its budget that the sums for some windows take."""
        cost = _cost(windows, samples_per_s)
        return all(self._renewed(backend).left >= cost for backend in backends)

    def keep(self, backends: Collection[Backend]) -> None:
        """Forget all servers except the given ones."""
        self._accounts = {backend: account for backend, account in self._accounts.items() if backend in backends}

    async def in_slices(self, steps: Generator[object, None, R]) -> R:
        """Return the result of a calculation on responses, which is made in slices, see `mpp.core.scheduling.pacing`."""
        return await in_slices(steps, self._clock)

    async def ask(self, backend: Backend, path: str, cost: float) -> ProbeOutcome:
        """
        Send one query, and wait for the pause after it.

        :param cost: the server's CPU time for the query in seconds, as estimated.
        :return: a response of status 200, or of 422 or 500, which report an error of the query or of the storage.
        :raise Interrupted: the server cannot be asked at the moment, or does not answer.
        """
        if not self.may_ask(backend):
            raise Interrupted(backend)
        account = self._renewed(backend)
        # One that costs more than the whole budget is sent when all of it is left, and what it takes is missing later.
        needed = min(cost, BUDGET_S)
        if account.left < needed:
            account.due = self._clock.seconds() + (needed - account.left) / BUDGET_PER_S
            account.problem = "mpp has used the CPU time that it allows itself on this server; more is added each hour"
            raise Interrupted(backend)
        account.left -= cost
        began = self._clock.seconds()
        outcome = await self.ask_history(backend, path)
        await deferLater(self._clock, max(LEAST_PAUSE_S, PAUSES * (self._clock.seconds() - began)))
        if isinstance(outcome, UpstreamError) or outcome.status not in (200, 422, 500):
            self._fail(backend)
        return outcome

    async def sums(
        self, backend: Backend, path: Callable[[Windows], str], windows: Windows, *, series: int, samples_per_s: float
    ) -> Sums:
        """
        Return the sums of a server for some windows, without the windows that it cannot read.

        :param path: returns the path of the query for a piece of the windows.
        :param series: how many series the response has.
        :param samples_per_s: how many samples are read per second of history.
        :raise Interrupted: the server cannot be asked, or does not answer.
        """
        total: dict[str, dict[int, float]] = {}
        left = [*pieces(windows, series, samples_per_s)]
        while left:
            piece = left.pop()
            answer = read_sums(await self.ask(backend, path(piece), _cost(piece, samples_per_s)))
            smaller = halves(piece) if isinstance(answer, Unanswered) else ()
            if answer is Unanswered.UNKNOWN or (answer is Unanswered.TOO_MUCH and not smaller):
                self._fail(backend)
            if isinstance(answer, Unanswered):
                left += smaller
                continue
            self._renewed(backend).failures = 0
            for job, sums in answer.items():
                total.setdefault(job, {}).update(sums)
        return total

    def _fail(self, backend: Backend) -> NoReturn:
        """Record that a server does not answer, and postpone its next query."""
        account = self._renewed(backend)
        account.failures += 1
        pause = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(account.failures - 1, 10))
        account.due, account.problem = self._clock.seconds() + pause, "the server does not answer the queries for the comparison"
        raise Interrupted(backend)

    def _renewed(self, backend: Backend) -> _ServerBudget:
        now = self._clock.seconds()
        account = self._accounts.setdefault(backend, _ServerBudget(now))
        account.left = min(BUDGET_S, account.left + BUDGET_PER_S * (now - account.at))
        account.at = now
        return account


def _cost(windows: Windows, samples_per_s: float) -> float:
    """Return the CPU time, in seconds, that a server takes for the sums for some windows, as estimated."""
    return SAMPLE_S * samples_per_s * windows.length * windows.count
