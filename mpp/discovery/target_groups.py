"""
The parser of Prometheus' target groups, ``[{targets: [host:port], labels: {...}}]``. Pure: knows neither files nor HTTP.

A text means the same servers as in Prometheus. Only the labels that say where a server is are used:

- ``__scheme__``: ``http`` (default) or ``https``; a target without a port has the scheme's, 80 or 443.
- ``__path_prefix__``: like ``/prometheus``; a label for mpp only. Without it, a ``__metrics_path__`` that ends in ``/metrics``
  determines the prefix, so that a list that is also used for scraping needs no additional label.
- ``__address__``: the ``host:port`` to use instead of the group's target; such a group must not have a second target.

There is no relabeling. All other labels are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from mpp.core.backend_url import parse_endpoint
from mpp.core.model import Backend
from mpp.core.text.humanize import quantity
from mpp.core.yaml.events import read_yaml

# Parsing YAML takes a second per MiB, on the reactor's thread; this is room for some thousand servers.
MAX_YAML_BYTES = 256 * 1024
# A list, a group, its labels; deeper nesting is no list of target groups.
_MAX_DEPTH = 8
# Maximum number in one list. Aliases in YAML could multiply the targets of a short text.
MAX_TARGETS = 10_000
# Maximum number reported per list; further ones are reported when these are fixed.
_MAX_PROBLEMS = 20
_MAX_PROBLEM = 300

_USERINFO = re.compile(r"\A([a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)
_MAX_SHOWN = 100


@frozen
class ParsedBackends:
    """
    The content of a source: a list of target groups, an endpoints file, or records of DNS.

    :ivar backends: in the source's order, without duplicates.
    :ivar problems: ``place: problem``, for each entry that was skipped.
    """

    backends: tuple[Backend, ...]
    problems: tuple[str, ...]


def without_secrets(text: str) -> str:
    """Return a text that the operator wrote, such as a URL, fit for a message: user, password and query masked, and shortened."""
    shown = _USERINFO.sub(r"\1***@", text).partition("?")
    head = shown[0] if len(shown[0]) <= _MAX_SHOWN else shown[0][:_MAX_SHOWN] + "..."
    return head + ("?***" if shown[1] else "")


def read_groups(groups: object) -> ParsedBackends:
    """
    Return the backends in a list of target groups.

    :param groups: the value that `parse_json` or `parse_yaml` returned.
    :raises ValueError: it is no such list, has more than `MAX_TARGETS` targets, or has entries of which none is valid.
    """
    if not isinstance(groups, list):
        raise ValueError(f"expected a list of target groups, like [{{targets: [host:port]}}], found {_kind(groups)}")
    backends: dict[Backend, None] = {}
    problems: list[str] = []
    count = 0
    for number, group in enumerate(groups, start=1):
        for found in _read_group(group):
            count += 1
            if count > MAX_TARGETS:
                raise ValueError(f"more than {MAX_TARGETS} targets")
            if isinstance(found, Backend):
                backends.setdefault(found)
            else:
                problems.append(f"group {number}{found}"[:_MAX_PROBLEM])
    if problems and not backends:
        raise ValueError(f"no target is usable; {problems[0]}")
    hidden = len(problems) - _MAX_PROBLEMS
    more = [quantity(hidden, "more problem")] if hidden > 0 else []
    return ParsedBackends(tuple(backends), tuple(problems[:_MAX_PROBLEMS] + more))


def _read_group(group: object) -> Iterator[Backend | str]:
    """Yield the group's backends, and for each problem the text that follows the group's number."""
    try:
        where, addresses = _split(group)
    except ValueError as error:
        yield f": {error}"
        return
    for number, address in enumerate(addresses, start=1):
        try:
            yield where.backend(address)
        except ValueError as error:
            shown = without_secrets(address) if isinstance(address, str) else _kind(address)
            yield f", target {number} ({shown}): {error}"


def _split(group: object) -> tuple[_GroupLabels, list[object]]:
    """Return the labels of a group, and the addresses of its servers."""
    if not isinstance(group, dict):
        raise ValueError(f"expected targets and labels, found {_kind(group)}")
    unknown = group.keys() - {"targets", "labels"}
    if unknown:
        # As in Prometheus: a misspelled key must not count as a group without targets.
        raise ValueError(f"unknown key {sorted(map(str, unknown))[0]!r}, expected targets and labels")
    targets, labels = group.get("targets") or [], group.get("labels") or {}
    if not isinstance(targets, list):
        raise ValueError(f"targets: expected a list, found {_kind(targets)}")
    if not isinstance(labels, dict):
        raise ValueError(f"labels: expected names with values, found {_kind(labels)}")
    address = _label(labels, "__address__")
    if address and len(targets) > 1:
        raise ValueError("with the label __address__, a group must have one target")
    return _GroupLabels.of(labels), [address] if address and targets else targets


@frozen
class _GroupLabels:
    """The labels of a group that apply to all its servers."""

    scheme: str
    prefix: str

    @classmethod
    def of(cls, labels: dict[Any, Any]) -> _GroupLabels:
        """Parse the labels of a group."""
        scheme = _label(labels, "__scheme__").lower() or "http"
        if scheme not in ("http", "https"):
            raise ValueError("the label __scheme__ must be http or https")
        prefix = _label(labels, "__path_prefix__")
        metrics = _label(labels, "__metrics_path__")
        if "__path_prefix__" not in labels and metrics.endswith("/metrics"):
            prefix = metrics.removesuffix("/metrics")
        if prefix and not prefix.startswith("/"):
            raise ValueError("the label __path_prefix__ must begin with a slash")
        return cls(scheme, prefix)

    def backend(self, address: object) -> Backend:
        """Return the backend at an address."""
        if not isinstance(address, str):
            raise ValueError("expected host:port")
        if "/" in address and "@" not in address:
            raise ValueError("expected host:port; use the label __scheme__ for https, __path_prefix__ for a path")
        return parse_endpoint(f"{self.scheme}://{address.strip()}{self.prefix}")


def _label(labels: dict[Any, Any], name: str) -> str:
    value = labels.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"the label {name} must be text, not {_kind(value)}")
    return value


def _kind(value: object) -> str:
    """Return the JSON name of a value's type, without the value."""
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), "a number")


def decoded(data: bytes) -> str:
    """Decode bytes as UTF-8, with or without a byte order mark; raise ValueError if they are not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte {error.start})") from None


def parse_json(text: str) -> object:
    """
    Parse a JSON text.

    :raises ValueError: it is not valid; the message begins with the number of the line at fault, if that is known.
    """
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: not JSON: {error.msg}") from None
    except ValueError:
        # Python reads integers of up to 4,300 digits.
        raise ValueError("not JSON that can be read: a number has too many digits") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def parse_yaml(text: str) -> object:
    """
    Parse a YAML text, all scalars as text; a text without a value (comments only) yields an empty list.

    :raises ValueError: it is not valid, or larger than `MAX_YAML_BYTES`; the message begins with the number of the line at
        fault, if that is known.
    """
    if len(text) > MAX_YAML_BYTES:
        raise ValueError(f"larger than {MAX_YAML_BYTES // 1024} KiB; use JSON for long lists")
    value = read_yaml(text, depth=_MAX_DEPTH)
    return [] if value is None else value
