"""
How mpp and its servers are, in one verdict. Pure.

The status page, ``/mpp/explain``, the metric ``mpp_verdict``, the log and the service manager's status line all take their words
from `judge`, so that no two of them can say different things of the same situation.
`tests/unit/selection/test_status_verdict.py` has the table of situations.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence

from attrs import frozen

from mpp.core.local_errors import LocalErrors
from mpp.core.model import Observation, Selection, Standing
from mpp.core.text.humanize import listing
from mpp.coverage import drift
from mpp.selection.verdict.locators import LocatorView
from mpp.selection.verdict.servers import capital, kinds_of_trouble, sentence, serving

GOOD, WARN, BAD = "good", "warn", "bad"
LEVELS = (GOOD, WARN, BAD)
"""From best to worst."""


class VerdictState(enum.Enum):
    """What a verdict can say. The value is the ``state`` label of ``mpp_verdict``; more than one may hold at a time."""

    WELL = "well"
    """All servers are well, and there is nothing else to say."""
    STARTING = "starting"
    """The first selection round has not finished."""
    NO_SERVER_KNOWN = "no_server_known"
    """No locator lists a server, or mpp itself is all that they list."""
    ALL_DOWN = "all_down"
    """No server can be reached."""
    LAST_RESORT = "last_resort"
    """No server is usable, and the least bad ones are asked."""
    NONE_SELECTED = "none_selected"
    """Servers are usable, but the routing strategy selects none."""
    DEGRADED = "degraded"
    """The routing strategy's wish cannot be met."""
    SERVER_UNWELL = "server_unwell"
    """One server or more are not well."""
    LACKING = "lacking"
    """A server lacks newest data that another one has."""
    CLIENT_ERRORS = "client_errors"
    """Clients get errors that no server sent but mpp itself."""
    ITSELF = "itself"
    """A backend is this mpp itself."""
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
    """Fewer workers run than are configured."""
    DRIFT = "drift"
    """The servers differ in what ought to be the same."""


@frozen
class ConfigProblem:
    """
    Why the configuration on disk is not the active one.

    :ivar where: the options or keys that are to blame; not their values, which may be secrets.
    :ivar needs_restart: nothing is wrong with it, but only a restart can apply it.
    """

    where: str
    needs_restart: bool = False


@frozen
class Situation:
    """
    All that the verdict depends on.

    :ivar locators: one for each source of servers.
    :ivar errors: what clients got instead of a response lately; None if nothing.
    :ivar config: why the configuration on disk is not the active one; None if it is.
    :ivar web_config: the same of the web configuration, in one line; empty if it is.
    :ivar workers: how many worker processes run, and how many are configured.
    """

    selection: Selection
    locators: tuple[LocatorView, ...] = ()
    errors: LocalErrors | None = None
    config: ConfigProblem | None = None
    web_config: str = ""
    workers: tuple[int, int] = (1, 1)


@frozen
class VerdictFinding:
    """One thing that a verdict says. ``text`` of the first one is whole sentences, of the others a clause without a full stop."""

    state: VerdictState
    level: str
    text: str


@frozen
class Verdict:
    """
    How things stand.

    :ivar servers: how the servers are; always there.
    :ivar remarks: what else there is to say, the most important first.
    """

    servers: VerdictFinding
    remarks: tuple[VerdictFinding, ...] = ()

    @property
    def level(self) -> str:
        """The worst level of all findings: ``good``, ``warn`` or ``bad``."""
        return max((each.level for each in (self.servers, *self.remarks)), key=LEVELS.index)

    @property
    def states(self) -> tuple[VerdictState, ...]:
        """All states that hold; `VerdictState.WELL` only if no other does."""
        states = tuple(dict.fromkeys(each.state for each in (self.servers, *self.remarks)))
        return states[1:] if states[0] is VerdictState.WELL and len(states) > 1 else states

    @property
    def text(self) -> str:
        """All of it, in sentences."""
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
    """Return how the servers are, whatever else there is to say."""
    if not selection.generation:
        return VerdictFinding(VerdictState.STARTING, WARN, "mpp has not finished its first look at the servers.")
    leaving = _leaving(selection)
    observations = [o for o in selection.observations if not o.is_self and o not in leaving]
    if not observations:
        return VerdictFinding(VerdictState.NO_SERVER_KNOWN, BAD, "No Prometheus server is known. No request can be answered.")
    ill = kinds_of_trouble(observations)
    if all(o.standing >= Standing.SUSPECT for o in observations):
        return _none_usable(selection, observations, ill)
    serves = serving(selection.selected)
    if not selection.selected:
        return VerdictFinding(VerdictState.NONE_SELECTED, WARN, f"{ill or _all_well(observations)} {_best_standby(selection)}")
    if selection.choice.degraded:
        return VerdictFinding(VerdictState.DEGRADED, WARN, f"{sentence(selection.choice.degraded)} {ill or serves}")
    if ill:
        return VerdictFinding(VerdictState.SERVER_UNWELL, WARN, f"{ill} {capital(serves)}")
    alone = " There is no second one." if len(observations) == 1 else ""
    return VerdictFinding(VerdictState.WELL, GOOD, f"{_all_well(observations).rstrip('.')}; {serves}{alone}")


def _all_well(observations: Sequence[Observation]) -> str:
    total = len(observations)
    if total == 1:
        return "The only server is well."
    return f"{'Both' if total == 2 else f'All {total}'} servers are well."


def _best_standby(selection: Selection) -> str:
    return f"The routing strategy selects none; requests are sent to {selection.ranked[0].name}, the best standby."


def _none_usable(selection: Selection, observations: Sequence[Observation], ill: str) -> VerdictFinding:
    if selection.selected:
        return VerdictFinding(VerdictState.LAST_RESORT, BAD, f"No server is well. As a last resort {serving(selection.selected)}")
    reachable = [o.backend for o in observations if o.standing is not Standing.DOWN]
    if not reachable:
        total = len(observations)
        who = "The only server is" if total == 1 else f"{'Both' if total == 2 else f'All {total}'} servers are"
        return VerdictFinding(VerdictState.ALL_DOWN, BAD, f"{who} down.")
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
    differences = drift.compare([o for o in situation.selection.observations if not o.is_self])
    if any(each.level == drift.WARN for each in differences):
        yield VerdictFinding(VerdictState.DRIFT, WARN, "the servers are not alike, see Drift")


def _on_leaving(selection: Selection) -> Iterator[VerdictFinding]:
    if leaving := _leaving(selection):
        names = listing([o.backend.name for o in leaving])
        verb, pronoun = ("is", "it is") if len(leaving) == 1 else ("are", "they are")
        said = f"{names} {verb} being stopped according to the source; {pronoun} used only when no better one is left"
        yield VerdictFinding(VerdictState.WELL, GOOD, said)


def _leaving(selection: Selection) -> list[Observation]:
    """Return the servers that are being stopped on purpose, which is no trouble as long as another one is usable."""
    usable = any(o.standing < Standing.SUSPECT for o in selection.observations)
    return [o for o in selection.observations if o.leaving and usable]


def _on_configuration(situation: Situation) -> Iterator[VerdictFinding]:
    problem = situation.config
    if problem is not None and problem.needs_restart:
        yield VerdictFinding(
            VerdictState.CONFIG_NEEDS_RESTART, WARN, f"the configuration on disk needs a restart ({problem.where})"
        )
    elif problem is not None:
        said = f"the configuration on disk is refused ({problem.where}, see the log); a restart would fail"
        yield VerdictFinding(VerdictState.CONFIG_REFUSED, WARN, said)
    if situation.web_config:
        yield VerdictFinding(VerdictState.WEB_CONFIG_REFUSED, WARN, "a change of the web configuration is not in force")


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
