"""
The survey of the servers' recording and alerting rules.

A server is asked once, and again after it has restarted or loaded another configuration, which is when its rules change. It is
not asked while it is out of service, nor more than once in `PAUSE_LEAST_S`, and one server is asked after the other.

# Note [Rules of several servers]

The servers of a pair are meant to have the same rules. While they have not, as when one of them has loaded new ones, the rules of
all servers count together: a metric may then read what any of them reads for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from txaio.tx import make_logger

from mpp.core.errors import UpstreamError
from mpp.core.facts import ServerState
from mpp.core.model import MIB, Backend, Observation
from mpp.core.prometheus.runtimeinfo import Ask, ProbeOutcome, is_same_start, quote
from mpp.core.scheduling.pacing import in_slices
from mpp.core.scheduling.unexpected import log_unexpected
from mpp.core.text.humanize import noun
from mpp.coverage.presence import is_usable
from mpp.coverage.rules.page import RulesPage
from mpp.promql.rules import RuleDefinition

_log = make_logger()

PATHS = ("/api/v1/rules?type=record", "/api/v1/rules?type=alert&exclude_alerts=true")
"""The recording rules, and the alerting rules without the active alerts (which versions before 2.49 report all the same)."""
MOST_BYTES = 4 * MIB
"""Maximum size of a response in bytes, which has some 12,000 rules; a longer one is not read."""
MOST_RULES = 10_000
"""Maximum number of rules of all servers together; further ones are ignored."""
FIRST_S = 5.0
"""Seconds from a server's first observation to the request for its rules: a limiter in front of it may be busy with probes."""
PAUSE_LEAST_S = 60.0
"""Seconds between two requests for the rules of one server; after each failure twice as many, up to `PAUSE_MOST_S`."""
PAUSE_MOST_S = 3600.0


@define(eq=False)
class _RuledServer:
    """
    The survey of one server.

    :ivar observation: its last observation.
    :ivar read: its state when its rules were read; None before.
    :ivar due: time of the next request on the monotonic clock.
    :ivar failures: number of successive requests that failed.
    :ivar rules: its rules, by the path on which it reports them.
    """

    observation: Observation
    read: ServerState | None = None
    due: float = float("-inf")
    failures: int = 0
    rules: dict[str, dict[RuleDefinition, None]] = field(factory=dict)

    @property
    def is_changed(self) -> bool:
        """Whether the server may have other rules than the ones that were read."""
        now, read = self.observation.facts, self.read
        return read is None or now.config_at != read.config_at or not is_same_start(now.started_at, read.started_at)


class RuleSurvey:
    """
    The survey of the rules of all servers.

    :param ask: sends a request.
    :param clock: a monotonic clock.
    :param enabled: whether the servers are asked at all.
    :param parser_problem: the reason why no query can be parsed, see `mpp.promql.reader.parser_problem`; it is logged once.
    :ivar definitions: the rules of all servers; a new value for each change.
    :ivar changed: the functions that are called after each change of ``definitions``.
    """

    def __init__(self, ask: Ask, clock: IReactorTime, *, enabled: bool, parser_problem: str = "") -> None:
        self.definitions: tuple[RuleDefinition, ...] = ()
        self.changed: list[Callable[[], None]] = []
        self._ask = ask
        self._clock = clock
        self._enabled = enabled
        self._parser_problem = parser_problem
        self._servers: dict[Backend, _RuledServer] = {}
        self._running: Deferred[None] | None = None
        self._stopped = False

    def see(self, observation: Observation) -> None:
        """Record an observation of a server; call `begin` after the last one."""
        server = self._servers.get(observation.backend)
        if server is not None:
            server.observation = observation
        elif self._enabled:
            self._servers[observation.backend] = _RuledServer(observation, due=self._clock.seconds() + FIRST_S)

    def begin(self) -> None:
        """Ask the servers that may have other rules than before."""
        if self._parser_problem and self._enabled:
            text = "queries cannot be parsed ({problem}): mpp guesses from its durations what a query reads, and divides no query"
            _log.warn(text, problem=self._parser_problem)
            self._parser_problem = ""
        if self._running is not None or self._stopped or self._next() is None:
            return
        self._running = running = Deferred.fromCoroutine(self._run())
        running.addErrback(log_unexpected, _log, "bug: survey of the servers' rules failed unexpectedly")
        running.addCallback(self._over)
        if running.called:
            self._running = None

    def keep(self, backends: Collection[Backend]) -> None:
        """Forget the rules of all servers except the given ones."""
        gone = [backend for backend in self._servers if backend not in backends]
        for backend in gone:
            del self._servers[backend]
        if gone:
            self._publish()

    def reconfigure(self, ask: Ask, *, enabled: bool) -> None:
        """Replace the function that sends the requests, and begin or cease to ask the servers."""
        self._ask = ask
        self._enabled = enabled
        if not enabled:
            self.keep(())

    def stop(self) -> None:
        """Stop the survey, and cancel a request that is running."""
        self._stopped = True
        if self._running is not None:
            self._running.cancel()

    def _next(self) -> Backend | None:
        now = self._clock.seconds()
        for backend, server in self._servers.items():
            if server.due <= now and server.observation.facts.read_at and server.is_changed and is_usable(server.observation):
                return backend
        return None

    async def _run(self) -> None:
        while (backend := self._next()) is not None:
            await self._read(backend, self._servers[backend])
            self._publish()

    async def _read(self, backend: Backend, server: _RuledServer) -> None:
        """Read the rules of a server, and decide when it is asked again."""
        state, problem = server.observation.facts, ""
        for path in PATHS:
            page = _parsed(await self._ask(backend, path))
            if isinstance(page, str):
                problem = problem or page
                continue
            await in_slices(page.steps(), self._clock)
            server.rules[path] = page.found
        server.failures = server.failures + 1 if problem else 0
        pause = min(PAUSE_MOST_S, PAUSE_LEAST_S * 2.0 ** min(server.failures, 10))
        server.due = self._clock.seconds() + pause
        if not problem:
            server.read = state
        elif server.failures == 1:
            text = "cannot read the rules of {backend} ({why}): a query of a rule's result may go to a server that had a gap"
            text += " when the rule ran; next attempt in {pause:g} s, then at growing intervals"
            _log.info(text, backend=backend.name, why=problem, pause=pause)

    def _publish(self) -> None:
        """Publish the rules of all servers together, see Note [Rules of several servers]."""
        together: dict[RuleDefinition, None] = {}
        for server in self._servers.values():
            for rules in server.rules.values():
                together.update(rules)
        found = tuple(together)[:MOST_RULES]
        if found == self.definitions:
            return
        self.definitions = found
        rules_found = noun(len(together), "recording or alerting rule", "recording and alerting rules")
        _log.info(f"the servers have {{number}} {rules_found}", number=len(together))
        if len(together) > MOST_RULES:
            text = "mpp uses only {most} of the rules: a query of another rule's result may go to a server that had a gap"
            _log.warn(text + " when the rule ran", most=MOST_RULES)
        for each in self.changed:
            each()

    def _over(self, _: None) -> None:
        self._running = None


def _parsed(outcome: ProbeOutcome) -> RulesPage | str:
    """Return the page in a response, or why there is none, in one line."""
    if isinstance(outcome, UpstreamError):
        return str(outcome)
    if outcome.status != 200:
        return quote(outcome)
    if len(outcome.body) >= MOST_BYTES:
        return f"the response is longer than {MOST_BYTES // MIB} MiB"
    try:
        return RulesPage(outcome.body)
    except ValueError as error:
        return f"the response is not valid: {error}"
