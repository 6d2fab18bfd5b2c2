"""The JSON of mpp's own pages (``status``, ``explain``, ``config``, ``reload``, flushes, errors): keys, types, fixed values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from attrs import evolve

from mpp.admin import explain_page as explained
from mpp.admin.cache.view import CacheView
from mpp.admin.status import effective
from mpp.admin.status import json_document as document
from mpp.admin.status.identity import Identity
from mpp.cache.store import EMPTY
from mpp.config.configured import ConfiguredValue, EffectiveConfig
from mpp.core.coverage import Coverage, Hole, Job, Missing
from mpp.core.facts import Lack, Replay
from mpp.core.http import heads
from mpp.core.intervals import Intervals
from mpp.core.metrics.cache_use import CacheTraffic, CacheUse
from mpp.core.model import Observation, Standing
from mpp.coverage import drift
from mpp.coverage.drift import Difference
from mpp.coverage.freshness import Freshness
from mpp.coverage.history.service import Progress
from mpp.proxy.decisions.explain import Explanation
from mpp.security.web_config.protection import ListenerSecurity
from mpp.security.web_config.values import ClientAuth
from mpp.selection.recent import Event, RecentTraffic, TrafficSlot, TrafficSpan
from mpp.selection.verdict import verdict
from tests.contract import source
from tests.status_support import NOW, A, B, view, well

_EVENTS = (("event_log.record", 0), ("self.note", 0), ("_note_down", 0), ("program.record", 0), ("Problems", 1))
"""The functions that have an event on the page, and which of their arguments is its kind."""


def lines() -> set[str]:
    """Return a line for each key with its types, and one for each value that is a word of mpp's own."""
    return {
        *_keys("status", [document.document(_full()), document.document(view(evolve(well(B), facts=_unknown), selected=()))]),
        *_status_words(),
        *_keys("explain", [explained.document(_explanation(1.0)), explained.document(_explanation(None))]),
        *_explain_words(),
        *_keys("config", [effective.document(_config("x")), effective.document(_config(None))]),
        *_words("config.values[].origin", source.passed("ConfiguredValue", 3) | source.returned("_origin") - {""}),
        *_keys("error", [json.loads(heads.error_body("", ""))]),
        *_words("error.errorType", _error_types()),
        *(f"reload.{key}" for key in source.keys_of("dumps", "changed")),
        *(f"flush.{key}" for key in source.keys_of("dumps", "entries")),
    }


_unknown = Observation(B, Standing.DOWN).facts


def _full() -> Any:
    """Return a view in which everything is known."""
    one = (1.0,) * 6
    recent = RecentTraffic(*one, (TrafficSlot(1.0, 1.0, 1.0, 1.0, "selected"),), TrafficSpan(*one))
    observation = evolve(
        well(A),
        ejected_at=NOW,
        replay=Replay(2, 3, NOW - 60, 1),
        lack=Lack(1, 2, NOW),
    )
    hole = Missing.of(Intervals.of([(NOW - 60, math.inf)]), {"node": [Hole(NOW - 9000, NOW - 8000, 1, 2)]})
    always = Missing(Intervals.of([(-math.inf, NOW - 90000)]), drift={"node": 1})
    shown = view(
        observation,
        well(B, facts_version="2.42.0"),
        recent={observation.backend.name: recent},
        coverage=Coverage({"node": Job(2, 30.0)}, {A: hole | always}, Intervals.of([(NOW - 900, NOW - 800)])),
        looked_back={A: Progress(NOW, finished=True, again=Intervals.of([(NOW - 60, NOW)]))},
        events=(Event(NOW, "x", "x"),),
        cache=CacheView(EMPTY, CacheTraffic(CacheUse(1.0), CacheUse(1.0), 1.0), Freshness(1.0, "x", "x")),
        security=ListenerSecurity(tls=True, tls_minimum="1.2", users=1, rate_limit=True, problem="x"),
        identity=Identity("host", 1, ("0.0.0.0:9090",)),
    )
    assert drift.compare(shown.selection.observations), "there is a difference to show"
    return shown


def _status_words() -> Iterator[str]:
    roles = source.returned("role")
    yield from _words("status.backends[].role", roles)
    yield from _words("status.backends[].recent.slots[].role", roles | source.returned("state"))
    yield from _words("status.backends[].level", verdict.LEVELS)
    yield from _words("status.backends[].standing", (standing.name.lower() for standing in Standing))
    yield from _words("status.verdict.level", verdict.LEVELS)
    yield from _words("status.drift[].kind", source.passed("Difference", 0) | source.passed("unequal", 1))
    yield from _words("status.drift[].level", source.passed("Difference", 3, "level") | {Difference("", "", ()).level})
    yield from _words("status.events[].kind", set().union(*(source.passed(*place) for place in _EVENTS)))
    yield from _words("status.listener.client_certificates", (each.word for each in ClientAuth))


def _explain_words() -> Iterator[str]:
    yield from _words("explain.outcome", source.passed("Explanation", 3) | source.passed("local", 2))
    yield from _words("explain.decided_by", source.returned("_decided_by") | source.passed("_Destination", 1))
    yield from _words("explain.level", verdict.LEVELS)


def _error_types() -> set[str]:
    """Return the kinds of errors of mpp's own."""
    return {
        *source.passed("error_body", 0),
        *source.assigned("error_type"),
        *source.passed("request.fail", 1),
        *source.passed("request.reject", 1),
        *source.passed("LocalReply", 1),
        *(kind for status, kind in source.pairs(int, str) if status >= 400),
    }


def _words(key: str, values: Any) -> Iterator[str]:
    return (f"{key} = {value}" for value in values)


def _keys(page: str, documents: list[dict[str, Any]]) -> Iterator[str]:
    """Return a line for each key in any of some documents, with all types that its value has in them."""
    found: dict[str, set[str]] = {}
    for each in documents:
        for path, kind in _flat(page, each):
            found.setdefault(path, set()).add(kind)
    for path, kinds in found.items():
        yield f"{path}: {' or '.join(sorted(kinds))}"


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        # In the values of drift the keys are names of servers.
        for key, inner in value.items():
            yield from _flat(f"{path}.{'*' if path.endswith('.values') else key}", inner)
    elif isinstance(value, list | tuple):
        yield from ((path, "list") for _ in (1,))
        for inner in value:
            yield from _flat(f"{path}[]", inner)
    else:
        kinds = {bool: "boolean", int: "number", float: "number", str: "text", type(None): "null"}
        yield path, kinds[type(value)]


def _explanation(deadline: float | None) -> Explanation:
    return Explanation("GET", "/", "", "own", ("x",), ("x",), ("x",), deadline_seconds=deadline)


def _config(value: Any) -> EffectiveConfig:
    return EffectiveConfig((ConfiguredValue("x", value, "", "default", value or ""),), 1.0 if value else 0.0)
