"""
Samples the counters every few seconds, for the traffic of the last minutes on the status page. It knows which metrics to sample;
`mpp.selection.recent` computes rates and latencies from the samples.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.core import Metric
from twisted.internet.interfaces import IReactorTime
from txaio.tx import make_logger

from mpp.admin.status.report import state
from mpp.core.metrics.cache_use import COUNTED_IN, CacheTraffic, read_use
from mpp.core.metrics.registry import LOCAL
from mpp.core.model import Selection
from mpp.core.scheduling.periodic import PeriodicCheck
from mpp.selection.recent import SLOT_S, SLOTS, CounterSample, RecentTraffic, Totals, recall

_REQUESTS, _RETRIES, _HEDGES = "mpp_requests_total", "mpp_retries_total", "mpp_hedges_total"
_EJECTIONS = "mpp_ejections_total"
_LATENCY = "mpp_upstream_duration_seconds_bucket"
_log = make_logger()

LOOKED_AT = (_REQUESTS, _RETRIES, _HEDGES, _EJECTIONS, _LATENCY)
# In seconds. When the status page is requested, the counters are sampled again if the last sample is older.
_NEW_S = 1.0


class Recorder(PeriodicCheck):
    """
    The service that keeps the samples of the last minutes.

    :param collect: returns the metric families with samples of the given names.
    :param clock: the monotonic clock.
    :param current: returns the current Selection; only samples of its backends are kept.
    """

    def __init__(self, collect: Collect, clock: IReactorTime, current: Callable[[], Selection]) -> None:
        self._collect = collect
        self._clock = clock
        self._current = current
        self._looks: deque[CounterSample] = deque(maxlen=SLOTS + 1)
        PeriodicCheck.__init__(self, self._add_look, clock, SLOT_S, "recording of recent traffic", _log, now=True)

    def recall(self) -> Mapping[str, RecentTraffic]:
        """Return the traffic of the last minutes by the name of each known backend; ``mpp`` for mpp's own error responses."""
        looks = self._present_looks()
        names = {**looks[-1].states, **looks[-1].totals} if looks else ()
        return {name: recall(looks, name) for name in names}

    def recall_cache(self) -> CacheTraffic:
        """Return the use of the range cache since the start and in the last minutes."""
        looks = self._present_looks()
        if not looks:
            return CacheTraffic()
        first, last = looks[0], looks[-1]
        return CacheTraffic(last.cache, last.cache.since(first.cache), last.at - first.at)

    def _present_looks(self) -> tuple[CounterSample, ...]:
        looks = tuple(self._looks)
        if looks and self._clock.seconds() - looks[-1].at >= _NEW_S:
            looks += (self._look(),)
        return looks

    def _add_look(self) -> None:
        self._looks.append(self._look())

    def _look(self) -> CounterSample:
        selection = self._current()
        states = {o.backend.name: state(o, selection) for o in selection.observations}
        # The counters of a removed backend stay for a while, but the page does not show it.
        families = tuple(self._collect((*LOOKED_AT, *COUNTED_IN)))
        totals = {name: each for name, each in read_totals(families).items() if name in states or name == LOCAL}
        return CounterSample(self._clock.seconds(), totals, states, read_use(families))


Collect = Callable[[Sequence[str]], Iterable[Metric]]
"""Returns the metric families that have samples of the given names, with their present values, without series that are 0."""


def read_totals(families: Iterable[Metric]) -> dict[str, Totals]:
    """Return the sums of requests, errors, retries, ejections and durations by ``backend`` label, of samples in `LOOKED_AT`."""
    # By the backend, then by the metric; ``errors`` counts the requests whose status is 500 or more once more.
    sums: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    latency: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for family in families:
        for sample in family.samples:
            if sample.name not in LOOKED_AT:
                continue
            name, value = sample.labels["backend"], sample.value
            if sample.name == _LATENCY:
                latency[name].append((float(sample.labels["le"]), value))
                continue
            sums[name][sample.name] += value
            if sample.name == _REQUESTS and sample.labels["code"].startswith("5"):
                sums[name]["errors"] += value
    return {
        name: Totals(each[_REQUESTS], each["errors"], each[_RETRIES] + each[_HEDGES], each[_EJECTIONS], tuple(latency[name]))
        for name, each in ((name, sums[name]) for name in {**sums, **latency})
    }
