"""What a running mpp says while all servers are down and while its configuration is refused: the same everywhere, and true."""

from __future__ import annotations

import json
import re
import signal

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Simulated, fetch, free_port, wait_until
from tests.integration.test_reload import Configured
from tests.integration.workers import one_process

REQUESTS = 24
WAIT_S = 20.0


class VerdictTests(SynchronousTestCase):
    """A pair, and mpp with a configuration file in front of it."""

    def mpp(self, *urls: str, **keys: object) -> Configured:
        """Start mpp."""
        return Configured(endpoint=[*urls], enable_lifecycle=True, **keys).start_for(self)

    def verdict(self, mpp: Configured) -> tuple[str, str]:
        """Return level and text, as the status JSON has them."""
        found = json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])["verdict"]
        return found["level"], found["text"]

    def both_down(self, workers: int) -> None:
        mpp = self.mpp(*(f"127.0.0.1:{free_port()}" for _ in range(2)), workers=workers)
        for _ in range(REQUESTS):
            self.assertEqual(fetch(mpp.port, "/api/v1/query?query=up")[0], 503)
        wait_until(lambda: f"{REQUESTS} so far" in self.verdict(mpp)[1], "all were counted", WAIT_S)
        level, text = self.verdict(mpp)
        self.assertEqual(level, "bad")
        said = rf"Both servers are down\. Clients get 503 since \d\d:\d\d:\d\d UTC, {REQUESTS} so far\."
        self.assertRegex(text, f"^{said}$")
        self.assertRegex(mpp.log(), r'level=error msg="status is bad: Both servers are down\. Clients get 503 since ')
        explained = fetch(mpp.port, "/mpp/explain?/api/v1/query?query=up")[2].decode().splitlines()
        self.assertEqual(explained[1], "No server would answer this. Both servers are down.")
        for state, value in (("all_down", 1), ("client_errors", 1), ("well", 0), ("config_refused", 0)):
            self.assertEqual(mpp.metric("mpp_verdict", state=state), value, state)
        mpp.signal(signal.SIGTERM)
        wait_until(lambda: "Server Shut Down" in mpp.log(), "it has stopped", WAIT_S)
        ended = rf'level=warn msg="Clients got 503 from [0-9:]+ to [0-9:]+ UTC, {REQUESTS} in all\."'
        self.assertTrue(re.search(ended, mpp.log()), mpp.log()[-2000:])

    def test_both_down(self) -> None:
        """Clients that get 503 are told of by page, explanation, metric and log."""
        self.both_down(1)

    def test_both_down_behind_workers(self) -> None:
        """The same holds for clients of worker processes."""
        self.both_down(2)

    @one_process("the environment would win over the number of workers in the file")
    def test_refused_reload(self) -> None:
        """A refused configuration turns the page amber until one is accepted; so does one that needs a restart."""
        servers = [Simulated("--version", "3.5.0", name=name) for name in ("a", "b")]
        for server in servers:
            server.start_for(self)
        urls = [server.url for server in servers]
        mpp = self.mpp(*urls)
        wait_until(lambda: self.verdict(mpp)[0] == "good", "both are well", WAIT_S)
        mpp.write("bogus: 1\n", endpoint=urls, enable_lifecycle=True)
        self.assertEqual(mpp.post()[0], 500)
        level, text = self.verdict(mpp)
        self.assertEqual(level, "warn")
        self.assertRegex(text, r"But the configuration on disk is rejected \(.*: bogus, see the log\); a restart would fail\.$")
        mpp.write(endpoint=urls, enable_lifecycle=True, workers=2)
        self.assertEqual(mpp.post()[0], 500)
        self.assertRegex(self.verdict(mpp)[1], r"But the configuration on disk needs a restart \(.*workers\)\.$")
        mpp.write(endpoint=urls, enable_lifecycle=True)
        self.assertEqual(mpp.post()[0], 200)
        wait_until(lambda: self.verdict(mpp)[0] == "good", "it is green again", WAIT_S)
