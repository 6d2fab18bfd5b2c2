"""A quick change of the Selection that ranks a failing server last without asking the strategy. Pure."""

from __future__ import annotations

from mpp.core.model import Backend, Choice, Observation, Selection


def demoted(selection: Selection, observation: Observation) -> Selection:
    """
    Return a Selection in which a backend is used only when no other one is left, for requests of past data too.

    The generation and the sticky servers stay the same: the result is current only until the strategy has been asked.

    :param observation: the new state of the backend. Unless that is worse than its published state, nothing changes.
    """
    known = selection.observed.get(observation.backend)
    if known is None or known.standing >= observation.standing:
        return selection
    observations = tuple(observation if each is known else each for each in selection.observations)
    choice = _without(selection, observation.backend)
    result = Selection(selection.generation, choice, observations, selection.changed_at, selection.sticky)
    return result if selection.past is None else result.with_past(_without(selection.past, observation.backend))


def _without(selection: Selection, backend: Backend) -> Choice:
    """Return the choice with a backend as the last of the standbys, if the backend belongs to the choice."""
    if backend not in selection.ranked:
        return selection.choice
    selected = tuple(each for each in selection.selected if each != backend)
    standbys = [each for each in selection.choice.standbys if each != backend]
    if not selected and standbys and selection.is_usable(standbys[0]):
        selected = (standbys.pop(0),)
    return Choice(selected, (*standbys, backend), selection.choice.degraded)
