"""
The parser of a Prometheus server's flags from ``/api/v1/status/flags`` (from 2.2 on), limited to the flags that should be the
same on all servers of a pair. Pure.

Like the configuration, flags decide what a query returns: the lookback delta, the features, the limits. Addresses and paths are
not compared, since servers are meant to differ in them, nor is the retention by time, whose effective value the server reports.
"""

from __future__ import annotations

import re

from mpp.core.prometheus.runtimeinfo import ProbeOutcome, data_of
from mpp.core.text import bounds

# Prometheus 3.5 has 66.
_MOST = 300
_NAME = re.compile(r"[\w.-]{1,100}+", re.ASCII)
_LONGEST_VALUE = 200
_NOT_COMPARED = frozenset(
    (
        *("web.listen-address", "web.external-url", "web.route-prefix"),
        *("web.console.libraries", "web.console.templates", "web.local-assets", "web.user-assets"),
        *("storage.tsdb.retention", "storage.tsdb.retention.time"),
    )
)
_PATHS = (".file", ".path")
# Lists whose order makes no difference.
_SETS = ("enable-feature",)


Flags = tuple[tuple[str, str], ...]
"""Pairs of the name and the value of a flag, sorted by name."""


def read_flags(outcome: ProbeOutcome) -> Flags:
    """
    Return the flags that should be the same on all servers of a pair.

    :return: names and values, by name, 300 at most; empty when the server does not report them. A value of more than 200
        characters is cut, and ends in a hash of the whole.
    """
    flags = sorted((data_of(outcome) or {}).items())
    return tuple((name, _shown(name, value)) for name, value in flags[:_MOST] if _is_compared(name) and isinstance(value, str))


def _is_compared(name: str) -> bool:
    return name not in _NOT_COMPARED and not name.endswith(_PATHS) and _NAME.fullmatch(name) is not None


def _shown(name: str, value: str) -> str:
    """Return a value as one line, the same for all values with the same meaning."""
    if name in _SETS:
        value = ",".join(sorted(value.split(",")))
    return bounds.line(value, _LONGEST_VALUE)
