"""The credentials in force, when servers refuse them."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.http_config import ConfiguredHeader, HTTPConfig, HTTPConfigs
from mpp.core.model import Backend
from mpp.core.url_pattern import URLPattern
from mpp.security.upstream.active_credentials import ActiveCredentials
from mpp.security.upstream.backend_credentials import BackendCredentials

A, B = (Backend("http", name, 9090) for name in ("prom-a", "prom-b"))


class RenewalTests(SynchronousTestCase):
    """Files that change between two rounds."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.token = folder / "token"
        self.age = 0
        self.write("one")
        own = HTTPConfig(credentials_file=str(self.token))
        other = HTTPConfig(headers=(ConfiguredHeader("X-Tenant", ("one",)),))
        self.clock = Clock()
        self.renewals: list[float] = []
        self.clock.advance(100)
        self.keyring = ActiveCredentials(
            BackendCredentials(HTTPConfigs(own, ((URLPattern(host="prom-b"), other),))),
            lambda: None,
            lambda: self.renewals.append(self.clock.seconds()),
            self.clock,
        )

    def write(self, text: str) -> None:
        """Write the file, seen as changed however fast that is."""
        self.age += 1
        self.token.write_text(text)
        os.utime(self.token, ns=(self.age, self.age))

    def test_only_an_authorization_of_its_own_counts(self) -> None:
        """Other headers of mpp's own leave the client's credentials alone."""
        self.assertEqual((self.keyring.authorizes(A), self.keyring.authorizes(B)), (True, False))

    def test_a_changed_file_is_seen_by_the_request_that_was_refused(self) -> None:
        """Whoever was sent the old credentials learns that there are new ones, each of them once."""
        self.assertFalse(self.keyring.refreshed_since(A, 99.0))
        self.write("two")
        self.clock.advance(1)
        self.assertTrue(self.keyring.refreshed_since(A, 100.5))
        self.assertTrue(self.keyring.refreshed_since(A, 100.9), "it was refused beside the first one")
        self.assertFalse(self.keyring.refreshed_since(A, 101.5), "it was sent the new ones")
        self.assertFalse(self.keyring.refreshed_since(B, 100.5))

    def test_renewals_are_reported(self) -> None:
        """Each change of the credentials is reported once, and also that others replace them after a reload."""
        self.keyring.refresh()
        self.assertEqual(self.renewals, [])
        self.write("two")
        self.clock.advance(1)
        self.keyring.refresh()
        self.keyring.refresh()
        self.assertEqual(self.renewals, [101.0])
        self.clock.advance(1)
        self.keyring.replace(BackendCredentials(HTTPConfigs()))
        self.assertEqual(self.renewals, [101.0, 102.0])

    def test_the_files_are_looked_at_once_a_second(self) -> None:
        """However many requests are refused."""
        self.keyring.refresh_soon()
        self.write("two")
        for _ in range(9):
            self.clock.advance(0.1)
            self.assertFalse(self.keyring.refreshed_since(A, 100.0))
        self.clock.advance(0.11)
        self.assertTrue(self.keyring.refreshed_since(A, 100.0))
