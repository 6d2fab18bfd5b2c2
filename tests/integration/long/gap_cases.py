"""The cases of `tests.integration.long.gaps`: histories with gaps, and how the answers of mpp must be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from tests.integration.histories import Lost
from tests.integration.long.answers import Comparison, EitherComparison, ask, compared, points
from tests.integration.long.gap_site import HOURS, GapSite
from tests.integration.long.query_sets import HOUR, QUERIES, Request, of_dashboards
from tests.integration.servers import binaries
from tests.integration.targets import Scraper

# Between the end of the histories and the start of the servers no server has data, so that a step there gets a warning.
RANGES = ((60, 7.0, 1.0), (300, 11.0, 0.1), (15, 5.0, 3.5), (15, 6.2, 5.4))
INSTANTS = (5.9, 5.7, 3.9, 3.6, 1.98, 0.5)

Case = Callable[[GapSite], str]
"""What a case finds wrong, one line; empty if nothing is."""


def requests(site: GapSite, queries: tuple[str, ...] = QUERIES) -> list[Request]:
    """Return the queries over all gaps, and those for names."""
    found = list(of_dashboards(site.end, RANGES, INSTANTS, queries))
    for hours in INSTANTS:
        at = site.end - hours * HOUR
        times = {"start": at, "end": at + 60}
        for path, parameters in (
            ("/api/v1/series", {"match[]": "up", **times}),
            ("/api/v1/labels", times),
            ("/api/v1/label/instance/values", times),
        ):
            found += [
                Request(path, urlencode(parameters)),
                Request(path, urlencode(parameters), post=path != "/api/v1/label/instance/values"),
            ]
    return found


def same(site: GapSite, *, warned: bool = False) -> str:
    """Compare all answers of mpp with those of the whole server; say what is wrong."""
    found = compared(requests(site), site.whole.port, site.mpp.port)
    site.say(found)
    if warned:
        return "answers differ without a warning" if found.silent else ""
    return "answers differ" if found.differing else "needless warnings" if found.warned else ""


def hour(site: GapSite, before: float, length: float = 1.0) -> tuple[float, float]:
    """Return a time of some hours, which begins so many hours before the end of the histories."""
    at = site.end - int(before * HOUR)
    return at, at + int(length * HOUR)


def pair(site: GapSite) -> str:
    """Gaps of 24 and 30 minutes at different times, and short ones as of restarts."""
    at = site.end - 6 * HOUR
    site.begin({"a": [Lost(*hour(site, 6, 0.4)), Lost(at + 4 * HOUR, at + 4 * HOUR + 45)], "b": [Lost(*hour(site, 4, 0.5))]})
    return same(site)


def three(site: GapSite) -> str:
    """Three servers; at each time one or two of them have gaps, which overlap in part."""
    lost = {
        "a": [Lost(*hour(site, 6, 0.5)), Lost(*hour(site, 2, 0.3))],
        "b": [Lost(*hour(site, 5.8, 0.6)), Lost(*hour(site, 4, 0.5))],
        "c": [Lost(*hour(site, 4.2, 0.4)), Lost(*hour(site, 2.1, 0.3))],
    }
    site.begin(lost)
    return same(site)


def overlapping(site: GapSite) -> str:
    """A pair whose gaps overlap: what both lack nobody has, and an answer without it has a warning."""
    site.begin({"a": [Lost(*hour(site, 6, 0.5))], "b": [Lost(*hour(site, 5.7, 0.6))]})
    return same(site, warned=True)


def younger(site: GapSite) -> str:
    """A server whose history begins later."""
    site.begin({"a": [Lost(*hour(site, 2, 0.4))], "b": [Lost(*hour(site, HOURS, HOURS - 5))]})
    return same(site)


def retention(site: GapSite) -> str:
    """A server that keeps less, beside two whose gaps are older than what it has."""
    lost = {
        "a": [Lost(*hour(site, 6, 0.4))],
        "b": [Lost(*hour(site, 4, 0.5))],
        "c": [Lost(*hour(site, HOURS, HOURS - 3))],
    }
    site.begin(lost, options={"c": ("--storage.tsdb.retention.time=4h",)})
    return same(site)


def stalled(site: GapSite) -> str:
    """A server that has stopped scraping an hour ago still answers for the past, where the other one has a gap."""
    site.begin({"a": [Lost(*hour(site, 1, 2))], "b": [Lost(*hour(site, 4, 0.5))]}, scrapes={"a": {}})
    return same(site)


def one_job(site: GapSite) -> str:
    """One job of two is lost on a server, and a part of the targets of the other job on the other server."""
    site.begin({"a": [Lost(*hour(site, 6, 0.5), "web")], "b": [Lost(*hour(site, 4, 0.5), "node", 5)]})
    return same(site)


def cut_off(site: GapSite) -> str:
    """A server that did not reach its targets has ``up`` as 0."""
    site.begin({"a": [Lost(*hour(site, 6, 0.5), cut_off=True)], "b": [Lost(*hour(site, 4, 0.5), "node", cut_off=True)]})
    return same(site)


def drift(site: GapSite) -> str:
    """A job that only one server has, for ever: no warning, and no change of traffic but for queries that name it."""
    others = {**site.jobs, "other": site.targets.addresses(4, first=60)}
    site.begin({"a": [], "b": []}, jobs={"a": others})
    found = Comparison()
    before = site.rerouted()
    for request in requests(site, ("up{job='node'}", "rate(requests_total{job!='other'}[5m])")):
        # A request for names without a selector reads all jobs.
        if "query" in request.path:
            found.add(request, ask(site.whole.port, request)[2], ask(site.mpp.port, request)[2])
    site.say(found)
    wrong = "answers differ" if found.differing or found.warned else ""
    # Either server may answer these.
    either = [ask(site.mpp.port, request)[2] for request in of_dashboards(site.end, RANGES, INSTANTS, ("up", "sum(up)"))]
    wrong = wrong or ("needless warnings" if any(b'"mpp: ' in body for body in either) else "")
    wrong = wrong or (f"{site.rerouted() - before:g} rerouted" if site.rerouted() != before else "")
    named = compared(
        of_dashboards(site.end, RANGES, INSTANTS, ("up{job='other'}", "sum(up{job=~'other|nothing'})")),
        site.servers["a"].port,
        site.mpp.port,
    )
    site.say(named)
    return wrong or ("answers differ for the job's name" if named.differing or named.warned else "")


def on_their_own(site: GapSite) -> str:
    """Servers that scrape on their own: no step and no series is missing, and each value is one that a server gives."""
    lost = {"a": [Lost(*hour(site, 6, 0.4))], "b": [Lost(*hour(site, 4, 0.5))]}
    site.begin(lost, phases={"b": 6, "whole": 3})
    found = EitherComparison()
    # What depends on the exact times of samples has other series on each server.
    queries = tuple(each for each in QUERIES if not each.startswith(("count_values", "topk", "up == bool")))
    for request in of_dashboards(site.end, RANGES, INSTANTS, queries):
        bodies = [ask(server.port, request)[2] for server in (site.servers["a"], site.servers["b"])]
        found.add(request, ask(site.whole.port, request)[2], bodies, ask(site.mpp.port, request)[2])
    site.say(found)
    return "answers differ" if found.missing or found.foreign or found.warned else ""


def versions(site: GapSite) -> str:
    """The oldest and the newest version: each value is one that a server of either version without gaps gives."""
    old = binaries()[0]
    lost = {"a": [Lost(*hour(site, 6, 0.4))], "b": [Lost(*hour(site, 4, 0.5))], "old": []}
    site.begin(lost, hidden=("old",), versions={"a": old, "old": old})
    found = EitherComparison()
    for request in of_dashboards(site.end, RANGES, INSTANTS):
        both = [ask(server.port, request)[2] for server in (site.servers["old"], site.whole)]
        found.add(request, both[1], both, ask(site.mpp.port, request)[2])
    site.say(found)
    return "answers differ" if found.missing or found.foreign or found.warned else ""


class Reader(Scraper):
    """A Prometheus that reads all its data from another address, by remote read."""

    def __init__(self, binary: str, port: int) -> None:
        self._port = port
        super().__init__(binary, {}, name="reader")

    def write(self, jobs: Any, **how: Any) -> None:
        """Write the configuration."""
        read = {"url": f"http://127.0.0.1:{self._port}/api/v1/read", "read_recent": True}
        (self.folder / "prometheus.yml").write_text(json.dumps({"remote_read": [read]}))


def remote_read(site: GapSite) -> str:
    """A Prometheus reads from mpp by remote read, and evaluates queries over the gaps."""
    site.begin({"a": [Lost(*hour(site, 6, 0.4))], "b": [Lost(*hour(site, 4, 0.5))]})
    reader = site.started(Reader(site.binary, site.mpp.port))
    wrong = 0
    for query in ("sum without (replica) (rate(requests_total[5m]))", "max without (replica) (up)"):
        for hours in INSTANTS:
            request = Request("/api/v1/query", urlencode({"query": query, "time": site.end - hours * HOUR}))
            wrong += points(ask(reader.port, request)[2]) != points(ask(site.whole.port, request)[2])
    site.say(f"{2 * len(INSTANTS)} queries of a server that reads remotely, {wrong} differ")
    return "answers differ" if wrong else ""


CASES: tuple[Case, ...] = (
    *(pair, three, overlapping, younger, retention, stalled, one_job, cut_off, drift, on_their_own, versions, remote_read),
)
