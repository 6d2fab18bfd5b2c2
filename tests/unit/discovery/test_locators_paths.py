"""A relative path means the directory that mpp was started in: ``twistd --rundir`` changes to another one afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.interfaces import ILocator
from mpp.discovery.kinds.planner import LocatorPlanner
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.marathon.settings import MarathonSettings
from tests.configured import configured
from tests.fake_marathon import principal_secret


class RelativePathTests(SynchronousTestCase):
    """Locators that are made in one directory, and asked in another."""

    def setUp(self) -> None:
        """Begin in a directory of its own."""
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        os.chdir(self.folder)
        self.reactor = MemoryReactorClock()

    def locator(self, **settings: Any) -> ILocator:
        """Make the locator of some settings, and go elsewhere."""
        (plan,) = LocatorPlanner(self.reactor, {}).plans(configured(**settings))
        locator = plan.build()
        os.chdir("/")
        return locator

    def located(self, locator: ILocator) -> Sequence[str]:
        """Return what is located."""
        return [each.backend.host for each in self.successResultOf(locator.locate())]

    def asked(self, locator: ILocator) -> None:
        """See that a server is asked, which is done after the files have been read."""
        looked = locator.locate()
        # Either the address is known already, or it is about to be.
        self.assertNoResult(looked)
        locator.stop()
        self.failureResultOf(looked)

    def test_endpoints_file(self) -> None:
        """The endpoints file."""
        Path("endpoints").write_text("prom-a:9090\n")
        self.assertEqual(self.located(self.locator(endpoints_file="endpoints")), ["prom-a"])

    def test_file_sd(self) -> None:
        """Files of target groups, with and without a pattern."""
        Path("a.json").write_text(json.dumps([{"targets": ["prom-a:9090"]}]))
        Path("b.yml").write_text(json.dumps([{"targets": ["prom-b:9090"]}]))
        self.assertEqual(self.located(self.locator(file_sd=("*.json", "./b.yml"))), ["prom-a", "prom-b"])

    def test_first_existing_kubeconfig_of_a_list_is_used(self) -> None:
        """A kubeconfig, and the first one of a list that is there."""
        content = {
            "clusters": [{"name": "fake", "cluster": {"server": "http://127.0.0.1:1"}}],
            "contexts": [{"name": "test", "context": {"cluster": "fake"}}],
            "current-context": "test",
        }
        Path("config").write_text(yaml.safe_dump(content))
        self.asked(self.locator(kube=KubeSettings(kubeconfig="nowhere:config", service_name="prometheus")))

    def test_marathon_secret(self) -> None:
        """The file of a principal secret."""
        Path("secret").write_text(principal_secret("http://127.0.0.1:1/login"))
        self.asked(self.locator(marathon=self.marathon(principal_secret="@secret")))

    def test_marathon_credentials(self) -> None:
        """The file of user and password."""
        Path("credentials").write_text("me:s3cret\n")
        self.asked(self.locator(marathon=self.marathon(credentials_file="credentials")))

    def marathon(self, **changes: str) -> MarathonSettings:
        """Make settings."""
        return MarathonSettings(("http://127.0.0.1:1",), ("/prometheus",), **changes)
