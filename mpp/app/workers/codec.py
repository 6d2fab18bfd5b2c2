"""
The encoding of the messages between parent and workers as values of JSON. Pure functions.

Values are encoded as lists without names, because both processes are the same version of mpp.
"""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable, Sequence
from typing import Any

from attrs import Attribute, astuple, frozen

from mpp.core.coverage import Coverage, Hole, Job, Missing
from mpp.core.facts import Lack, ServerState
from mpp.core.http_config import DiscoverySource
from mpp.core.intervals import Intervals
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.promql.rules import RuleDefinition
from mpp.security.web_config.passwords import VerifiedCredentials

# Decoding the rules of one message takes about a millisecond.
_RULES_AT_ONCE = 200


def packed(value: object) -> str:
    """Return any value as text (a pickle), for messages from the parent to a worker."""
    return base64.b64encode(pickle.dumps(value)).decode("ascii")


def unpacked(text: str) -> Any:
    """Return the value of a text of `packed`. Only for text from the parent, because a pickle can run any code."""
    return pickle.loads(base64.b64decode(text))


def familiar_out(familiar: VerifiedCredentials) -> list[str]:
    """Encode verified credentials, which are a digest, the name of the user, and the hash of the password."""
    return [familiar.digest.hex(), familiar.user.hex(), familiar.hashed.hex()]


def familiar_in(value: Any) -> VerifiedCredentials:
    """Decode verified credentials; see `familiar_out`."""
    return VerifiedCredentials(*map(bytes.fromhex, value))


def backend_out(backend: Backend) -> list[Any]:
    """Encode the address of a backend."""
    return [backend.scheme, backend.host, backend.port, backend.prefix]


def backend_in(value: Any) -> Backend:
    """Decode the address of a backend."""
    scheme, host, port, prefix = value
    return Backend(str(scheme), str(host), int(port), str(prefix))


@frozen
class BackendMessage:
    """
    The data about a backend that the parent sends to workers.

    :ivar addresses: the IP addresses to try.
    :ivar sources: the discovery sources that listed the backend; None when they are not known.
    """

    observation: Observation
    addresses: tuple[str, ...]
    sources: tuple[DiscoverySource, ...] | None


def message_out(known: BackendMessage) -> str:
    """
    Encode the data about a backend as text, which stays the same as long as nothing changes that workers need.

    Data that only the parent shows is left out, such as the progress of a replay, the duration of the last probe, and the time of
    the last probe of a backend that cannot be used.
    """
    each, origins = known.observation, known.sources
    facts = astuple(each.facts, filter=_for_workers)
    ready_took = [round(seconds, 3) for seconds in each.ready_took]
    lack = None if each.lack is None else astuple(each.lack)
    at = each.at if each.standing <= Standing.BUSY else 0.0
    seen = int(each.standing), each.why, facts, each.returns, each.limited, each.unproven, ready_took, lack
    found = None if origins is None else [[source.locator, source.source] for source in origins]
    times = at, each.ejected_at
    return json.dumps([backend_out(each.backend), *seen, each.leaving, *times, known.addresses, found], separators=(",", ":"))


def message_in(text: str) -> BackendMessage:
    """Decode the data about a backend."""
    backend, standing, why, facts, returns, limited, unproven, ready_took, lack, *rest = json.loads(text)
    leaving, at, ejected_at, addresses, found = rest
    observation = Observation(
        backend_in(backend),
        Standing(standing),
        why,
        ServerState(*facts),
        at,
        ejected_at=ejected_at,
        returns=returns,
        limited=limited,
        unproven=unproven,
        ready_took=tuple(ready_took),
        lack=Lack(*lack) if lack else None,
        leaving=leaving,
    )
    return BackendMessage(
        observation, tuple(addresses), None if found is None else tuple(DiscoverySource(*origin) for origin in found)
    )


def selection_out(selection: Selection, known: list[str]) -> list[Any]:
    """
    Encode a Selection; its choice refers to backends by the index of their observation.

    :param known: the result of `message_out` for each of its observations.
    """
    number = {observation.backend: place for place, observation in enumerate(selection.observations)}

    def out(choice: Choice) -> list[Any]:
        selected, standbys = ([number[b] for b in part if b in number] for part in (choice.selected, choice.standbys))
        return [selected, standbys, choice.degraded]

    return [
        selection.generation,
        out(selection.choice),
        None if selection.past is None else out(selection.past.choice),
        known,
        selection.changed_at,
        [number[backend] for backend in selection.sticky if backend in number],
    ]


def selection_in(value: Any, read: Callable[[list[str]], Sequence[BackendMessage]]) -> Selection:
    """
    Decode a Selection that the parent has sent.

    :param read: decodes the data about all of its backends.
    """
    generation, choice, past, known, changed_at, sticky = value
    observations = tuple(each.observation for each in read(known))
    backends = [observation.backend for observation in observations]

    def choice_in(value: Any) -> Choice:
        selected, standbys, degraded = value
        return Choice(tuple(backends[n] for n in selected), tuple(backends[n] for n in standbys), degraded)

    selection = Selection(generation, choice_in(choice), observations, changed_at, tuple(backends[n] for n in sticky))
    return selection if past is None else selection.with_past(choice_in(past))


def coverage_out(coverage: Coverage) -> list[Any]:
    """Encode what the backends lack of their history; times without a beginning or an end become ``Infinity``, as Python's."""
    jobs = {name: [job.targets, job.window] for name, job in coverage.jobs.items()}
    missing = [
        [
            backend_out(backend),
            each.whole.edges,
            {job: [astuple(hole) for hole in holes] for job, holes in each.jobs.items()},
            dict(each.drift),
        ]
        for backend, each in coverage.missing.items()
    ]
    return [jobs, missing, coverage.common.edges]


def coverage_in(value: Any) -> Coverage:
    """Decode what the backends lack of their history; see `coverage_out`."""
    jobs, missing, common = value
    return Coverage(
        {name: Job(*job) for name, job in jobs.items()},
        {
            backend_in(backend): Missing(
                Intervals(tuple(whole)), {job: tuple(Hole(*hole) for hole in holes) for job, holes in by_job.items()}, drift
            )
            for backend, whole, by_job, drift in missing
        },
        Intervals(tuple(common)),
    )


def rules_out(definitions: Sequence[RuleDefinition]) -> list[list[Any]]:
    """Encode rules, as the values of several messages "rules", see `mpp.app.workers.remote_selections.RemoteSelections.ruled`."""
    parts = [definitions[place : place + _RULES_AT_ONCE] for place in range(0, len(definitions), _RULES_AT_ONCE)] or [()]
    return [[part, number == len(parts)] for number, part in enumerate(parts, 1)]


def rules_in(part: Any) -> list[RuleDefinition]:
    """Decode the rules in one message."""
    return [RuleDefinition(*rule) for rule in part]


def _for_workers(attribute: Attribute[Any], value: object) -> bool:
    """Return whether workers need a field of the server's state: all but four that may be large and are only compared."""
    return attribute.name not in ("pools", "jobs", "external_labels", "flags")
