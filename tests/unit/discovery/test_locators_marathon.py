"""The Marathon locator, against a Marathon in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.serialization import PrivateFormat
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import DiscoveryError, PartlyDiscovered
from mpp.core.model import Backend, DiscoveredBackend
from mpp.core.urls import basic
from mpp.discovery.http_api.json_api import JSONClient
from mpp.discovery.marathon.locator import MarathonLocator
from mpp.discovery.marathon.settings import MarathonSettings
from tests.fake_marathon import LOGIN_PATH, PASSWORD, UID, FakeMarathon, FakeNetwork, host_app, pem, principal_secret, task
from tests.locator_contract import locator_tests

APP = "/monitoring/prometheus"
BASE = "https://master/service/marathon"
ASKED = f"GET /service/marathon/v2/apps{APP}?embed=app.tasks"
LOGGED_IN = f"POST {LOGIN_PATH}"
EPOCH = 1_700_000_000.0
A, B, C = (Backend("http", f"10.0.0.{number}", 31000 + number) for number in (1, 2, 3))


class MarathonSource:
    """Marathon behind a login, as the contract wants it."""

    watched = False

    def __init__(self, case: SynchronousTestCase) -> None:
        self.fake = FakeMarathon(lambda: EPOCH)
        self.fake.asks_for = "token="
        self.network = FakeNetwork(**{"master": self.fake, "leader.mesos": self.fake})
        self.clock = Clock()
        settings = MarathonSettings(urls=(BASE,), apps=(APP,), principal_secret=principal_secret())
        self.locator = MarathonLocator(settings, JSONClient(self.network, self.clock), wall=lambda: EPOCH)

    @property
    def secrets(self) -> Sequence[str]:
        return (*pem().splitlines()[1:-1], *self.fake.tokens, *(login["token"] for login in self.fake.logins))

    def have(self, *addresses: str) -> None:
        split = [address.rpartition(":") for address in addresses]
        tasks = [task(host, [int(port)], number) for number, (host, _, port) in enumerate(split)]
        self.fake.apps[APP] = host_app(tasks)
        self.fake.status = 0
        self.fake.hanging = False

    def fail(self) -> None:
        self.fake.status = 502

    def hang(self) -> None:
        self.fake.hanging = True

    def leftovers(self) -> Sequence[object]:
        return [*self.fake.waiting, *self.clock.getDelayedCalls()]

    def settle(self) -> None:
        self.network.flush()


class MarathonContractTests(locator_tests(MarathonSource)):  # type: ignore[misc]
    """What every locator keeps to, kept by the Marathon locator."""


class MarathonCase(SynchronousTestCase):
    """A Marathon of three masters, of which the first is there."""

    def setUp(self) -> None:
        self.now = EPOCH
        self.clock = Clock()
        self.fake = FakeMarathon(lambda: self.now)
        self.fake.apps[APP] = host_app([task("10.0.0.1", [31001])])
        self.network = FakeNetwork(**{"master": self.fake, "leader.mesos": self.fake})
        self.told: list[str] = []
        globalLogPublisher.addObserver(self.hear)
        self.addCleanup(globalLogPublisher.removeObserver, self.hear)

    def hear(self, event: dict[str, Any]) -> None:
        """Take note of the problems that are logged."""
        if "problem" in event:
            self.told.append(str(formatEvent(event)))

    def make(self, **settings: Any) -> MarathonLocator:
        """Make a locator; without settings it asks the first master for the one app."""
        return MarathonLocator(
            MarathonSettings(**{"urls": (BASE,), "apps": (APP,), **settings}),
            JSONClient(self.network, self.clock),
            wall=lambda: self.now,
        )

    def located(self, locator: MarathonLocator) -> tuple[Backend, ...]:
        """Return the backends that are listed now."""
        return tuple(each.backend for each in self.successResultOf(locator.locate()))

    def refused(self, locator: MarathonLocator) -> str:
        """Return why nothing is listed now."""
        return str(self.failureResultOf(locator.locate(), DiscoveryError).value)


class AppsTests(MarathonCase):
    """Which apps are asked for, and where."""

    def test_path_prefix_of_the_url_is_kept(self) -> None:
        """The path prefix of the URL is kept, with or without a slash at its end."""
        for url in (BASE, BASE + "/"):
            self.assertEqual(self.located(self.make(urls=(url,))), (A,))
        self.assertEqual(self.fake.requests, [ASKED] * 2)

    def test_no_prefix(self) -> None:
        """Marathon may be at the root."""
        self.fake.prefix = ""
        self.assertEqual(self.located(self.make(urls=("http://master:8080",))), (A,))

    def test_app_ids(self) -> None:
        """An app is found with or without the leading slash."""
        self.assertEqual(self.located(self.make(apps=(APP.lstrip("/"),))), (A,))

    def test_scaled_app_is_seen_by_the_next_lookup(self) -> None:
        """An app scaled from 1 to 3 is seen by the next look-up, and so is the way back."""
        locator = self.make()
        self.assertEqual(self.located(locator), (A,))
        self.fake.apps[APP]["tasks"] = [task(f"10.0.0.{number}", [31000 + number], number) for number in (1, 2, 3)]
        self.assertEqual(self.located(locator), (A, B, C))
        self.fake.apps[APP]["tasks"] = []
        self.assertEqual(self.located(locator), ())

    def test_several_apps(self) -> None:
        """Several apps are listed in their order, each server once."""
        self.fake.apps["/b"] = host_app([task("10.0.0.2", [31002]), task("10.0.0.1", [31001])])
        self.assertEqual(self.located(self.make(apps=("/b", APP))), (B, A))

    def test_old_answer(self) -> None:
        """A version that leaves the tasks out of the app is asked for them."""
        self.fake.embeds = False
        self.assertEqual(self.located(self.make()), (A,))
        self.assertEqual(self.fake.requests[-1], f"GET /service/marathon/v2/apps{APP}/tasks")

    def partly(self, locator: MarathonLocator) -> tuple[str, tuple[DiscoveredBackend, ...]]:
        """Return what is missing now, and what stands nevertheless."""
        error = self.failureResultOf(locator.locate(), PartlyDiscovered).value
        return str(error), error.discovered

    def test_missing_app(self) -> None:
        """An app that does not exist is told, with Marathon's words, for as long as it does not; the others count."""
        locator = self.make(apps=("/nobody", APP))
        why = "--marathon-apps: /nobody: App '/nobody' does not exist"
        for _ in range(2):
            self.assertEqual(self.partly(locator), (why, (DiscoveredBackend(A),)))
        self.fake.apps["/nobody"] = host_app([task("10.0.0.2", [31002])])
        self.assertEqual(self.located(locator), (B, A))

    def test_unhealthy_tasks(self) -> None:
        """Tasks whose health checks all fail are listed, as not ready: mpp's own probes may still succeed."""
        locator = self.make(apps=(APP,))
        self.fake.apps[APP] = host_app([task("10.0.0.2", [31002], healthCheckResults=[{"alive": False}])])
        found = self.successResultOf(locator.locate())
        self.assertEqual(found, (DiscoveredBackend(B, "Marathon's health check of its task fails"),))

    def test_no_app_exists(self) -> None:
        """When no app exists nothing is listed, and all of them are told."""
        why = "--marathon-apps: /a: App '/a' does not exist; --marathon-apps: /b: App '/b' does not exist"
        self.assertEqual(self.partly(self.make(apps=("/a", "/b"))), (why, ()))

    def test_deleted_app(self) -> None:
        """An app that was there and is gone does not take its servers along: they are listed as not ready."""
        locator = self.make(apps=(APP, "/b"))
        self.fake.apps["/b"] = host_app([task("10.0.0.2", [31002])])
        self.located(locator)
        del self.fake.apps[APP]
        self.fake.apps["/b"]["tasks"].append(task("10.0.0.3", [31003]))
        gone = DiscoveredBackend(A, "Marathon: app /monitoring/prometheus no longer exists")
        self.assertEqual(self.partly(locator)[1], (gone, DiscoveredBackend(B), DiscoveredBackend(C)))

    def test_moved_servers(self) -> None:
        """A server of a deleted app that another app has is ready."""
        for apps in ((APP, "/b"), ("/b", APP)):
            self.fake.apps = {APP: host_app([task("10.0.0.1", [31001])]), "/b": host_app([task("10.0.0.1", [31001])])}
            locator = self.make(apps=apps)
            self.located(locator)
            del self.fake.apps[APP]
            self.assertEqual(self.partly(locator)[1], (DiscoveredBackend(A),))

    def test_partial_failure(self) -> None:
        """When one of the apps cannot be read the look-up fails: a list that is not complete is not given."""
        self.fake.apps["/b"] = {"id": "/b", "tasks": "none"}
        self.assertIn("it has no 'tasks'", self.refused(self.make(apps=(APP, "/b"))))

    def test_task_without_ports(self) -> None:
        """A task without ports is told once, and skipped."""
        self.fake.apps[APP] = host_app([task("10.0.0.1", [31001]), task("10.0.0.9", [], id="portless")], portDefinitions=[])
        locator = self.make()
        for _ in range(2):
            self.assertEqual(self.located(locator), (A,))
        self.assertEqual(self.told, ["task of Marathon skipped: app /monitoring/prometheus: task portless has no ports"])

    def test_wrong_url(self) -> None:
        """A server that is no Marathon is told as such."""
        self.assertIn("--marathon-url: https://master/mesos/v2/apps", self.refused(self.make(urls=("https://master/mesos",))))

    def test_not_marathons_answer(self) -> None:
        """A JSON answer that is not Marathon's is refused."""
        self.fake.embeds = False
        self.fake.apps[APP + "/tasks"] = {"id": "strange"}
        self.assertIn("it has no 'tasks'", self.refused(self.make()))

    def test_rejection_names_the_app(self) -> None:
        """A refusal names the app."""
        self.fake.status = 403
        self.assertEqual(
            self.refused(self.make()), f"--marathon-apps: {APP}: https://master/service/marathon/v2/apps{APP}: status 403"
        )

    def test_repr_hides_credentials(self) -> None:
        """The repr says where is looked for what, without credentials."""
        locator = self.make(urls=("https://user:hush@master/service/marathon/",))
        self.assertEqual(repr(locator), f"<MarathonLocator {BASE}: {APP}>")


class MastersTests(MarathonCase):
    """Several masters."""

    URLS = ("https://first/service/marathon", "https://second/service/marathon", BASE)

    def test_down_master_is_skipped(self) -> None:
        """Masters that are down are skipped, and the one that works is remembered."""
        locator = self.make(urls=self.URLS)
        self.assertEqual(self.located(locator), (A,))
        self.assertEqual(self.network.asked, ["first", "second", "master"])
        self.assertEqual(self.located(locator), (A,))
        self.assertEqual(self.network.asked[3:], ["master"])

    def test_master_goes_down(self) -> None:
        """When the remembered one goes down the others are asked in turn."""
        locator = self.make(urls=self.URLS)
        self.located(locator)
        self.network.servers = {"second": self.network.servers["master"]}
        self.assertEqual(self.located(locator), (A,))
        self.assertEqual(self.network.asked[3:], ["master", "first", "second"])

    def test_master_without_leader(self) -> None:
        """A master that answers with an error of its own is skipped, too."""
        confused = FakeMarathon(lambda: self.now)
        confused.status = 503
        self.network = FakeNetwork(first=confused, master=self.fake)
        self.assertEqual(self.located(self.make(urls=self.URLS)), (A,))

    def test_all_down(self) -> None:
        """When all are down each of them is told."""
        self.network.servers = {}
        why = self.refused(self.make(urls=self.URLS))
        for url in self.URLS:
            self.assertIn(f"{url}/v2/apps{APP}: connection refused", why)

    def test_hanging_master(self) -> None:
        """When a master does not answer until the look-up is given up, the next look-up begins with the next one."""
        hanging = FakeMarathon(lambda: self.now)
        hanging.hanging = True
        self.network = FakeNetwork(first=hanging, master=self.fake)
        locator = self.make(urls=("http://first/service/marathon", BASE))
        looked = locator.locate()
        looked.cancel()
        self.network.flush()
        self.failureResultOf(looked, CancelledError)
        self.assertEqual(hanging.waiting, [])
        self.assertEqual(self.located(locator), (A,))
        self.assertEqual(self.network.asked, ["first", "master"])

    def test_master_that_rejects_requests_is_skipped(self) -> None:
        """A URL that rejects the request or is no Marathon does not hide the next one, and the one that works is remembered."""
        rejecting, elsewhere = FakeMarathon(lambda: self.now), FakeMarathon(lambda: self.now)
        rejecting.status, elsewhere.prefix = 403, "/other"
        for first in (rejecting, elsewhere, Page(lambda: self.now)):
            self.network = FakeNetwork(first=first, master=self.fake)
            locator = self.make(urls=("https://first/service/marathon", BASE))
            for _ in range(2):
                self.assertEqual(self.located(locator), (A,))
            self.assertEqual(list(dict.fromkeys(self.network.asked)), ["first", "master"])
            self.assertEqual(self.network.asked[-2:], ["master", "master"])

    def test_no_master_accepts_the_request(self) -> None:
        """When no master lists the apps, the problem of each is reported."""
        rejecting = FakeMarathon(lambda: self.now)
        rejecting.status = 403
        self.network = FakeNetwork(first=rejecting)
        why = self.refused(self.make(urls=self.URLS))
        expected = (
            f"--marathon-apps: {APP}: https://first/service/marathon/v2/apps{APP}: status 403; "
            f"https://second/service/marathon/v2/apps{APP}: connection refused; {BASE}/v2/apps{APP}: connection refused"
        )
        self.assertEqual(why, expected)


class LoginTests(MarathonCase):
    """Credentials of all kinds."""

    def setUp(self) -> None:
        super().setUp()
        self.fake.asks_for = "token="

    def test_key_forms(self) -> None:
        """A service account logs in with a signed token that expires soon; its key is PKCS#8 or PKCS#1."""
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
            locator = self.make(principal_secret=principal_secret(private_key=pem(form)))
            self.assertEqual(self.located(locator), (A,))

    def test_account_without_a_key_uses_its_password(self) -> None:
        """An account without a key logs in with its password."""
        secret = principal_secret(scheme=None, private_key=None, password=PASSWORD)
        self.assertEqual(self.located(self.make(principal_secret=secret)), (A,))
        self.assertEqual(self.fake.logins, [{"uid": UID, "password": PASSWORD}])

    def test_token_is_kept(self) -> None:
        """One login serves all look-ups while the token is good."""
        locator = self.make(principal_secret=principal_secret())
        for _ in range(3):
            self.located(locator)
        self.assertEqual(self.fake.requests, [LOGGED_IN, ASKED, ASKED, ASKED])

    def test_revoked_token(self) -> None:
        """A refused token leads to exactly one new login, and the request is repeated."""
        locator = self.make(principal_secret=principal_secret())
        self.located(locator)
        self.fake.tokens.clear()
        del self.fake.requests[:]
        self.assertEqual(self.located(locator), (A,))
        self.assertEqual(self.fake.requests, [ASKED, LOGGED_IN, ASKED])

    def test_useless_token(self) -> None:
        """When the new token is refused as well, that is that."""
        self.fake.asks_for = "something else"
        why = self.refused(self.make(principal_secret=principal_secret()))
        self.assertEqual(self.fake.requests, [LOGGED_IN, ASKED, LOGGED_IN, ASKED])
        self.assertIn("mpp's credentials are missing or wrong (--marathon-principal-secret or HTTP basic): status 401", why)

    def test_renewed_early(self) -> None:
        """A token is renewed when a tenth of its life is left."""
        self.fake.token_life = 1000.0
        locator = self.make(principal_secret=principal_secret())
        for self.now, logins in ((EPOCH, 1), (EPOCH + 899, 1), (EPOCH + 901, 2), (EPOCH + 1790, 2)):
            self.assertEqual((self.located(locator), len(self.fake.logins)), ((A,), logins))
        self.assertEqual(self.fake.requests, [LOGGED_IN, ASKED, ASKED, LOGGED_IN, ASKED, ASKED])

    def test_login_down_at_renewal(self) -> None:
        """While nobody answers logins the old token is used as long as it lasts."""
        self.fake.token_life = 1000.0
        locator = self.make(principal_secret=principal_secret())
        self.located(locator)
        del self.network.servers["leader.mesos"]
        self.now = EPOCH + 950
        self.assertEqual(self.located(locator), (A,))
        self.now = EPOCH + 1001
        self.assertEqual(
            self.refused(locator), f"--marathon-principal-secret: login at https://leader.mesos{LOGIN_PATH}: connection refused"
        )

    def test_token_expired_by_our_clock(self) -> None:
        """A token that our clock takes for expired is used until it is refused."""
        self.fake.token_life = -1000.0
        self.fake.asks_for = ""
        locator = self.make(principal_secret=principal_secret())
        for _ in range(2):
            self.assertEqual(self.located(locator), (A,))
        self.assertEqual(len(self.fake.logins), 1)

    def test_refused_login(self) -> None:
        """A refused login is told with the server's words; the masters are not asked."""
        why = self.refused(self.make(principal_secret=principal_secret(uid="stranger")))
        where = f"--marathon-principal-secret: login as stranger at https://leader.mesos{LOGIN_PATH}"
        self.assertEqual(why, f"{where}: status 401: Invalid credentials")
        self.assertEqual(self.fake.requests, [LOGGED_IN])

    def test_masters_share_a_rejected_login(self) -> None:
        """A rejected login is not repeated for each master."""
        locator = self.make(urls=(BASE, BASE + "/"), principal_secret=principal_secret(uid="stranger"))
        self.assertIn("Invalid credentials", self.refused(locator))
        self.assertEqual(self.fake.requests, [LOGGED_IN])

    def test_login_without_token(self) -> None:
        """A login that is answered with something else is told, not quoted."""
        self.fake.asks_for = ""
        locator = self.make(principal_secret=principal_secret(f"https://master/service/marathon/v2/apps{APP}"))
        self.assertRegex(self.refused(locator), r"the response holds no token\Z")

    def test_auth_endpoint(self) -> None:
        """The configured endpoint wins over the secret's."""
        secret = principal_secret("https://nowhere/login")
        locator = self.make(principal_secret=secret, auth_endpoint="https://master" + LOGIN_PATH)
        self.assertEqual(self.located(locator), (A,))
        self.assertEqual(self.network.asked, ["master", "master"])

    def test_secret_file(self) -> None:
        """A secret in a file is read again for each login."""
        path = os.path.abspath(self.mktemp())
        locator = self.make(principal_secret=f"@{path}")
        self.assertEqual(self.refused(locator), f"{path}: No such file or directory")
        for secret, uid in ((principal_secret(uid="old"), "old"), (principal_secret(), UID)):
            with open(path, "w") as file:
                file.write(secret + "\n")
            locator.locate().addErrback(lambda failure: failure.trap(DiscoveryError))
            self.assertEqual(self.fake.logins[-1]["uid"], uid)
        self.assertEqual(self.located(locator), (A,))

    def test_broken_secret_file(self) -> None:
        """A secret file that became unreadable is told, not quoted."""
        path = os.path.abspath(self.mktemp())
        with open(path, "w") as file:
            file.write('{"uid": "hush"')
        self.assertRegex(
            self.refused(self.make(principal_secret=f"@{path}")), r"\A--marathon-principal-secret: not JSON; [^{]*\Z"
        )

    def test_two_apps_one_login(self) -> None:
        """A login serves all apps, and both of two look-ups at once."""
        self.fake.apps["/b"] = host_app([])
        locator = self.make(apps=(APP, "/b"), principal_secret=principal_secret())
        looked: list[Deferred[Any]] = [locator.locate(), locator.locate()]
        self.network.flush()
        for each in looked:
            self.assertEqual(self.successResultOf(each), (DiscoveredBackend(A),))
        self.assertEqual(len(self.fake.logins), 1)

    def test_basic_in_url(self) -> None:
        """User and password in the URL are sent as HTTP basic, and are not in the URL that is asked."""
        self.fake.asks_for = basic("us/er", "p@ss:word")
        locator = self.make(urls=("https://us%2Fer:p%40ss:word@master/service/marathon",))
        self.assertEqual(self.located(locator), (A,))
        self.fake.asks_for = "other"
        self.assertNotIn("word", self.refused(locator))

    def test_credentials_file(self) -> None:
        """User and password in a file are sent as HTTP basic, as they are in the file at that moment."""
        path = os.path.abspath(self.mktemp())
        locator = self.make(credentials_file=path)
        for password in ("old", "new:er"):
            with open(path, "w") as file:
                file.write(f"user:{password}\n")
            self.fake.asks_for = basic("user", password)
            self.assertEqual(self.located(locator), (A,))
        with open(path, "w") as file:
            file.write("no colon")
        self.assertEqual(self.refused(locator), f"{path}: expected one line, user:password")

    def test_no_credentials(self) -> None:
        """A Marathon that wants credentials we have none of is told."""
        self.assertIn("--marathon-principal-secret", self.refused(self.make()))
        self.assertEqual(self.fake.requests, [ASKED])

    def test_secrets_in_a_servers_words(self) -> None:
        """A login server that repeats what it was sent cannot make us repeat it."""
        self.network.servers["leader.mesos"] = FakeNetwork(echo=Echo()).servers["echo"]
        why = self.refused(self.make(principal_secret=principal_secret(scheme=None, private_key=None, password=PASSWORD)))
        self.assertIn("status 400: bad login: ", why)
        self.assertNotIn(PASSWORD, why)


class Page(FakeMarathon):
    """A web server that is no Marathon."""

    def render(self, request: Any) -> bytes:
        request.setHeader("content-type", "text/html")
        return b"<html>Welcome</html>"


class Echo(FakeMarathon):
    """A login server that is too talkative."""

    def __init__(self) -> None:
        super().__init__(lambda: EPOCH)

    def render(self, request: Any) -> bytes:
        request.setResponseCode(400)
        request.setHeader("content-type", "application/json")
        return json.dumps({"message": f"bad login: {request.content.read().decode()}"}).encode()
