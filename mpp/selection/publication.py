"""
Puts a Selection in force: asks the strategy what to make of the observations, and tells the log and the metrics what has
changed. Knows the strategy; does not know where observations come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import evolve
from txaio.tx import make_logger

from mpp.core.facts import closed
from mpp.core.interfaces import IStrategy
from mpp.core.metrics import Metrics
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.core.text.durations import duration
from mpp.selection.event_log import EventLog
from mpp.selection.outliers.demotion import demoted
from mpp.selection.sticky_servers import sticky_servers

_log = make_logger()

# For people, who want to know what has changed.
_NAMED = 4

STRATEGY_FAILED = "the routing strategy failed (see the log), the last choice is kept"


class Publication:
    """
    What is published.

    :param wall: the time of day, seconds since the epoch.
    :ivar current: the Selection in force.
    :ivar strategy: whom the next choice is asked of.
    :ivar changed: called when there is a new one.
    """

    def __init__(self, strategy: IStrategy, wall: Callable[[], float], metrics: Metrics, event_log: EventLog) -> None:
        self.current = Selection()
        self.strategy = strategy
        self.changed: Callable[[], None] = _unwatched
        self._wall = wall
        self._metrics = metrics
        self._event_log = event_log
        # The last one that the strategy has made: `current`, unless a backend was demoted since.
        self._decided = self.current

    def observation(self, backend: Backend) -> Observation | None:
        """Give what is published of a backend, None when it is not known."""
        return self.current.observed.get(backend)

    def replace(self, new: Mapping[Backend, Observation]) -> None:
        """Publish what is known of some backends now, beside what was known of the others. Those not known are ignored."""
        self.publish(tuple(new.get(o.backend, o) for o in self.current.observations))

    def demote(self, observation: Observation) -> None:
        """Put a backend last without asking the strategy, if it is worse than what is published; `replace` follows soon."""
        before, self.current = self.current, demoted(self.current, observation)
        if self.current is not before:
            self.changed()

    def publish(self, observations: tuple[Observation, ...]) -> None:
        """Make a Selection of what is known now, and put it in force."""
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
            _log.warn("Selection is degraded: {degraded}", degraded=choice.degraded)
        elif last.choice.degraded and not choice.degraded:
            _log.info("Selection is no longer degraded", log_same="no longer degraded")
        if choice.selected != last.choice.selected:
            self._metrics.selection_events.inc()
            self._event_log.record("selection", describe_change(last, self.current, now, most=_NAMED))
            change = describe_change(last, self.current, now)
            _log.info(
                "{change}",
                change=change,
                # Servers that come and go make the same selections again and again.
                log_same=change,
                selected=",".join(backend.name for backend in choice.selected),
            )

    def _for_the_past(self, observations: tuple[Observation, ...], now: float) -> Choice | None:
        """Return the choice for requests that need nothing of what servers lack; None if no server lacks anything."""
        if all(o.lack is None for o in observations):
            return None
        last = self._decided if self._decided.past is None else self._decided.past
        whole = tuple(o if o.lack is None else evolve(o, lack=None, gaps=closed(o.gaps)) for o in observations)
        return self._choose(whole, last.choice, now)

    def _choose(self, observations: tuple[Observation, ...], last: Choice, now: float) -> Choice:
        """
        Ask the strategy what to make of all backends but mpp itself.

        It may be anyone's, and requests depend on what is published: its bugs end here.
        """
        observations = tuple(observation for observation in observations if not observation.is_self)
        try:
            return self.strategy.select(observations, last if self._decided.generation else None, now)
        except Exception:
            if last.degraded != STRATEGY_FAILED:
                _log.failure("Bug in routing strategy {strategy}", strategy=repr(self.strategy))
            return keep_choice(last, observations)


def _completed(last: tuple[Backend, ...], selection: Selection, past: Choice | None) -> Selection:
    """
    Return a Selection with its sticky servers, and with the choice for the past if there is another one.

    :param last: the sticky servers of the Selection before.
    """
    sticky = sticky_servers(last, selection)
    complete = selection if sticky == selection.sticky else evolve(selection, sticky=sticky)
    return complete if past is None else complete.with_past(past)


def _unwatched() -> None:
    """Nobody wants to know."""


def keep_choice(last: Choice, observations: tuple[Observation, ...]) -> Choice:
    """Give the last choice, less who is gone, unusable or (if others are left) suspect; the rest are standbys, by standing."""
    standings = {o.backend: o.standing for o in observations if o.standing < Standing.NOT_READY}
    well = tuple(b for b in last.selected if standings.get(b, Standing.DOWN) < Standing.SUSPECT)
    selected = well or tuple(b for b in last.selected if b in standings)
    taken = set(selected)
    ranked = (o.backend for o in sorted(observations, key=lambda o: o.standing))
    return Choice(selected, tuple(b for b in ranked if b not in taken), STRATEGY_FAILED)


def describe_change(last: Selection, new: Selection, now: float, most: int | None = None) -> str:
    """
    Give one line: who takes traffic, and what became of who took it before.

    :param most: how many are named of those who take traffic, came, and left; None: all.
    """
    before, after, known = set(last.selected), set(new.selected), new.observed
    left = [b for b in last.selected if b not in after]
    came = [b for b in new.selected if b not in before]
    text = f"Selection: {', '.join(_first([b.name for b in new.selected], most)) or 'nobody'}"
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
