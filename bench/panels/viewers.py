"""Viewers in a closed loop: wrk with ``viewers.lua``, and one who asks for a panel once."""

from __future__ import annotations

import gzip
import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from attrs import frozen

from bench.load import CREDENTIALS
from tests.integration.clients import FORM
from tests.integration.processes import fetch

FOLDER = Path(__file__).parent
QUERIES = FOLDER / "queries.promql"
FIELDS = {"Authorization": f"Basic {CREDENTIALS}"}
"""All clients send it: vmauth serves nobody without a name."""


@frozen
class Window:
    """
    The time range of a dashboard.

    :ivar seconds: its length.
    :ivar step: between two points, in seconds: what Grafana takes for a panel of 1,440 pixels.
    """

    name: str
    seconds: int
    step: int

    def ends(self) -> tuple[int, int]:
        """Return start and end of a request that is sent now."""
        last = int(time.time()) // self.step * self.step
        return last - self.seconds, last


WINDOWS = {each.name: each for each in (Window("1h", 3600, 15), Window("6h", 6 * 3600, 15), Window("24h", 86400, 60))}
WINDOWS["7d"] = Window("7d", 7 * 86400, 600)


@frozen
class Figures:
    """
    What viewers got, times in seconds.

    :ivar bad: answers that were none, or of another status than 200.
    """

    requests: int
    seconds: float
    bytes: int
    median: float
    p95: float
    worst: float
    bad: int


def look(port: int, window: Window, encoding: str, *, viewers: int, seconds: float, queries: Path, cores: str) -> Figures:
    """Let viewers look at a dashboard for some seconds; the queries are in a file, one a line."""
    command = ["taskset", "-c", cores, "wrk", "-t1", f"-c{viewers}", f"-d{seconds:g}s", "--timeout", "60s"]
    command += ["-H", f"Authorization: {FIELDS['Authorization']}", "-s", str(FOLDER / "viewers.lua"), f"http://127.0.0.1:{port}/"]
    command += ["--", str(queries), str(window.seconds), str(window.step), encoding]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 120).stdout
    line = next(line for line in printed.splitlines() if line.startswith("FIGURES "))
    return Figures(**json.loads(line.removeprefix("FIGURES ")))


def panel(
    port: int, query: str, start: int, end: int, step: int, fields: Mapping[str, str] | None = None
) -> tuple[float, Mapping[str, str], bytes]:
    """
    Ask for a panel once.

    :return tuple: seconds, the fields of the answer, its body as it was sent.
    :raise AssertionError: the answer is not 200.
    """
    form = urlencode({"query": query, "start": start, "end": end, "step": step}).encode()
    began = time.perf_counter()
    status, found, body = fetch(
        port, "/api/v1/query_range", method="POST", headers={**FORM, **FIELDS, **(fields or {})}, body=form, timeout=120
    )
    took = time.perf_counter() - began
    assert status == 200, (status, body[:300])
    return took, found, body


def points(body: bytes, fields: Mapping[str, str] | None = None) -> dict[str, dict[float, Any]]:
    """Return the points of an answer by series and time."""
    text = gzip.decompress(body) if (fields or {}).get("content-encoding") == "gzip" else body
    found: dict[str, dict[float, Any]] = {}
    for series in json.loads(text)["data"]["result"]:
        key = json.dumps(series["metric"], sort_keys=True)
        found[key] = dict(map(tuple, [*series.get("values", ()), *((t, json.dumps(h)) for t, h in series.get("histograms", ()))]))
    return found
