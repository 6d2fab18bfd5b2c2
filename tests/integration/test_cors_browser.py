"""What the script of a page of another origin can read of mpp's own errors, in a browser, of requests before which it asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.browser import Browser, require_chromium
from tests.integration.processes import Mpp, Simulated
from tests.integration.test_web_config import basic, hashed

QUERY = "/api/v1/query?query=up"
TYPED = {"Content-Type": "application/json"}
"""A field for which a browser asks for permission first."""


class PageTests(SynchronousTestCase):
    """A page of a simulated server, another origin than mpp."""

    def setUp(self) -> None:
        require_chromium()
        self.server = Simulated("--version", "3.5.0", "--history", "15d", name="first").start_for(self)
        self.browser = Browser()
        self.addCleanup(self.browser.close)
        self.browser.start().look()

    def fetched(self, mpp: Mpp, path: str, **options: Any) -> tuple[int, dict[str, Any]] | str:
        """Let the page's script fetch something from mpp; return status and body, or why the browser shows neither."""
        self.browser.open(f"{self.server.url}/-/healthy")
        script = (
            f"fetch({json.dumps(f'http://{mpp.address}{path}')}, {json.dumps(options)})"
            ".then(async r => JSON.stringify([r.status, await r.text()])).catch(e => JSON.stringify(String(e)))"
        )
        found = json.loads(self.browser.value(script))
        return found if isinstance(found, str) else (found[0], json.loads(found[1]))

    def start(self, backends: list[str], *options: str) -> Mpp:
        """Start mpp in front of some servers."""
        mpp = Mpp(backends, *options).start_for(self)
        return mpp

    def assert_read(self, found: tuple[int, dict[str, Any]] | str, status: int, words: str) -> None:
        """Check what the script reads."""
        assert not isinstance(found, str), found
        self.assertEqual(found[0], status, found)
        self.assertIn(words, json.dumps(found[1]))

    def test_script_reads_401_until_the_password_is_right(self) -> None:
        """A script with a wrong password reads 401; with the right one, the browser makes its request."""
        web = Path(self.mktemp()).absolute()
        web.write_text(f"basic_auth_users: {{alice: {hashed('s3cret')}}}\n")
        mpp = self.start([self.server.url], "--web-config", str(web))
        self.assert_read(self.fetched(mpp, QUERY, headers=basic("alice", "wrong")), 401, "error")
        before = self.server.state()["counts"].get("/api/v1/query", 0)
        self.fetched(mpp, QUERY, headers=basic("alice", "s3cret"))
        self.assertGreater(self.server.state()["counts"].get("/api/v1/query", 0), before)

    def test_script_reads_why_a_request_is_rejected(self) -> None:
        """A script reads why mpp does not forward its request."""
        mpp = self.start([self.server.url])
        for method, path, status, words in (
            ("POST", "/api/v1/admin/tsdb/snapshot", 403, "--allow-unsafe-paths"),
            ("GET", "/api/v1/label/" + "a" * 66_000 + "/values", 414, "path is longer"),
        ):
            self.assert_read(self.fetched(mpp, path, method=method, headers=TYPED), status, words)

    def test_no_server(self) -> None:
        """A script reads that no server answers, though none answers the question of the browser either."""
        second = Simulated("--version", "3.5.0", "--history", "15d", name="second").start_for(self)
        mpp = self.start([second.url])
        second.close()
        self.assert_read(self.fetched(mpp, QUERY, headers=TYPED), 503, "unavailable")
