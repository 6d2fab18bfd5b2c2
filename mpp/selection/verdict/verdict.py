"""
The verdict on mpp and its servers: one state, level and text for the current situation. Pure.

The status page, ``/mpp/explain``, the metric ``mpp_verdict``, the log and the service manager's status line all show
the result of `judge`, so that they never disagree about the same situation.
`tests/unit/selection/test_status_verdict.py` has the table of situations.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence

from attrs import frozen

from mpp.core.metrics.local_errors import LocalErrors
from mpp.core.model import Observation, Selection, Standing
from mpp.core.text.humanize import listing
from mpp.coverage import drift
from mpp.selection.verdict.servers import capital, kinds_of_trouble, sentence, serving

GOOD, WARN, BAD = "good", "warn", "bad"
LEVELS = (GOOD, WARN, BAD)
"""The levels of a finding, from best to worst."""


class VerdictState(enum.Enum):
    """A state in a verdict. The value is the ``state`` label of ``mpp_verdict``; more than one may hold at a time."""

    WELL = "well"
    """All servers are healthy, and there is no other finding."""
    STARTING = "starting"
    """The first selection round has not finished."""
    NO_SERVER_KNOWN = "no_server_known"
    """No locator lists a server, or mpp itself is all that they list."""
    ALL_DOWN = "all_down"
    """No server can be reached."""
    LAST_RESORT = "last_resort"
    """No server is usable, and the least bad ones get the requests."""
    NONE_SELECTED = "none_selected"
    """Servers are usable, but the routing strategy selects none."""
    DEGRADED = "degraded"
    """The routing strategy's requirement cannot be met."""
    SERVER_UNWELL = "server_unwell"
    """One server or more are not healthy."""
    LACKING = "lacking"
    """A server lacks newest data that another server has."""
    CLIENT_ERRORS = "client_errors"
    """Clients get errors from mpp itself instead of responses of servers."""
    ITSELF = "itself"
    """A backend is this mpp process itself."""
    DISCOVERY_FAILED = "discovery_failed"
    """A locator's source cannot be read."""
    DISCOVERY_EMPTY = "discovery_empty"
    """A locator's source can be read, and lists no server or has another problem."""
    CONFIG_REFUSED = "config_refused"
    """The configuration on disk cannot be applied."""
    CONFIG_NEEDS_RESTART = "config_needs_restart"
    """The configuration on disk can be applied by a restart only."""
    WEB_CONFIG_REFUSED = "web_config_refused"
    """The web configuration on disk is not the active one."""
    WORKERS_MISSING = "workers_missing"
    """Fewer worker processes run than are configured."""
    DRIFT = "drift"
    """The servers differ in settings that should be the same."""


@frozen
class LocatorView:
    """
    The status of one locator.

    :ivar up: whether its last look-up succeeded.
    :ivar backends: number of backends in its last list.
    :ivar problem: why the look-up failed; if it succeeded, another problem, such as an empty list.
    """

    name: str
    up: bool
    backends: int
    problem: str = ""


@frozen
class ConfigProblem:
    """
    The reason why the configuration on disk is not the active one.

    :ivar where: the options or keys at fault; not their values, which may be secrets.
    :ivar needs_restart: whether the configuration is valid, but can only be applied by a restart.
    """

    where: str
    needs_restart: bool = False


@frozen
class Situation:
    """
    The input of a verdict.

    :ivar locators: the status of each locator.
    :ivar errors: the errors that clients got lately from mpp itself, not from a server; None if there were none.
    :ivar config: why the configuration on disk is not the active one; None if it is.
    :ivar web_config: why the web configuration on disk is not the active one, in one line; empty if it is.
    :ivar workers: the number of worker processes that run, and the number that is configured.
    """

    selection: Selection
    locators: tuple[LocatorView, ...] = ()
    errors: LocalErrors | None = None
    config: ConfigProblem | None = None
    web_config: str = ""
    workers: tuple[int, int] = (1, 1)


@frozen
class VerdictFinding:
    """
    One fact about mpp or its servers that decides the verdict.

    :ivar text: the fact in words: whole sentences if it is `Verdict.servers`, otherwise a clause without a full stop.
    """

    state: VerdictState
    level: str
    text: str


@frozen
class Verdict:
    """
    The findings about mpp and its servers.

    :ivar servers: the finding about the servers; always present.
    :ivar remarks: the other findings, the most important first.
    """

    servers: VerdictFinding
    remarks: tuple[VerdictFinding, ...] = ()

    @property
    def level(self) -> str:
        """The worst level of all findings: ``good``, ``warn`` or ``bad``."""
        return max((each.level for each in (self.servers, *self.remarks)), key=LEVELS.index)

    @property
    def states(self) -> tuple[VerdictState, ...]:
        """The states of all findings, each once; `VerdictState.WELL` only if there is no other state."""
        states = tuple(dict.fromkeys(each.state for each in (self.servers, *self.remarks)))
        return states[1:] if states[0] is VerdictState.WELL and len(states) > 1 else states

    @property
    def text(self) -> str:
        """The texts of all findings, as sentences."""
        parts = [self.servers.text]
        for number, remark in enumerate(self.remarks):
            contrast = not number and self.servers.level == GOOD
            parts.append(f"But {remark.text}." if contrast else f"{capital(remark.text)}.")
        return " ".join(parts)


def judge(situation: Situation) -> Verdict:
    """Return the verdict on a situation."""
    servers = judge_servers(situation.selection)
    return Verdict(servers, tuple(_remarks(situation, servers)))


def judge_servers(selection: Selection) -> VerdictFinding:
    """Return the finding about the servers alone."""
    if not selection.generation:
        return VerdictFinding(VerdictState.STARTING, WARN, "mpp has not finished its first selection round.")
    leaving = _leaving(selection)
    observations = [o for o in selection.observations if not o.is_self and o not in leaving]
    if not observations:
        return VerdictFinding(VerdictState.NO_SERVER_KNOWN, BAD, "No Prometheus server is known. No request can be answered.")
    ill = kinds_of_trouble(observations)
    if all(o.standing >= Standing.SUSPECT for o in observations):
        return _none_usable(selection, observations, ill)
    serves = serving(selection.selected)
    if not selection.selected:
        return VerdictFinding(VerdictState.NONE_SELECTED, WARN, f"{ill or _all_healthy(observations)} {_best_standby(selection)}")
    if selection.choice.degraded:
        return VerdictFinding(VerdictState.DEGRADED, WARN, f"{sentence(selection.choice.degraded)} {ill or serves}")
    if ill:
        return VerdictFinding(VerdictState.SERVER_UNWELL, WARN, f"{ill} {capital(serves)}")
    alone = " There is no second one." if len(observations) == 1 else ""
    return VerdictFinding(VerdictState.WELL, GOOD, f"{_all_healthy(observations).rstrip('.')}; {serves}{alone}")


def _all_healthy(observations: Sequence[Observation]) -> str:
    total = len(observations)
    if total == 1:
        return "The only server is healthy."
    return f"{'Both' if total == 2 else f'All {total}'} servers are healthy."


def _best_standby(selection: Selection) -> str:
    return f"The routing strategy selects none; requests are sent to {selection.ranked[0].name}, the best standby."


def _none_usable(selection: Selection, observations: Sequence[Observation], ill: str) -> VerdictFinding:
    if selection.selected:
        text = f"No server is healthy. As a last resort {serving(selection.selected)}"
        return VerdictFinding(VerdictState.LAST_RESORT, BAD, text)
    reachable = [o.backend for o in observations if o.standing is not Standing.DOWN]
    if not reachable:
        total = len(observations)
        servers = "The only server is" if total == 1 else f"{'Both' if total == 2 else f'All {total}'} servers are"
        return VerdictFinding(VerdictState.ALL_DOWN, BAD, f"{servers} down.")
    names = listing([backend.name for backend in selection.ranked if backend in reachable])
    return VerdictFinding(
        VerdictState.LAST_RESORT, BAD, f"No server is ready. {ill} As a last resort requests are sent to {names}."
    )


def _remarks(situation: Situation, servers: VerdictFinding) -> Iterator[VerdictFinding]:
    if situation.errors is not None:
        level = BAD if servers.level == BAD else WARN
        yield VerdictFinding(VerdictState.CLIENT_ERRORS, level, situation.errors.text)
    elif servers.state is VerdictState.ALL_DOWN:
        yield VerdictFinding(VerdictState.ALL_DOWN, BAD, "requests are answered 503 until one is back")
    for each in situation.selection.observations:
        if each.lack is not None:
            yield VerdictFinding(VerdictState.LACKING, WARN, f"{each.backend.name} {each.lack}")
    yield from _on_leaving(situation.selection)
    yield from _on_configuration(situation)
    if servers.state is not VerdictState.STARTING:
        yield from _on_discovery(situation)
    running, configured = situation.workers
    if running < configured:
        yield VerdictFinding(
            VerdictState.WORKERS_MISSING,
            WARN,
            f"{configured - running} of {configured} workers {'does' if configured - running == 1 else 'do'} not run",
        )
    yield from _on_drift(situation.selection)


def _on_drift(selection: Selection) -> Iterator[VerdictFinding]:
    differences = drift.compare([o for o in selection.observations if not o.is_self])
    kinds = [each.kind for each in differences if each.level == drift.WARN]
    said = []
    if drift.SAME_SERVER in kinds:
        kinds.remove(drift.SAME_SERVER)
        said.append("several addresses lead to one server")
    if kinds:
        said.append(f"the servers are not alike ({listing(kinds)})")
    if said:
        yield VerdictFinding(VerdictState.DRIFT, WARN, f"{' and '.join(said)}, see Drift")


def _on_leaving(selection: Selection) -> Iterator[VerdictFinding]:
    if leaving := _leaving(selection):
        names = listing([o.backend.name for o in leaving])
        verb, pronoun = ("is", "it is") if len(leaving) == 1 else ("are", "they are")
        said = f"{names} {verb} being stopped according to the source; {pronoun} used only when no better one is left"
        yield VerdictFinding(VerdictState.WELL, GOOD, said)


def _leaving(selection: Selection) -> list[Observation]:
    """Return the servers that are being stopped on purpose, which is no trouble as long as another server is usable."""
    usable = any(o.standing < Standing.SUSPECT for o in selection.observations)
    return [o for o in selection.observations if o.leaving and usable]


def _on_configuration(situation: Situation) -> Iterator[VerdictFinding]:
    problem = situation.config
    if problem is not None and problem.needs_restart:
        yield VerdictFinding(
            VerdictState.CONFIG_NEEDS_RESTART, WARN, f"the configuration on disk needs a restart ({problem.where})"
        )
    elif problem is not None:
        said = f"the configuration on disk is rejected ({problem.where}, see the log); a restart would fail"
        yield VerdictFinding(VerdictState.CONFIG_REFUSED, WARN, said)
    if situation.web_config:
        yield VerdictFinding(VerdictState.WEB_CONFIG_REFUSED, WARN, "a change of the web configuration is not active")


def _on_discovery(situation: Situation) -> Iterator[VerdictFinding]:
    own = [o.backend.name for o in situation.selection.observations if o.is_self]
    if own:
        verb = "is" if len(own) == 1 else "are"
        yield VerdictFinding(VerdictState.ITSELF, WARN, f"the backend {listing(own)} {verb} this mpp itself and not used")
    failing = [each for each in situation.locators if not each.up]
    if failing:
        kept = "the last good list stays" if any(each.backends for each in failing) else "no list is known yet"
        said = f"the locator {listing([each.name for each in failing])} gives no usable list of servers; {kept}"
        yield VerdictFinding(VerdictState.DISCOVERY_FAILED, WARN, said)
    for each in situation.locators:
        if each.up and (each.problem or not each.backends):
            found = each.problem or "its source lists no server"
            yield VerdictFinding(VerdictState.DISCOVERY_EMPTY, WARN, f"the locator {each.name}: {found.rstrip('.')}")
