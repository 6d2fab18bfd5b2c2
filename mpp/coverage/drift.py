"""
In what the servers of a pair differ that ought to be identical, or that a client may have to know. Pure.

Compared is what usable servers last told; of one that is down or not ready it is not known what is true now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import field, frozen

from mpp.core.facts import ServerState
from mpp.core.model import Observation, Standing
from mpp.core.text.durations import duration

WARN, NOTE = "warn", "note"

# Data of two servers whose clocks are so far apart are told apart by eye. A Date field alone is exact to half a second.
CLOCKS_APART_S = 2.0
# Longer than any sensible scrape interval: a server whose newest sample is older ingests nothing. Where the intervals are known,
# four of the longest are enough, and a minute.
STALE_S = 300.0
_STALE_WITH_JOBS_S = 60.0
# A server that has just started finds its targets one by one; by then it has asked for all of them more than once.
SETTLED_S = 60.0
# Retentions are written in days or hours: what is nearer than that is the same, differently rounded.
_RETENTION_S = 60.0
# So many flags that differ are named; of more, the number.
_MOST_FLAGS = 8
# Labels that differ are named likewise.
_MOST_LABELS = 8
_GRAVEST = ("query.", "enable-feature", "storage.tsdb.", "storage.")


@frozen
class Difference:
    """
    One thing in which servers differ.

    :ivar kind: ``version``, ``configuration``, ``flags``, ``retention``, ``targets``, ``clock``, ``reload``, ``stale`` or
        ``external_labels``.
    :ivar text: what it means, one sentence.
    :ivar values: for each server that told, its name and what it told.
    :ivar level: `WARN`, or `NOTE` for what may well be meant.
    :ivar amounts: what they told as numbers, in the same order, where it is one; empty otherwise.
    :ivar tolerance: numbers that are no further apart than this are alike.
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
        Return for each value the servers that have it, the smallest group first: of many servers the odd one out is looked for.

        Numbers that are alike are one group, with the lowest and the highest of them as its value.
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
    """Give all differences there are, the gravest first."""
    told = [(o.backend.name, o.facts) for o in observations if _is_comparable(o)]
    found = (rule(told) for rule in _RULES)
    return tuple(difference for difference in found if difference is not None)


def comparable(observations: Sequence[Observation]) -> int:
    """Return how many servers have told what is compared, and may still be believed."""
    return sum(map(_is_comparable, observations))


def _is_comparable(observation: Observation) -> bool:
    return observation.standing < Standing.NOT_READY and bool(observation.facts.read_at)


def age(server_state: ServerState) -> float | None:
    """Give how old the newest sample was when the facts were read, in seconds; None when there is no telling."""
    if server_state.newest is None or not server_state.read_at:
        return None
    return max(0.0, server_state.read_at + (server_state.skew or 0.0) - server_state.newest)


def is_stale(server_state: ServerState) -> bool:
    """Tell whether a server ingests nothing any more; one that has just started may not have begun."""
    seconds = age(server_state)
    longest = max((interval for _, interval in server_state.jobs), default=STALE_S)
    limit = min(STALE_S, max(_STALE_WITH_JOBS_S, 4 * longest))
    return seconds is not None and seconds > limit and _uptime(server_state) >= SETTLED_S


def _stale(states: NamedStates) -> Difference | None:
    old = [(name, duration(age(server_state) or 0)) for name, server_state in states if is_stale(server_state)]
    return Difference("stale", "The newest sample is old: nothing is ingested any more.", tuple(old)) if old else None


def _reload(states: NamedStates) -> Difference | None:
    failed = tuple((name, "failed") for name, server_state in states if server_state.reload_ok is False)
    return Difference("reload", "The last reload failed: an older configuration is in force.", failed) if failed else None


def _configuration(states: NamedStates) -> Difference | None:
    # Each version writes out the defaults it knows.
    for version in {server_state.version: None for _, server_state in states}:
        values = tuple(
            (name, server_state.config_hash)
            for name, server_state in states
            if server_state.config_hash and server_state.version == version
        )
        if len({value for _, value in values}) > 1:
            return Difference("configuration", "The configurations differ in more than external labels.", values)
    return None


def _flags(states: NamedStates) -> Difference | None:
    # A flag that another version does not know decides nothing there; a default of its own does.
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
    """Return where a flag ranks: first those that decide what a query returns."""
    return next((place for place, prefix in enumerate(_GRAVEST) if flag.startswith(prefix)), len(_GRAVEST)), flag


def _targets(states: NamedStates) -> Difference | None:
    settled = [(name, server_state) for name, server_state in states if _uptime(server_state) >= SETTLED_S]
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


def _uptime(server_state: ServerState) -> float:
    """Give for how long the server was up when its facts were read; for ever when it does not tell."""
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

    return _unequal(states, "clock", "Their clocks are apart (told beside mpp's).", lambda f: f.skew, ahead, CLOCKS_APART_S)


def _external_labels(states: NamedStates) -> Difference | None:
    """Return the labels that differ. They do on purpose in most pairs, so that is only a note."""
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


_RULES = (_stale, _reload, _configuration, _flags, _targets, _retention, _version, _clock, _external_labels)
