"""
A parser of the rules that a server reports, in steps. Does no I/O.

Source: Prometheus documentation, "HTTP API", "Rules". An expression is written without its comments; the recorded pages among the
tests are of 2.42.0 and 3.5.3.
"""

from __future__ import annotations

from collections.abc import Generator

import msgspec
from msgspec import Raw, Struct

from mpp.core.text import bounds
from mpp.promql.rules import RuleDefinition

DEFAULT_INTERVAL_S = 60.0
"""Seconds between two evaluations of a group that does not report its interval."""
LONGEST_S = 30 * 86400.0
"""Seconds; a longer interval, or a longer time for which an alert is pending, counts as this."""


class _PageData(Struct):
    groups: list[Raw]


class _Page(Struct):
    data: _PageData


class _RuleGroup(Struct):
    rules: list[Raw] | None = None
    interval: float = DEFAULT_INTERVAL_S


class _Rule(Struct, rename={"keep_firing_for": "keepFiringFor"}):
    name: str
    query: str
    type: str
    duration: float = 0.0
    keep_firing_for: float = 0.0


_pages = msgspec.json.Decoder(_Page)
_groups = msgspec.json.Decoder(_RuleGroup)
_rules = msgspec.json.Decoder(_Rule)


class RulesPage:
    """
    The rules on one page.

    :param body: a complete response to ``/api/v1/rules``.
    :raise ValueError: ``body`` is no such response.
    :ivar found: the rules in the order of the page, each once; complete after all `steps`.
    """

    def __init__(self, body: bytes) -> None:
        self._groups = _pages.decode(body).data.groups
        self.found: dict[RuleDefinition, None] = {}

    def steps(self) -> Generator[None, None, None]:
        """Parse one rule after the other; yield after each. Rules that cannot be read are left out."""
        for group_text in self._groups:
            try:
                group = _groups.decode(group_text)
            except ValueError:
                continue
            yield
            for text in group.rules or ():
                try:
                    rule = _rules.decode(text)
                except ValueError:
                    continue
                if rule.name and rule.query:
                    self.found[_definition(rule, group.interval)] = None
                yield


def _definition(rule: _Rule, interval: float) -> RuleDefinition:
    seconds = bounds.span(interval) or DEFAULT_INTERVAL_S
    if rule.type != "alerting":
        return RuleDefinition(rule.name, rule.query, min(seconds, LONGEST_S))
    pending = (bounds.span(rule.duration) or 0.0) + (bounds.span(rule.keep_firing_for) or 0.0)
    return RuleDefinition(rule.name, rule.query, min(seconds, LONGEST_S), alerting=True, pending_s=min(pending, LONGEST_S))
