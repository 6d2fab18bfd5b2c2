"""The metrics that the public PromQL compliance queries ask for (the demo service of PromLabs), with made-up values."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tests.integration.histories import METRICS, Metric

_MEMORY = ("buffers", "cached", "free", "used")
_MODES = ("idle", "system", "user")
_REQUESTS = tuple(
    (method, path, status) for method in ("GET", "POST") for path in ("/api/a", "/api/b") for status in ("200", "500")
)
_BOUNDS = ("0.0001", "0.001", "0.01", "0.1", "1", "+Inf")


def _memory(number: int, at: int) -> Iterator[tuple[str, str, float]]:
    for place, kind in enumerate(_MEMORY):
        value = 1e9 * (1 + place + number / 7) + round(1e8 * math.sin(at / (700 + 90 * place + 11 * number)))
        yield "", f',type="{kind}"', value


def _cpu(number: int, at: int) -> Iterator[tuple[str, str, float]]:
    for place, mode in enumerate(_MODES):
        # Restarts every three hours, so that there are resets.
        yield "_total", f',mode="{mode}"', round((at + 1000 * number) % 10800 * (0.2 + 0.31 * place) + math.sin(at / 30), 3)


def _disk(number: int, at: int) -> Iterator[tuple[str, str, float]]:
    yield "", "", 1e11 + number * 1e10 + at * (31 + number) + at % 600 * 100


def _durations(number: int, at: int) -> Iterator[tuple[str, str, float]]:
    for place, (method, path, status) in enumerate(_REQUESTS):
        labels = f',method="{method}",path="{path}",status="{status}"'
        count = at * (place + 2 + number) // 3
        for bound, le in enumerate(_BOUNDS):
            yield "_bucket", f'{labels},le="{le}"', count * (bound + 1) // len(_BOUNDS)
        yield "_count", labels, count
        yield "_sum", labels, round(count * 0.07, 3)


DEMO = (
    METRICS[0],
    Metric("demo_memory_usage_bytes", "gauge", _memory),
    Metric("demo_num_cpus", "gauge", lambda number, at: [("", "", 4 + number)]),
    Metric("demo_cpu_usage_seconds", "counter", _cpu),
    Metric("demo_disk_usage_bytes", "gauge", _disk),
    Metric("demo_batch_last_success_timestamp_seconds", "gauge", lambda number, at: [("", "", 1.7e9 + at // 300 * 300)]),
    Metric("demo_intermittent_metric", "gauge", lambda number, at: [("", "", at % 97)] if at // 900 % 2 else []),
    Metric("demo_api_request_duration_seconds", "unknown", _durations),
)
