"""
What parent and workers say to each other, as values that JSON can carry. Pure.

Everything is a list whose order both sides know: they are the same version of the same program.
"""

from __future__ import annotations

import base64
import pickle
from collections.abc import Collection, Iterable
from typing import Any

from attrs import Attribute, astuple, evolve

from mpp.facts import Facts, Lack
from mpp.front.passwords import Familiar
from mpp.http_config import Origin, Origins
from mpp.model import Backend, Choice, Observation, Selection, Standing


def packed(value: object) -> str:
    """Return any value as text, for what only the parent says."""
    return base64.b64encode(pickle.dumps(value)).decode("ascii")


def unpacked(text: str) -> Any:
    """Return the value that `packed` was called with. For what the parent says: who writes it can have any code run here."""
    return pickle.loads(base64.b64decode(text))


def familiar_out(familiar: Familiar) -> list[str]:
    """Give familiar credentials, which is no more than a digest, a user and his hash."""
    return [familiar.digest.hex(), familiar.user.hex(), familiar.hashed.hex()]


def familiar_in(value: Any) -> Familiar:
    """Read familiar credentials."""
    return Familiar(*map(bytes.fromhex, value))


def backend_out(backend: Backend) -> list[Any]:
    """Give a backend."""
    return [backend.scheme, backend.host, backend.port, backend.prefix]


def backend_in(value: Any) -> Backend:
    """Read a backend."""
    scheme, host, port, prefix = value
    return Backend(str(scheme), str(host), int(port), str(prefix))


def selection_out(selection: Selection) -> list[Any]:
    """
    Give a Selection; the choice refers to the observations by their number, and to nobody else's backend. What only the parent
    shows, such as the progress of a replay, is left out.
    """
    number = {observation.backend: place for place, observation in enumerate(selection.observations)}

    def out(choice: Choice) -> list[Any]:
        selected, standbys = ([number[b] for b in part if b in number] for part in (choice.selected, choice.standbys))
        return [selected, standbys, choice.degraded]

    return [
        selection.generation,
        out(selection.choice),
        None if selection.past is None else out(selection.past.choice),
        [_observation_out(observation) for observation in selection.observations],
        selection.changed_at,
        [number[backend] for backend in selection.sticky if backend in number],
    ]


def selection_in(value: Any) -> Selection:
    """Read a Selection."""
    generation, choice, past, observed, changed_at, sticky = value
    observations = tuple(map(_observation_in, observed))
    backends = [observation.backend for observation in observations]

    def choice_in(value: Any) -> Choice:
        selected, standbys, degraded = value
        return Choice(tuple(backends[n] for n in selected), tuple(backends[n] for n in standbys), degraded)

    selection = Selection(generation, choice_in(choice), observations, changed_at, tuple(backends[n] for n in sticky))
    return selection if past is None else selection.with_past(choice_in(past))


def origins_out(known: Iterable[Collection[Origin] | None]) -> list[Any]:
    """Give where the backends of a Selection were found, in the order of its observations."""
    return [None if origins is None else [[each.locator, each.source] for each in origins] for origins in known]


def origins_in(selection: Selection, value: Any) -> Origins:
    """Read where those were found of whom it is known."""
    told = zip(selection.observations, value, strict=True)
    return {each.backend: [Origin(*origin) for origin in origins] for each, origins in told if origins is not None}


def _observation_out(observation: Observation) -> list[Any]:
    each = observation
    facts = astuple(each.facts, filter=_for_workers)
    ready_took = [round(seconds, 3) for seconds in each.ready_took]
    lack = None if each.lack is None else astuple(each.lack)
    known = int(each.standing), each.why, facts, each.returns, each.limited, each.unproven, ready_took, lack
    return [backend_out(each.backend), *known, each.at, each.took, each.ejected_at]


def _for_workers(attribute: Attribute[Any], value: object) -> bool:
    """Return whether workers need to know a fact: all but the last four, which may be large and are only compared."""
    return attribute.name not in ("pools", "jobs", "external_labels", "flags")


def _observation_in(value: Any) -> Observation:
    backend, standing, why, facts, returns, limited, unproven, ready_took, lack, at, took, ejected_at = value
    known = Observation(backend_in(backend), Standing(standing), why, Facts(*facts), at, took, ejected_at)
    return evolve(
        known,
        returns=returns,
        limited=limited,
        unproven=unproven,
        ready_took=tuple(ready_took),
        lack=Lack(*lack) if lack else None,
    )
