r"""
Log events as lines: one event, one line, in logfmt or JSON. Pure.

A line has ``ts``, ``level``, ``msg`` and ``component`` as Prometheus has them, then what the event itself carries, by the names
it was logged with, and for a failure ``err`` (in a word) and ``stack`` (the traceback). Whatever a value holds, it cannot begin a
new line, forge a field, speak to a terminal, or be shown in another order than it has.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from twisted.logger import formatEvent
from twisted.python.reflect import safe_str

from mpp.core.log_components import PROGRAM, component_of

Value = str | int | float | bool

LEVELS = ("debug", "info", "warn", "error")
"""Least important first."""

PRIORITIES = {"debug": "<7>", "info": "<6>", "warn": "<4>", "error": "<3>"}
"""What systemd's journal takes from the beginning of a line, and off it: syslog's numbers."""

# What one value may have: room for a deep traceback, and less than journald (48 KiB) and Docker (16 KiB) split a line at.
MAX_VALUE = 12 * 1024

_FIRST = ("ts", "level", "msg", "component")
_RESERVED = frozenset((*_FIRST, "err", "stack"))
# What Twisted adds to an event for observers of its older kind.
_NOT_OWN = frozenset(("message", "time", "system", "format", "isError", "printed"))

_TALKATIVE = "twisted.web.client."

_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_.-]")
# A space, an equals sign or a quote would end a value; a backslash is an escape to some readers, a control one to a terminal.
_QUOTED = re.compile(r'[\x00-\x20"=\\\x7f]').search
# What is shown as something else than it is, or not at all: C1 controls, Unicode's line ends, halves of characters, and what
# has a reader see text in another order (UAX #9; CVE-2021-42574, "Trojan Source") or hides in it: joiners, fillers, marks, tags.
_HIDDEN = (
    "\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e007f"
)
_UNSAFE = re.compile(f"[{_HIDDEN}]")
# For values that are not all ASCII, which are few: a character class with so many ranges takes its time.
_QUOTED_BEYOND_ASCII = re.compile(rf'[\s\x00-\x20"=\\{_HIDDEN}]').search


def fields(event: Mapping[str, Any]) -> dict[str, Value]:
    """
    Give what is told of an event, in order. Values that are empty are left out, and those that are all of the message.

    An event of another process has all of that already, as ``log_told``.
    """
    if "log_told" in event:
        return dict(event["log_told"])
    old = _is_old(event)
    failure = event.get("failure" if old else "log_failure")
    error = "" if failure is None else _error(failure)
    message = _message(event, failure) or error
    found: dict[str, Value] = {
        "ts": timestamp(event["log_time"]),
        "level": level_of(event),
        "msg": message,
        "component": component_of(safe_str(event.get("log_namespace") or PROGRAM)),
    }
    for name, value in () if old else event.items():
        if not (key := _name(name)) or value is None:
            continue
        shown = plain(value)
        if shown != "" and shown != message:
            found[key] = shown
    if failure is not None:
        found["err"] = error
        found["stack"] = _last(failure.getTraceback().strip())
    return found


def level_of(event: Mapping[str, Any]) -> str:
    """
    Give an event's level, one of `LEVELS`.

    What Twisted calls critical (whatever has a traceback) is an error; that its client opens connections, which it tells of
    each one, is of interest to nobody but who looks for a bug.
    """
    level = getattr(event.get("log_level"), "name", "info")
    if level == "info" and str(event.get("log_namespace")).startswith(_TALKATIVE):
        return "debug"
    return level if level in LEVELS else "error"


def sameness(event: Mapping[str, Any], told: Mapping[str, Value]) -> str | None:
    """
    Return what an event's line has in common with those that say the same; None for an event whose lines are all written.

    Warnings and errors are the same when all but their time is. Other events are written each time, unless they name, as
    ``log_same``, what they say without numbers that differ each time: those that a server which comes and goes can cause
    without end. An event with ``log_each`` answers what an operator did, who waits for it.

    :param told: its `fields`.
    """
    if event.get("log_each"):
        return None
    same = event.get("log_same")
    if same is not None:
        return f"{told['component']} {same}"
    if told["level"] not in ("warn", "error"):
        return None
    # A digest, since what is remembered of a line may be as long as a traceback.
    said = "\0".join(f"{name}={value}" for name, value in told.items() if name != "ts")
    return hashlib.blake2b(said.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def timestamp(seconds: float) -> str:
    """Give a point in time as Prometheus' log has it: UTC, in milliseconds."""
    whole, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{microseconds // 1000:03d}Z"


# Of a busy log's lines hundreds have the same.
@functools.lru_cache(2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def plain(value: object) -> Value:
    """Give a value as it is shown: numbers and truth as they are, all else as bounded text."""
    if isinstance(value, str):
        return _bounded(value)
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        # JSON has no word for the others.
        return round(value, 6) if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return _bounded(value.decode("utf-8", "backslashreplace"))
    return _bounded(safe_str(value))


def logfmt(told: Mapping[str, Value]) -> str:
    """Give a line of ``key=value``, quoted where needed (as Go's logfmt does: quotes, and JSON's escapes within)."""
    return " ".join([f"{name}={_quoted(value)}" for name, value in told.items()])


def json_line(told: Mapping[str, Value]) -> str:
    """Give a line of JSON, all ASCII."""
    return json.dumps(told, separators=(",", ":"))


RENDERERS: Mapping[str, Callable[[Mapping[str, Value]], str]] = {"logfmt": logfmt, "json": json_line}
"""How lines are written, by the name of the format."""


def with_priority(render: Callable[[Mapping[str, Value]], str]) -> Callable[[Mapping[str, Value]], str]:
    """Give what writes the same lines, each with its level in front as the journal reads it (sd-daemon(3))."""
    return lambda told: f"{PRIORITIES[str(told['level'])]}{render(told)}"


def _quoted(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    if value.isascii():
        # The default of json.dumps has an encoder at hand, and leaves none of these as they are.
        return value if value and not _QUOTED(value) else json.dumps(value)
    if not _QUOTED_BEYOND_ASCII(value):
        return value
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], json.dumps(value, ensure_ascii=False))


def _is_old(event: Mapping[str, Any]) -> bool:
    """Tell whether an event was logged by ``twisted.python.log``, and carries its own makings."""
    return event.get("log_namespace") == "log_legacy"


def _message(event: Mapping[str, Any], failure: object) -> str:
    if failure is not None and _is_old(event):
        # All of the traceback is in the text of such an event.
        return _bounded(safe_str(event.get("why") or ""))
    text = event.get("log_format")
    if type(text) is str and "{" not in text and "}" not in text:
        # Nothing to fill in, which takes longer to find out in the general way than all else here.
        return _bounded(text.strip())
    return _bounded(formatEvent(event).strip())  # type: ignore[arg-type]


# There are as many as the program has in its calls.
@functools.lru_cache(1024)
def _name(name: str) -> str:
    """Give a field's name: without what would break the line, and none of those that every line has; empty for no field."""
    if name.startswith("log_") or name in _NOT_OWN:
        return ""
    name = _UNNAMEABLE.sub("_", name) or "_"
    return f"{name}_" if name in _RESERVED else name


def _error(failure: Any) -> str:
    """Give a failure in a word: its type and what it says."""
    kind = getattr(failure.type, "__name__", "Failure")
    said = safe_str(failure.value)
    return _bounded(f"{kind}: {said}" if said else kind)


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + "..."


def _last(text: str) -> str:
    """Bound a traceback: its end says most."""
    return text if len(text) <= MAX_VALUE else "..." + text[-MAX_VALUE + 3 :]
