"""
Compares servers that should be identical, and lists the differences that an operator or a client has to know. Pure.

Only usable servers are compared, by the state that was last read from them; the state of a server that is down may be outdated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import field, frozen

from mpp.core.facts import ServerState
from mpp.core.model import Observation, Standing
from mpp.core.text.durations import duration
from mpp.core.text.humanize import listing, moment

WARN, NOTE = "warn", "note"
SAME_SERVER = "same_server"

# Seconds. Graphs of two servers whose clocks differ by more look different. A Date field alone is exact to half a second.
CLOCKS_APART_S = 2.0
# Longer than any sensible scrape interval: a server whose newest sample is older ingests nothing. Where the intervals are known,
# the limit is four times the longest, but at least a minute.
STALE_S = 300.0
_STALE_WITH_JOBS_S = 60.0
# A server that has just started discovers its targets one by one; after this time it has scraped each of them more than once.
SETTLED_S = 60.0
# Retentions are written in days or hours: a smaller difference comes from rounding.
_RETENTION_S = 60.0
# At most so many flags that differ are named; the others are counted.
_MOST_FLAGS = 8
# The same for external labels.
_MOST_LABELS = 8
_GRAVEST = ("query.", "enable-feature", "storage.tsdb.", "storage.")


@frozen
class Difference:
    """
    One difference between servers.

    :ivar kind: ``version``, ``configuration``, ``flags``, ``retention``, ``targets``, ``clock``, ``reload``, ``stale``,
        ``same_server`` or ``external_labels``.
    :ivar text: what the difference means, one sentence.
    :ivar values: the name and the value of each server that reported one.
    :ivar level: `WARN`, or `NOTE` for a difference that may be intended.
    :ivar amounts: the values as numbers, in the same order, if they are numbers; empty otherwise.
    :ivar tolerance: numbers that are no further apart than this count as equal.
    """

    kind: str
    text: str
    values: tuple[tuple[str, str], ...]
    level: str = WARN
    amounts: tuple[float, ...] = field(default=(), eq=False, repr=False)
    tolerance: float = field(default=0.0, eq=False, repr=False)

    @property
    def groups(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """
        The servers that have each value, the smallest group first: among many servers, operators look for the odd one out.

        Numbers within the tolerance form one group, with the lowest and the highest of them as its value.
        """
        found: dict[str, list[str]] = {}
        for value, names in self._alike():
            found.setdefault(value, []).extend(names)
        return tuple((value, tuple(names)) for value, names in sorted(found.items(), key=lambda group: len(group[1])))

    def _alike(self) -> Iterator[tuple[str, list[str]]]:
        if not self.amounts:
            yield from ((value, [name]) for name, value in self.values)
            return
        rest = sorted(zip(self.amounts, self.values, strict=True), key=lambda each: each[0])
        while rest:
            near = [(name, value) for amount, (name, value) in rest if amount - rest[0][0] <= self.tolerance]
            rest = rest[len(near) :]
            low, high = near[0][1], near[-1][1]
            yield low if low == high else f"{low} to {high}", [name for name, _ in near]


NamedStates = list[tuple[str, ServerState]]


def compare(observations: Sequence[Observation]) -> tuple[Difference, ...]:
    """Return all differences between the usable servers, the gravest first."""
    states = [(o.backend.name, o.facts) for o in observations if _is_comparable(o)]
    found = (rule(states) for rule in _RULES)
    return tuple(difference for difference in found if difference is not None)


def comparable(observations: Sequence[Observation]) -> int:
    """Return how many servers are usable and have reported their state, so that they can be compared."""
    return sum(map(_is_comparable, observations))


def _is_comparable(observation: Observation) -> bool:
    return observation.standing < Standing.NOT_READY and bool(observation.facts.read_at)


def age(server_state: ServerState) -> float | None:
    """Return how old the newest sample was when the server's state was read, in seconds; None when it is not known."""
    if server_state.newest is None or not server_state.read_at:
        return None
    return max(0.0, server_state.read_at + (server_state.skew or 0.0) - server_state.newest)


def is_stale(server_state: ServerState) -> bool:
    """Return whether a server has stopped ingesting samples; False for a server that has just started."""
    seconds = age(server_state)
    longest = max((interval for _, interval in server_state.jobs), default=STALE_S)
    limit = min(STALE_S, max(_STALE_WITH_JOBS_S, 4 * longest))
    return seconds is not None and seconds > limit and uptime(server_state) >= SETTLED_S


def _same_server(states: NamedStates) -> Difference | None:
    """Return the servers that are one process, found under several addresses: they started at the same microsecond."""
    names: dict[float, list[str]] = {}
    for name, server_state in states:
        # A start in whole milliseconds may be rounded, as in the metric of the same name.
        if server_state.started_at is not None and abs(server_state.started_at - round(server_state.started_at, 3)) > 1e-6:
            names.setdefault(server_state.started_at, []).append(name)
    values = tuple((name, f"started {moment(start)}") for start, alike in names.items() if len(alike) > 1 for name in alike)
    text = "They are one server with several addresses: when it stops, all of them are down."
    return Difference(SAME_SERVER, text, values) if values else None


def _stale(states: NamedStates) -> Difference | None:
    old = [(name, duration(age(server_state) or 0)) for name, server_state in states if is_stale(server_state)]
    return Difference("stale", "The newest sample is old: the server has stopped ingesting.", tuple(old)) if old else None


def _reload(states: NamedStates) -> Difference | None:
    failed = tuple((name, "failed") for name, server_state in states if server_state.reload_ok is False)
    return Difference("reload", "The last reload failed: an older configuration is active.", failed) if failed else None


def _configuration(states: NamedStates) -> Difference | None:
    # A server reports its configuration with the defaults of its version, so only servers of one version are compared.
    for version in {server_state.version: None for _, server_state in states}:
        known = [(name, each) for name, each in states if each.config_hash and each.version == version]
        if len({each.config_hash for _, each in known}) > 1:
            jobs = {job for _, each in known for job, _ in each.jobs}
            values = tuple((name, f"{each.config_hash}{_without(each, jobs)}") for name, each in known)
            return Difference("configuration", "The configurations differ in more than external labels.", values)
    return None


def _without(server_state: ServerState, jobs: set[str]) -> str:
    """Return which of some jobs a configuration does not have, as an addition to its hash; empty if its jobs are not known."""
    absent = sorted(jobs.difference(job for job, _ in server_state.jobs)) if server_state.jobs else []
    return f", without the job{'s' if len(absent) > 1 else ''} {listing(absent)}" if absent else ""


def _flags(states: NamedStates) -> Difference | None:
    # A flag that a version does not have is not compared; a different default of the flag in another version is a difference.
    known = [(name, dict(server_state.flags)) for name, server_state in states if server_state.flags]
    names = {flag for _, flags in known for flag in flags}
    unequal = sorted((flag for flag in names if len({flags.get(flag) for _, flags in known} - {None}) > 1), key=_by_gravity)
    if not unequal:
        return None
    shown, more = unequal[:_MOST_FLAGS], len(unequal) - _MOST_FLAGS
    rest = f" and {more} more" if more > 0 else ""
    values = tuple((name, " ".join(f"{flag}={flags[flag]}" for flag in shown if flag in flags) + rest) for name, flags in known)
    return Difference("flags", "They run with different flags: the same request may have different answers.", values)


def _by_gravity(flag: str) -> tuple[int, str]:
    """Return the sort key of a flag: flags that decide what a query returns come first."""
    return next((place for place, prefix in enumerate(_GRAVEST) if flag.startswith(prefix)), len(_GRAVEST)), flag


def _targets(states: NamedStates) -> Difference | None:
    settled = [(name, server_state) for name, server_state in states if uptime(server_state) >= SETTLED_S]
    known = [(name, server_state.targets) for name, server_state in settled if server_state.targets is not None]
    most = max((count for _, count in known), default=0)
    less = [(name, count) for name, count in known if count < most]
    if not less:
        return None
    if len(less) > 1:
        text = f"They scrape different numbers of targets: {len(less)} servers have fewer than {most}."
    else:
        (name, count), other = less[0], "the other one" if len(known) == 2 else "another one"
        text = f"{name} scrapes {count} of {most} targets that {other} scrapes."
    amounts = tuple(float(count) for _, count in known)
    return Difference("targets", text, tuple((name, str(count)) for name, count in known), amounts=amounts)


def uptime(server_state: ServerState) -> float:
    """Return how many seconds the server had run when its state was read; infinity when it does not report its start."""
    return (
        float("inf")
        if server_state.started_at is None
        else server_state.read_at + (server_state.skew or 0.0) - server_state.started_at
    )


def _retention(states: NamedStates) -> Difference | None:
    return _unequal(states, "retention", "They keep data for different times.", lambda f: f.retention_s, duration, _RETENTION_S)


def _version(states: NamedStates) -> Difference | None:
    values = tuple((name, server_state.version) for name, server_state in states if server_state.version)
    different = len({value for _, value in values}) > 1
    return Difference("version", "They run different versions of Prometheus.", values) if different else None


def _clock(states: NamedStates) -> Difference | None:
    def ahead(seconds: float) -> str:
        return f"{seconds:+z.1f}s"

    return _unequal(states, "clock", "Their clocks differ (compared with mpp's clock).", lambda f: f.skew, ahead, CLOCKS_APART_S)


def _external_labels(states: NamedStates) -> Difference | None:
    """Return the external labels that differ. In most pairs they differ on purpose, so the level is `NOTE`."""
    known = [
        (name, dict(server_state.external_labels)) for name, server_state in states if server_state.external_labels is not None
    ]
    names = sorted({label for _, labels in known for label in labels})
    unequal = [label for label in names if len({labels.get(label) for _, labels in known}) > 1]
    if not unequal:
        return None
    shown, more = unequal[:_MOST_LABELS], len(unequal) - _MOST_LABELS
    rest = f" and {more} more" if more > 0 else ""
    text = "Their external labels differ: the series of federation and remote read have other labels on each server."
    pairs = ((name, [f'{label}="{labels[label]}"' for label in shown if label in labels]) for name, labels in known)
    values = tuple((name, (" ".join(described) or "none of them") + rest) for name, described in pairs)
    return Difference("external_labels", text, values, NOTE)


def _unequal(
    states: NamedStates,
    kind: str,
    text: str,
    of: Callable[[ServerState], float | None],
    write: Callable[[float], str],
    tolerance: float = 0.0,
) -> Difference | None:
    values = [(name, value) for name, value in ((name, of(server_state)) for name, server_state in states) if value is not None]
    if not values or max(value for _, value in values) - min(value for _, value in values) <= tolerance:
        return None
    written, amounts = tuple((name, write(value)) for name, value in values), tuple(value for _, value in values)
    return Difference(kind, text, written, amounts=amounts, tolerance=tolerance)


_RULES = (_same_server, _stale, _reload, _configuration, _flags, _targets, _retention, _version, _clock, _external_labels)
