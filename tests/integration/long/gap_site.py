"""Servers with histories that have gaps, a server without any, and mpp in front of all but the latter."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from tests.integration.histories import INTERVAL_S, Lost, WithHistory
from tests.integration.long.query_sets import HOUR
from tests.integration.processes import Mpp, Process, fetch, wait_until
from tests.integration.servers import require_binary
from tests.integration.targets import Targets

HOURS = 12
"""Hours of history."""
FOUND_S = 120.0

P = TypeVar("P", bound=Process)


class GapSite:
    """
    What a case works with.

    :ivar end: when the histories end, seconds since the epoch.
    :ivar whole: a server without gaps, which mpp does not know.
    """

    mpp: Mpp
    whole: WithHistory

    def __init__(self) -> None:
        self.binary = require_binary()
        self.targets = Targets()
        self.jobs: Mapping[str, Sequence[str]] = {"node": self.targets.addresses(10), "web": self.targets.addresses(3, first=20)}
        self.end = int(time.time()) // INTERVAL_S * INTERVAL_S - 600
        self.servers: dict[str, WithHistory] = {}
        self._processes: list[Process] = []

    def begin(
        self,
        lost: Mapping[str, Sequence[Lost]],
        *,
        jobs: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
        scrapes: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
        options: Mapping[str, Sequence[str]] | None = None,
        phases: Mapping[str, int] | None = None,
        versions: Mapping[str, str] | None = None,
        hidden: Collection[str] = (),
    ) -> None:
        """
        Start the servers and mpp, and wait until it has compared the histories.

        :param lost: what is missing, by server.
        :param jobs: the jobs of a server, by its name, if they are not those of all.
        :param scrapes: the jobs that a server scrapes now, if they are not those of its history.
        :param options: further command line options of a server.
        :param phases: how many seconds after each full interval a server has scraped.
        :param versions: the binary of a server, if it is not the newest one.
        :param hidden: servers that mpp does not know.
        """
        for name, holes in {**lost, "whole": []}.items():
            server = WithHistory(
                (versions or {}).get(name, self.binary),
                (jobs or {}).get(name, self.jobs),
                name=name,
                start=self.end - HOURS * HOUR,
                end=self.end,
                lost=holes,
                phase=(phases or {}).get(name, 0),
            )
            server.options = tuple((options or {}).get(name, ()))
            self.servers[name] = server
            if scrapes and name in scrapes:
                server.write(scrapes[name])
            self.started(server)
        self.whole = self.servers.pop("whole")
        shown = [server for name, server in self.servers.items() if name not in hidden]
        self.mpp = self.started(Mpp([server.url for server in shown], "--routing-strategy", "random", interval="2s"))
        wait_until(self._looked_back, "mpp has compared the histories", FOUND_S)

    def started(self, process: P) -> P:
        """Start a process that ends with this."""
        self._processes.append(process)
        process.start()
        return process

    def rerouted(self) -> float:
        """Return how many requests were rerouted or joined."""
        return self.mpp.metric("mpp_rerouted_requests_total") + self.mpp.metric("mpp_joined_responses_total")

    def say(self, what: object) -> None:
        """Print what was found."""
        print(f"    {what}", flush=True)
        for example in getattr(what, "examples", ()):
            print(f"        {example[:300]}")

    def _looked_back(self) -> bool:
        document = json.loads(fetch(self.mpp.port, "/mpp/status?format=json")[2])
        return all(each["looked_back"]["finished"] for each in document["backends"])

    def close(self) -> None:
        """End everything."""
        for process in reversed(self._processes):
            process.close()
        self.targets.close()
