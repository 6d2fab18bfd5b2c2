"""Federation through mpp from a pair whose servers have different external labels."""

from __future__ import annotations

import json
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Mpp, fetch
from tests.integration.servers import pair, require_binary

PATH = "/federate?match%5B%5D=up"


class FederationTests(SynchronousTestCase):
    """A client that federates, with requests on connections of their own."""

    def setUp(self) -> None:
        """Start a pair; both have data."""
        self.servers = pair(require_binary())
        for server in self.servers:
            self.addCleanup(server.close)
            server.wait_scraped(1)

    def start(self, *options: str) -> Mpp:
        """Start mpp in front of them, with random routing."""
        return Mpp([server.url for server in self.servers], "--routing-strategy", "random", *options).start_for(self)

    def replicas(self, mpp: Mpp, requests: int = 20) -> set[str]:
        """Federate so many times; return the replicas that the series are from."""
        found: set[str] = set()
        for _ in range(requests):
            status, _, page = fetch(mpp.port, PATH)
            self.assertEqual(status, 200)
            found.update(re.findall(r'prometheus_replica="(\w+)"', page.decode()))
        return found

    def check(self, mpp: Mpp) -> None:
        """Let the client's server go and come back: its series change once."""
        (first,) = self.replicas(mpp)
        told = json.loads(fetch(mpp.port, f"/mpp/explain?format=json&{PATH}")[2])
        lost, other = sorted(self.servers, key=lambda each: each.name != first)
        self.assertEqual((told["backends"], told["affinity"]), ([lost.address], "sticky"))
        lost.kill()
        self.assertEqual(self.replicas(mpp), {other.name})
        lost.start()
        mpp.wait_selected(lost.address)
        self.assertEqual(self.replicas(mpp), {other.name})
        self.assertEqual({fetch(mpp.port, "/api/v1/labels")[1]["mpp.servedby"] for _ in range(30)}, self.addresses())

    def addresses(self) -> set[str]:
        """Return where the servers listen."""
        return {server.address for server in self.servers}

    def test_series_change_only_with_a_lost_server(self) -> None:
        """All series are one server's until it is lost, and the other one's from then on."""
        self.check(self.start("--affinity-options", "none"))

    def test_several_workers(self) -> None:
        """That holds with several workers, of which each gets some of the requests."""
        self.check(self.start("--affinity-options", "none", "--workers", "2"))
