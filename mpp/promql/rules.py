"""
Works out which data the servers' rules read, directly or through the results of other rules. Does no I/O.

Source: Prometheus documentation, "Defining recording rules" and "Alerting rules". A rule's query is evaluated at each interval of
its group; the result is stored under the rule's name, that of an alert under ``ALERTS`` and ``ALERTS_FOR_STATE``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from operator import attrgetter
from typing import NamedTuple

from attrs import field, frozen

from mpp.promql.labels import LabelCondition
from mpp.promql.reader import read
from mpp.promql.reads import QueryReads, SelectorReads, merged
from mpp.promql.recorded import MetricSelection, RecordedReads

ALERT_METRICS = ("ALERTS", "ALERTS_FOR_STATE")

MOST_PARTS = 4
"""Maximum number of parts (`SelectorReads`) that describe the data that one rule reads."""
MOST_TOGETHER = 4
"""Maximum number of rules whose results one selector reads; with more, it counts as reading the results of all rules."""
MOST_COMPARED = 200
"""Maximum number of names of rules that are compared with a matcher such as ``=~"api.*"``."""
DEEPEST = 20
"""The longest chain of rules that read each other; further rules are left out."""

_BATCH = 64


class RuleDefinition(NamedTuple):
    """
    One rule in a server's configuration. A tuple, because the rules of all servers are compared, and there may be thousands.

    :ivar name: the metric that a recording rule writes, or the alert's name.
    :ivar query: the rule's expression.
    :ivar interval_s: seconds between two evaluations of its group.
    :ivar alerting: whether the rule is an alert.
    :ivar pending_s: an alert's ``for`` and ``keep_firing_for`` together, in seconds.
    """

    name: str
    query: str
    interval_s: float
    alerting: bool = False
    pending_s: float = 0.0


@frozen
class RuleBook:
    """
    The data that all rules read, by the names of the rules' results.

    :ivar metrics: the data that recording rules read, by the metric that they write.
    :ivar alerts: the data that alerting rules read, by the alert's name.
    :ivar any_rule: the data that all rules together read; empty if there is no rule.
    :ivar any_alert: the data that all alerting rules together read; empty if there is none.
    """

    metrics: Mapping[str, RecordedReads] = field(factory=dict)
    alerts: Mapping[str, RecordedReads] = field(factory=dict)
    any_rule: tuple[RecordedReads, ...] = ()
    any_alert: tuple[RecordedReads, ...] = ()
    _metric_names: frozenset[str] = field(init=False, repr=False, eq=False)
    _alert_names: frozenset[str] = field(init=False, repr=False, eq=False)

    @_metric_names.default
    def _names_of_metrics(self) -> frozenset[str]:
        return frozenset((*self.metrics, *(ALERT_METRICS if self.alerts else ())))

    @_alert_names.default
    def _names_of_alerts(self) -> frozenset[str]:
        return frozenset(self.alerts)

    def recorded(self, selection: MetricSelection) -> tuple[RecordedReads, ...]:
        """
        Return the data that is read by the rules that write the selected metrics.

        If these are more than `MOST_TOGETHER` rules, return the data of all rules: a thousand rules must not make a query slow.
        """
        if not selection.metric:
            return self._unnamed(selection)
        if selection.metric in ALERT_METRICS:
            return self._of_alerts(selection)
        found = self.metrics.get(selection.metric)
        return () if found is None else (found,)

    def _unnamed(self, selection: MetricSelection) -> tuple[RecordedReads, ...]:
        names = _selected(self._metric_names, selection.names)
        if len(names) > MOST_TOGETHER:
            return self.any_rule
        found = [self.metrics[name] for name in sorted(names) if name in self.metrics]
        alerts = self._of_alerts(selection) if len(found) < len(names) else ()
        return _together(*found, *alerts)

    def _of_alerts(self, selection: MetricSelection) -> tuple[RecordedReads, ...]:
        names = _selected(self._alert_names, selection.alerts)
        return self.any_alert if len(names) > MOST_TOGETHER else _together(*(self.alerts[name] for name in sorted(names)))


class RuleReading:
    """
    The calculation of a `RuleBook`, in steps: each parses one rule's query once, so that none takes more than some milliseconds.

    :param definitions: all rules; the rules of one name count together.
    """

    def __init__(self, definitions: Iterable[RuleDefinition]) -> None:
        self._recording: dict[str, list[RuleDefinition]] = {}
        self._alerting: dict[str, list[RuleDefinition]] = {}
        for definition in definitions:
            (self._alerting if definition.alerting else self._recording).setdefault(definition.name, []).append(definition)
        self._metrics: dict[str, RecordedReads] = {}
        self._alerts: dict[str, RecordedReads] = {}
        self._any_alert: tuple[RecordedReads, ...] = ()
        self._any_rule: tuple[RecordedReads, ...] = ()
        self._unfinished: list[str] = []
        self._wanted = ""

    def steps(self) -> Generator[None, None, None]:
        """Read one rule after the other; each is finished after the rules whose results it reads. Yield after each step."""
        for name, definitions in self._alerting.items():
            self._alerts[name] = yield from self._read(definitions)
            self._any_alert = _together(*self._any_alert, self._alerts[name])
        for name in self._recording:
            self._any_rule = _together(*self._any_rule, (yield from self._metric(name)))
        self._any_rule = _together(*self._any_rule, *self._any_alert)

    def book(self) -> RuleBook:
        """Return the data that the rules read; to be called after the last of `steps`."""
        return RuleBook(self._metrics, self._alerts, self._any_rule, self._any_alert)

    def _metric(self, name: str) -> Generator[None, None, RecordedReads]:
        if name not in self._metrics:
            self._unfinished.append(name)
            self._metrics[name] = yield from self._read(self._recording[name])
            self._unfinished.pop()
        return self._metrics[name]

    def _read(self, definitions: list[RuleDefinition]) -> Generator[None, None, RecordedReads]:
        parts: list[SelectorReads] = []
        for each in definitions:
            while True:
                self._wanted = ""
                reads = read(each.query, self._read_from)
                yield
                if not self._wanted:
                    break
                yield from self._metric(self._wanted)
            parts += _of_evaluation(reads)
            if len(parts) > _BATCH:
                parts = list(merged(parts, MOST_PARTS))
        return RecordedReads(merged(parts, MOST_PARTS), max(each.interval_s + each.pending_s for each in definitions))

    def _read_from(self, selection: MetricSelection) -> Iterable[RecordedReads]:
        """Return what a rule reads whose result is read; for one that was not read yet, ask for it by ``_wanted``."""
        # A rule may read its own result, directly or through other rules: the chain ends where a rule occurs again. A selector
        # without a name would begin such a circle in nearly each rule, so the rules behind it are left out.
        name = selection.metric
        if name in ALERT_METRICS:
            return self._any_alert
        found = self._metrics.get(name)
        if found is not None:
            return (found,)
        if name in self._recording and name not in self._unfinished and len(self._unfinished) < DEEPEST:
            self._wanted = name
        return ()


def _selected(names: frozenset[str], conditions: Iterable[LabelCondition]) -> frozenset[str]:
    """Return the names that all conditions select; conditions that would be compared with too many names are left out."""
    for condition in sorted(conditions, key=attrgetter("has_patterns")):
        if not condition.has_patterns or len(names) <= MOST_COMPARED:
            names = condition.select(names)
    return names


def _of_evaluation(reads: QueryReads) -> Iterable[SelectorReads]:
    """Return the parts of a rule's query; the start and the end of its range are the time of the evaluation."""
    return (*reads.selectors, *reads.from_start, *reads.from_end)


def _together(*rules: RecordedReads) -> tuple[RecordedReads, ...]:
    if len(rules) < 2:
        return rules
    parts = [part for rule in rules for part in rule.selectors]
    return (RecordedReads(merged(parts, MOST_PARTS), max(rule.back_s for rule in rules)),)
