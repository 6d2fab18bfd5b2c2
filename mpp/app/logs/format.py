r"""
The format of log lines: one line per event, in logfmt or JSON. Pure functions.

A line has the fields ``ts``, ``level``, ``msg`` and ``component`` as in the log of Prometheus, then the fields of the event under
the names with which it was logged, and for a failure ``err`` (type and message) and ``stack`` (the traceback). No value can start
a new line, forge a field, send control characters to a terminal, or change the order in which text is displayed.
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
"""The levels, the least important one first."""

PRIORITIES = {"debug": "<7>", "info": "<6>", "warn": "<4>", "error": "<3>"}
"""The prefix by which systemd's journal reads (and removes) the priority of a line: syslog's numbers."""

# The limit of a value in characters: enough for a deep traceback, and below the size at which journald (48 KiB) and Docker
# (16 KiB) split a line.
MAX_VALUE = 12 * 1024

_FIRST = ("ts", "level", "msg", "component")
_RESERVED = frozenset((*_FIRST, "err", "stack"))
# The keys that Twisted adds to an event for legacy observers.
_NOT_OWN = frozenset(("message", "time", "system", "format", "isError", "printed"))

_TALKATIVE = "twisted.web.client."

_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_.-]")
# A space, an equals sign or a quote would end a value. Some parsers read a backslash, and terminals read a control character, as
# the start of an escape sequence.
_QUOTED = re.compile(r'[\x00-\x20"=\\\x7f]').search
# Characters that are invisible or change how text is displayed: C1 controls, Unicode's line ends, surrogates, controls of the
# text direction (UAX #9; CVE-2021-42574, "Trojan Source"), joiners, fillers, marks and tags.
_HIDDEN = (
    "\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e007f"
)
_UNSAFE = re.compile(f"[{_HIDDEN}]")
# For values that are not all ASCII, which are rare: a character class with so many ranges is slow.
_QUOTED_BEYOND_ASCII = re.compile(rf'[\s\x00-\x20"=\\{_HIDDEN}]').search


def fields(event: Mapping[str, Any]) -> dict[str, Value]:
    """
    Return the fields of an event's line, in order, without empty values and without values that equal the message.

    An event from another process carries its finished fields as ``log_told``.
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
    Return the level of an event, one of `LEVELS`.

    Twisted's level "critical" (every event with a traceback) becomes "error". Its HTTP client logs each connection that it opens
    at level "info", which becomes "debug".
    """
    level = getattr(event.get("log_level"), "name", "info")
    if level == "info" and str(event.get("log_namespace")).startswith(_TALKATIVE):
        return "debug"
    return level if level in LEVELS else "error"


def sameness(event: Mapping[str, Any], record: Mapping[str, Value]) -> str | None:
    """
    Return a key that is equal for events whose lines repeat each other; None if each line of the event is written.

    Events that an unstable server can cause without end have the field ``log_same``: a text without the numbers that differ each
    time, which is their key. Other warnings and errors have the same key if all fields but the time are equal. Other events are
    always written, and so are events with ``log_each``, which report the result of an operator's action.

    :param record: the event's `fields`.
    """
    if event.get("log_each"):
        return None
    same = event.get("log_same")
    if same is not None:
        return f"{record['component']} {same}"
    if record["level"] not in ("warn", "error"):
        return None
    # A digest is kept because the fields may be as long as a traceback.
    text = "\0".join(f"{name}={value}" for name, value in record.items() if name != "ts")
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def timestamp(seconds: float) -> str:
    """Return a time (seconds since the epoch) in the format of Prometheus' log: ISO 8601, UTC, with milliseconds."""
    whole, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{microseconds // 1000:03d}Z"


# Hundreds of lines of a busy log have the same second.
@functools.lru_cache(2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def plain(value: object) -> Value:
    """Return a value as it is logged: numbers and booleans unchanged, all else as text of at most `MAX_VALUE` characters."""
    if isinstance(value, str):
        return _bounded(value)
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        # JSON cannot express infinity and NaN.
        return round(value, 6) if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return _bounded(value.decode("utf-8", "backslashreplace"))
    return _bounded(safe_str(value))


def logfmt(record: Mapping[str, Value]) -> str:
    """Return a line of ``key=value`` pairs, quoted where needed as in Go's logfmt: double quotes with JSON's escapes."""
    return " ".join([f"{name}={_quoted(value)}" for name, value in record.items()])


def json_line(record: Mapping[str, Value]) -> str:
    """Return the fields as a JSON object on one line, all ASCII."""
    return json.dumps(record, separators=(",", ":"))


RENDERERS: Mapping[str, Callable[[Mapping[str, Value]], str]] = {"logfmt": logfmt, "json": json_line}
"""The functions that render the fields of a line, by the name of the format."""


def with_priority(render: Callable[[Mapping[str, Value]], str]) -> Callable[[Mapping[str, Value]], str]:
    """Return a renderer whose lines begin with their priority as the journal reads it (sd-daemon(3))."""
    return lambda record: f"{PRIORITIES[str(record['level'])]}{render(record)}"


def _quoted(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    if value.isascii():
        # With its defaults, json.dumps reuses an encoder, and it escapes all characters of `_QUOTED` that need it.
        return value if value and not _QUOTED(value) else json.dumps(value)
    if not _QUOTED_BEYOND_ASCII(value):
        return value
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], json.dumps(value, ensure_ascii=False))


def _is_old(event: Mapping[str, Any]) -> bool:
    """Return whether an event was logged by the legacy ``twisted.python.log``, whose keys are no fields of the line."""
    return event.get("log_namespace") == "log_legacy"


def _message(event: Mapping[str, Any], failure: object) -> str:
    if failure is not None and _is_old(event):
        # The text of such an event contains the whole traceback.
        return _bounded(safe_str(event.get("why") or ""))
    text = event.get("log_format")
    if type(text) is str and "{" not in text and "}" not in text:
        # There is nothing to fill in. Twisted's formatting would take longer than everything else here.
        return _bounded(text.strip())
    return _bounded(formatEvent(event).strip())  # type: ignore[arg-type]


# The number of different names is bounded by the log calls in the code.
@functools.lru_cache(1024)
def _name(name: str) -> str:
    """
    Return the name of the log field for a key of an event; empty if the key is not logged.

    Unsafe characters are replaced, and ``_`` is appended to the name of a common field.
    """
    if name.startswith("log_") or name in _NOT_OWN:
        return ""
    name = _UNNAMEABLE.sub("_", name) or "_"
    return f"{name}_" if name in _RESERVED else name


def _error(failure: Any) -> str:
    """Return the type and the message of a failure."""
    kind = getattr(failure.type, "__name__", "Failure")
    said = safe_str(failure.value)
    return _bounded(f"{kind}: {said}" if said else kind)


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + "..."


def _last(text: str) -> str:
    """Shorten a traceback to its last `MAX_VALUE` characters."""
    return text if len(text) <= MAX_VALUE else "..." + text[-MAX_VALUE + 3 :]
