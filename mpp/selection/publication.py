"""
The publication of a Selection: it lets the strategy choose among the observations, and logs and counts the changes. Knows
the strategy; does not know where observations come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import evolve
from txaio.tx import make_logger

from mpp.core.facts import closed
from mpp.core.interfaces import IStrategy
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.core.text.durations import duration
from mpp.selection.event_log import EventLog
from mpp.selection.outliers.demotion import demoted
from mpp.selection.sticky_servers import sticky_servers

_log = make_logger()

# Maximum number of servers named in an event, which people read.
_NAMED = 4

STRATEGY_FAILED = "the routing strategy failed (see the log), the last choice is kept"


class Publication:
    """
    The owner of the current Selection.

    :param wall: returns the time of day, in seconds since the epoch.
    :ivar current: the current Selection.
    :ivar strategy: the strategy that makes the next choice.
    :ivar changed: called after each new Selection.
    """

    def __init__(self, strategy: IStrategy, wall: Callable[[], float], metrics: Metrics, event_log: EventLog) -> None:
        self.current = Selection()
        self.strategy = strategy
        self.changed: Callable[[], None] = _ignore
        self._wall = wall
        self._metrics = metrics
        self._event_log = event_log
        # The last Selection made by the strategy: `current`, unless a backend was demoted since.
        self._decided = self.current

    def observation(self, backend: Backend) -> Observation | None:
        """Return the published observation of a backend, or None if the backend is not known."""
        return self.current.observed.get(backend)

    def replace(self, new: Mapping[Backend, Observation]) -> None:
        """Publish new observations of some backends, and keep the other ones. Unknown backends are ignored."""
        self.publish(tuple(new.get(o.backend, o) for o in self.current.observations))

    def demote(self, observation: Observation) -> None:
        """
        Rank a backend last in the current Selection, if this observation of it is worse than the published one.

        The strategy is not asked, which saves time; `replace` asks it soon afterwards.
        """
        before, self.current = self.current, demoted(self.current, observation)
        if self.current is not before:
            self.changed()

    def publish(self, observations: tuple[Observation, ...]) -> None:
        """Make a Selection from the observations, and publish it."""
        for observation in observations:
            if observation.backend not in self.current.observed:
                self._metrics.expect_backend(observation.backend.name)
        self._activate(observations)
        self.changed()

    def _activate(self, observations: tuple[Observation, ...]) -> None:
        last, sticky, now = self._decided, self.current.sticky, self._wall()
        choice = self._choose(observations, last.choice, now)
        past = self._for_the_past(observations, now)
        if choice == last.choice and last.generation:
            self.current = self._decided = _completed(sticky, evolve(last, observations=observations, past=None), past)
            return
        self.current = self._decided = _completed(sticky, Selection(last.generation + 1, choice, observations, now), past)
        if choice.degraded and choice.degraded != last.choice.degraded:
            _log.warn("selection is degraded: {degraded}", degraded=choice.degraded)
        elif last.choice.degraded and not choice.degraded:
            _log.info("selection is no longer degraded", log_same="no longer degraded")
        if choice.selected != last.choice.selected:
            self._metrics.selection_events.inc()
            self._event_log.record("selection", describe_change(last, self.current, now, most=_NAMED))
            change = f"selection: {describe_change(last, self.current, now)}"
            _log.info(
                "{change}",
                change=change,
                # Servers that come and go make the same selections again and again.
                log_same=change,
                selected=",".join(backend.name for backend in choice.selected),
            )

    def _for_the_past(self, observations: tuple[Observation, ...], now: float) -> Choice | None:
        """Return the choice for requests whose data all servers have; None if no server lacks any data."""
        if all(o.lack is None for o in observations):
            return None
        last = self._decided if self._decided.past is None else self._decided.past
        whole = tuple(o if o.lack is None else evolve(o, lack=None, gaps=closed(o.gaps)) for o in observations)
        return self._choose(whole, last.choice, now)

    def _choose(self, observations: tuple[Observation, ...], last: Choice, now: float) -> Choice:
        """
        Return the strategy's choice among all backends except mpp itself; the last choice if the strategy fails.

        The strategy may be a plugin with bugs, and requests depend on the result, so any exception ends here.
        """
        observations = tuple(observation for observation in observations if not observation.is_self)
        try:
            return self.strategy.select(observations, last if self._decided.generation else None, now)
        except Exception:
            if last.degraded != STRATEGY_FAILED:
                _log.failure("bug: routing strategy {strategy} failed, the last choice is kept", strategy=repr(self.strategy))
            return keep_choice(last, observations)


def _completed(last: tuple[Backend, ...], selection: Selection, past: Choice | None) -> Selection:
    """
    Return a Selection with its sticky servers added, and with the choice for the past if that differs.

    :param last: the sticky servers of the previous Selection.
    """
    sticky = sticky_servers(last, selection)
    complete = selection if sticky == selection.sticky else evolve(selection, sticky=sticky)
    return complete if past is None else complete.with_past(past)


def _ignore() -> None:
    """Ignore a new Selection, until a callback is set."""


def keep_choice(last: Choice, observations: tuple[Observation, ...]) -> Choice:
    """
    Return the last choice without the selected backends that are no longer listed, not ready or down.

    Suspect backends stay selected only if no better one does. All backends that are not selected are standbys.
    """
    standings = {o.backend: o.standing for o in observations if o.standing < Standing.NOT_READY}
    healthy = tuple(b for b in last.selected if standings.get(b, Standing.DOWN) < Standing.SUSPECT)
    selected = healthy or tuple(b for b in last.selected if b in standings)
    taken = set(selected)
    ranked = (o.backend for o in sorted(observations, key=lambda o: o.standing))
    return Choice(selected, tuple(b for b in ranked if b not in taken), STRATEGY_FAILED)


def describe_change(last: Selection, new: Selection, now: float, most: int | None = None) -> str:
    """
    Return one line with the selected backends, and the state of each backend that is newly selected or no longer selected.

    :param most: the maximum number of names in each of the three lists; None: no limit.
    """
    before, after, known = set(last.selected), set(new.selected), new.observed
    left = [b for b in last.selected if b not in after]
    came = [b for b in new.selected if b not in before]
    text = ", ".join(_first([b.name for b in new.selected], most)) or "no backend"
    parts = _first([f"new: {_state(b, known.get(b), now)}" for b in came], most)
    parts += _first([f"out: {_state(b, known.get(b), now)}" for b in left], most)
    return f"{text} ({'; '.join(parts)})" if parts else text


def _first(texts: list[str], most: int | None) -> list[str]:
    if most is None or len(texts) <= most:
        return texts
    return [*texts[:most], f"{len(texts) - most} more"]


def _state(backend: Backend, observation: Observation | None, now: float) -> str:
    if observation is None:
        return f"{backend.name} no longer listed"
    if observation.why:
        return f"{backend.name} {observation.standing.name.lower()}: {observation.why}"
    return f"{backend.name} with {duration(observation.history(now))} of history"
