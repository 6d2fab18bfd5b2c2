"""
The evidence on each known server: the results of client requests (`mpp.selection.membership`, `mpp.selection.damage`), of probes
and of locators, the newest data that it lacks (`mpp.coverage.survey`), the gaps in its history (`mpp.coverage.history`), and its
rules. Knows neither when a server is probed nor how the evidence is published.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.core.coverage import Coverage
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, DiscoveredBackend, Observation, Standing
from mpp.coverage.history.service import LookBack
from mpp.coverage.knowledge import Knowledge
from mpp.coverage.rules.survey import RuleSurvey
from mpp.coverage.survey import Survey
from mpp.promql.reader import parser_problem
from mpp.selection.damage import StorageErrors
from mpp.selection.event_log import EventLog
from mpp.selection.membership import Membership
from mpp.selection.probing.prober import Prober

_log = make_logger()


class Probed(NamedTuple):
    """
    The result of one probe of a backend.

    :ivar reports: the number of failed requests of the backend when the probe began. If more have failed since, a good result of
        the probe does not count.
    """

    observation: Observation
    reports: int


class Evidence:
    """
    The evidence on all known backends: the results of requests, probes, locators and comparisons of data.

    :param clock: a monotonic clock.
    :param wall: returns the time of day, in seconds since the epoch.
    :param changed: called with the backends whose lack of newest data has changed, so that they must be published again.
    :param learned: called with the gaps in the histories of all backends after they have changed.
    :param coverage_query: the metric by which the data of the backends is compared, see ``selector`` of `Survey`.
    :ivar roster: which backends are in service, which means that they take traffic or could.
    :ivar damage: which backends cannot read a part of their storage.
    :ivar knowledge: the gaps in the history of each backend.
    :ivar survey: the newest data that each backend lacks.
    :ivar look_back: the comparison of the backends' histories.
    :ivar rules: the rules of all backends.
    :ivar discovered: the backends that the locators list.
    """

    def __init__(
        self,
        prober: Prober,
        clock: IReactorTime,
        wall: Callable[[], float],
        *,
        metrics: Metrics,
        event_log: EventLog,
        changed: Callable[[Collection[Backend]], None],
        learned: Callable[[Coverage], None],
        coverage_query: str,
    ) -> None:
        self._tell = learned
        self.roster = Membership(clock, wall, metrics, event_log)
        self.damage = StorageErrors(clock, metrics, event_log)
        self.knowledge = Knowledge()
        self.survey = Survey(
            prober.ask,
            clock,
            wall,
            changed=changed,
            selector=coverage_query,
            counted=metrics.surveyed,
            note=event_log.record,
            knowledge=self.knowledge,
            learned=self._learned,
        )
        self.look_back = LookBack(
            prober.ask_history,
            clock,
            wall,
            knowledge=self.knowledge,
            learned=self._learned,
            selector=coverage_query,
            note=event_log.record,
        )
        self.rules = RuleSurvey(prober.ask_rules, clock, enabled=bool(coverage_query), parser_problem=parser_problem())
        self.discovered: dict[Backend, DiscoveredBackend] = {}

    def probed(self, prober: Prober, backend: Backend, previous: Observation | None) -> Deferred[Probed]:
        """
        Probe a backend, and record in the result how many client requests had failed on it before the probe began.

        :param previous: the last observation of it, or None.
        :return: the result of the probe, for `note`. Fails only when cancelled.
        """
        reports = self.roster.reports(backend)

        def unobserved(failure: Failure) -> Observation:
            if failure.check(CancelledError):
                failure.raiseException()
            text = "bug: the probe of {backend} failed unexpectedly; the backend counts as suspect until its next probe"
            _log.failure(text, failure, backend=backend.name)
            last = previous or Observation(backend, Standing.SUSPECT)
            return evolve(last, standing=Standing.SUSPECT, why=f"could not be probed: {failure.getErrorMessage()}")

        observed: Deferred[Observation] = maybeDeferred(prober.probe, backend, previous)
        return observed.addErrback(unobserved).addCallback(lambda observation: Probed(observation, reports))

    def note(self, probed: Probed) -> None:
        """Record the result of a probe."""
        observation = probed.observation
        located = self.discovered.get(observation.backend)
        self.roster.observed(observation, probed.reports, held=located is not None and bool(located.not_ready))

    def shown(self, observation: Observation) -> Observation:
        """
        Return an observation as it is published: corrected by the findings of requests, locators and the survey.

        The look back and the survey of rules record it, too.
        """
        shown, backend = self.damage.shown(self.roster.shown(observation)), observation.backend
        if not self.roster.vouches(backend):
            shown = _as_discovered(shown, self.discovered.get(backend))
        shown = self.survey.shown(shown)
        self.look_back.see(shown)
        self.rules.see(shown)
        return shown

    def compare(self) -> None:
        """
        Continue to compare the newest data and the histories of all backends, and to read their rules.

        Call this after `shown` was called for each backend of a round.
        """
        self.survey.begin()
        self.look_back.begin()
        self.rules.begin()

    def reconfigure(self, prober: Prober, coverage_query: str) -> None:
        """
        Replace the prober, and the metric by which newest data and histories are compared.

        A different metric discards the findings of both comparisons; an empty one also discards the rules.
        """
        self.survey.reconfigure(prober.ask, coverage_query)
        self.look_back.reconfigure(prober.ask_history, coverage_query)
        self.rules.reconfigure(prober.ask_rules, enabled=bool(coverage_query))

    def stop(self) -> None:
        """Stop the survey of newest data, the look back, and the survey of rules."""
        self.survey.stop()
        self.look_back.stop()
        self.rules.stop()

    def _learned(self) -> None:
        if self.knowledge.publish():
            self._tell(self.knowledge.coverage)

    def forget(self, backends: Iterable[Backend]) -> None:
        """Forget backends that no locator lists any longer."""
        for backend in backends:
            self.roster.forget(backend)
            self.damage.forget(backend)
        self.survey.keep(self.discovered)
        self.look_back.keep(self.discovered)
        self.rules.keep(self.discovered)


def _as_discovered(observation: Observation, located: DiscoveredBackend | None) -> Observation:
    """Return the observation as not ready if the locator reports the backend as not ready, whatever the probe found."""
    standing = observation.standing
    if located is not None and located.not_ready and standing < Standing.NOT_READY:
        leaving = located.leaving and standing < Standing.SUSPECT
        return evolve(observation, standing=Standing.NOT_READY, why=located.not_ready, leaving=leaving)
    if observation.leaving and (standing is not Standing.NOT_READY or observation.ejected_at):
        # It was published as leaving, and has turned bad since.
        return evolve(observation, leaving=False)
    return observation
