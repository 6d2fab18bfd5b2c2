"""The log: levels, formats, names of components, and the names of all fields."""

from __future__ import annotations

import ast
import json

from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mpp.app.logs import format as logs
from mpp.app.logs.observer import LineObserver
from mpp.app.logs.repeats import RepeatFilter
from mpp.core.model import RequestInfo
from mpp.proxy.decisions import access_fields as access
from tests.contract import source


def lines() -> set[str]:
    """Return a line for each name."""
    return {
        *(f"level={level}" for level in logs.LEVELS),
        *(f"format: {name}" for name in logs.RENDERERS),
        *(f"every line: {name}" for name in _always()),
        *(f"a failure: {name}" for name in set(_failed()) - set(_always())),
        *(f"lost or repeated lines: {name}" for name in _of_the_log_itself()),
        *(f"component={name}" for name in _components()),
        *(f"access log: {name}" for name in _of_a_request()),
        *(f"field: {name}" for name in _fields()),
    }


def _event(**more: object) -> dict[str, object]:
    return {"log_time": 0.0, "log_namespace": "mpp", "log_format": "something", **more}


def _always() -> list[str]:
    return list(logs.fields(_event()))


def _failed() -> list[str]:
    return list(logs.fields(_event(log_failure=Failure(ValueError("no")))))


def _of_the_log_itself() -> set[str]:
    """Return the fields of the lines that the log writes of its own accord."""
    observer = LineObserver("json", "info")
    found = set(json.loads(observer.notice(1)))
    clock = Clock()
    repeats = RepeatFilter(lambda told: found.update(told), clock.seconds, lambda seconds, call: clock.callLater(seconds, call))
    for _ in range(2):
        repeats.is_due("the same", logs.fields(_event()))
    repeats.flush()
    return found - set(_always())


def _components() -> set[str]:
    namespaces = (*source.loggers_of_modules(), access.COMPONENT, "log_legacy", "twisted.web.client.Agent")
    return {_component(namespace) for namespace in namespaces}


def _component(namespace: str) -> str:
    return str(logs.fields(_event(log_namespace=namespace))["component"])


def _of_a_request() -> set[str]:
    """Return the fields of the access log."""
    facts = RequestInfo(b"GET", b"/", ())
    return {*access.describe(facts, ""), *source.keywords(["publish"])}


def _fields() -> set[str]:
    found: set[str] = set()
    for _, call in source.loggers():
        found |= {each.arg for each in call.keywords if each.arg is not None}
        # As they stand in messages: one that is passed in another way is found by that.
        for node in ast.walk(call):
            if isinstance(node, ast.Dict):
                found |= {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    # Names with this beginning say how an event is logged, and are no fields.
    return {name for name in found if not name.startswith("log_")} - {"failure"}
