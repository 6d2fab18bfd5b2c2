"""Who is sent to which server, as seen by a client."""

from __future__ import annotations

import json
from http.cookies import SimpleCookie

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Mpp, Simulated, fetch, wait_until
from tests.integration.workers import one_process


class _Sticky(SynchronousTestCase):
    """Base: three simulated servers, all of them selected."""

    def setUp(self) -> None:
        """Start the servers."""
        self.servers = [Simulated(name=name) for name in "abc"]
        for server in self.servers:
            server.start_for(self, wait=False)
        for server in self.servers:
            server.wait_ready()

    def start(self, *options: str) -> Mpp:
        """Start an mpp in front of them, with random routing."""
        return Mpp([server.url for server in self.servers], "--routing-strategy", "random", *options).start_for(self)

    def served(self, mpp: Mpp, **headers: str) -> str:
        """Ask once; give who answered."""
        return fetch(mpp.port, "/api/v1/labels", headers={name.replace("_", "-"): value for name, value in headers.items()})[1][
            "mpp.servedby"
        ]


class CookieTests(_Sticky):
    """``--affinity-options cookies``, which is the default."""

    def first(self, mpp: Mpp) -> tuple[str, str, str]:
        """Come without a cookie; give who answered, the cookie's value, and the whole field."""
        _, headers, _ = fetch(mpp.port, "/api/v1/labels")
        return headers["mpp.servedby"], SimpleCookie(headers["set-cookie"])["MPP.Route"].value, headers["set-cookie"]

    def test_the_cookie(self) -> None:
        """It is for all paths, not for scripts, not for other sites, and says nothing about the server."""
        server, value, field = self.first(self.start())
        for attribute in ("Path=/", "HttpOnly", "SameSite=Lax"):
            self.assertIn(attribute, field)
        self.assertNotIn("Secure", field)
        self.assertNotIn(server.split(":")[1], value)

    def test_cookie_keeps_its_server_on_every_mpp(self) -> None:
        """A client with a cookie stays where it was, on every instance of mpp, and gets no second one."""
        first, second = self.start(), self.start()
        server, value, _ = self.first(first)
        for mpp in (first, second):
            for _ in range(5):
                _, headers, _ = fetch(mpp.port, "/graph", headers={"Cookie": f"a=b; MPP.Route={value}"})
                self.assertEqual((headers["mpp.servedby"], headers.get("set-cookie")), (server, None))
        self.assertEqual(second.metric("mpp_affinity_hits_total", type="cookies"), 5)

    def test_cookie_is_hidden_from_the_server(self) -> None:
        """The server does not see mpp's cookie, only the others."""
        mpp = self.start()
        _, value, _ = self.first(mpp)
        _, _, data = fetch(mpp.port, "/echo", headers={"Cookie": f"a=b; MPP.Route={value}; c=d"})
        arrived = {name.lower(): content for name, content in json.loads(data)["headers"]}
        self.assertNotIn("MPP.Route", arrived["cookie"])
        self.assertIn("a=b", arrived["cookie"])
        self.assertIn("c=d", arrived["cookie"])

    def test_changed_when_the_server_is_gone(self) -> None:
        """A client whose server died gets the cookie of the one that answered."""
        mpp = self.start()
        server, value, _ = self.first(mpp)
        next(each for each in self.servers if each.address == server).kill()
        _, headers, _ = fetch(mpp.port, "/api/v1/labels", headers={"Cookie": f"MPP.Route={value}"})
        self.assertNotEqual(headers["mpp.servedby"], server)
        fresh = SimpleCookie(headers["set-cookie"])["MPP.Route"].value
        self.assertNotEqual(fresh, value)
        self.assertEqual(self.served(mpp, Cookie=f"MPP.Route={fresh}"), headers["mpp.servedby"])

    def test_made_up(self) -> None:
        """A made-up cookie is replaced."""
        _, headers, _ = fetch(self.start().port, "/api/v1/labels", headers={"Cookie": "MPP.Route=http://192.0.2.1/"})
        self.assertIn("set-cookie", headers)

    def test_affinity_none_sets_no_cookie(self) -> None:
        """``none`` sets no cookie."""
        mpp = self.start("--affinity-options", "none")
        self.assertNotIn("set-cookie", fetch(mpp.port, "/api/v1/labels")[1])
        wait_until(lambda: len({self.served(mpp) for _ in range(20)}) == 3, "all three serve", 5)


class ChainTests(_Sticky):
    """An mpp in front of several mpp, as with one for each data center and one for all."""

    def test_a_browser_stays_at_every_level(self) -> None:
        """A browser that was once sent to a server stays on it: on the same inner mpp, and there on the same server."""
        inner = [self.start(), self.start()]
        outer = Mpp([f"http://{mpp.address}" for mpp in inner], "--routing-strategy", "random").start_for(self)
        for mpp in inner:
            wait_until(lambda mpp=mpp: outer.standing_of(mpp.address) == "viable", "the inner mpp serve", 10)
        for _ in range(4):
            jar = SimpleCookie()
            _, headers, _ = fetch(outer.port, "/api/v1/labels")
            jar.load(headers["set-cookie"].replace("SameSite=Lax, ", "SameSite=Lax; "))
            self.assertEqual(len(jar), 2)
            cookies = "; ".join(f"{name}={each.value}" for name, each in jar.items())
            ways = set()
            for _ in range(6):
                _, headers, data = fetch(outer.port, "/echo", headers={"Cookie": f"a=b; {cookies}"})
                echo = json.loads(data)
                arrived = {name.lower(): content for name, content in echo["headers"]}
                ways.add((headers["mpp.servedby"], arrived["host"], headers.get("set-cookie"), arrived["cookie"]))
            self.assertEqual(len(ways), 1, ways)
            self.assertEqual(ways.pop()[2:], (None, "a=b"))


class SourceAddressTests(_Sticky):
    """``--affinity-options sourceip``."""

    def test_same_address_same_server(self) -> None:
        """The address that a trusted proxy tells decides, alike on every instance of mpp; no cookie is set."""
        first, second = (self.start("--affinity-options", "sourceip") for _ in range(2))
        seen = set()
        for number in range(12):
            address = f"192.0.2.{number}"
            servers = {self.served(mpp, X_Forwarded_For=f"203.0.113.9, {address}") for mpp in (first, second, first)}
            self.assertEqual(len(servers), 1, address)
            seen |= servers
        self.assertGreater(len(seen), 1)
        self.assertNotIn("set-cookie", fetch(first.port, "/api/v1/labels")[1])

    @one_process("sourceip remembers no clients with workers, see docs/guides/sizing.rst")
    def test_kept_when_servers_come_back(self) -> None:
        """A client that had to move stays where it went."""
        mpp = self.start("--affinity-options", "sourceip")
        home = self.served(mpp, X_Forwarded_For="192.0.2.77")
        server = next(each for each in self.servers if each.address == home)
        server.kill()
        away = self.served(mpp, X_Forwarded_For="192.0.2.77")
        self.assertNotEqual(away, home)
        server.start()
        mpp.wait_selected(home)
        self.assertEqual(self.served(mpp, X_Forwarded_For="192.0.2.77"), away)

    def test_untrusted_peers_do_not_choose_the_address(self) -> None:
        """What an untrusted peer tells about addresses is ignored."""
        mpp = self.start("--affinity-options", "sourceip", "--trusted-proxies", "none")
        self.assertEqual(len({self.served(mpp, X_Forwarded_For=f"192.0.2.{number}") for number in range(12)}), 1)


class HeaderAffinityTests(_Sticky):
    """``--affinity-options header:NAME`` in front of Grafana."""

    CHAIN = "header:X-Dashboard-Uid,header:X-Grafana-User,cookies,sourceip"

    def test_dashboards_and_users(self) -> None:
        """A dashboard is asked of one server, whichever mpp it comes through; what belongs to none goes by its user."""
        first, second = (self.start("--affinity-options", self.CHAIN) for _ in range(2))
        seen = set()
        for number in range(12):
            wanted = {"X_Dashboard_Uid": f"dash-{number}"}
            servers = {
                self.served(mpp, X_Grafana_User=f"user-{turn}", **wanted) for turn, mpp in enumerate((first, second, first))
            }
            self.assertEqual(len(servers), 1, wanted)
            seen |= servers
        self.assertGreater(len(seen), 1)
        for number in range(6):
            self.assertEqual(len({self.served(mpp, X_Grafana_User=f"user-{number}") for mpp in (first, second, first)}), 1)
        self.assertEqual(first.metric("mpp_affinity_hits_total", type="header:X-Dashboard-Uid"), 24)
        self.assertEqual(first.metric("mpp_affinity_hits_total", type="header:X-Grafana-User"), 12)

    def test_only_the_dashboards_of_a_lost_server_move(self) -> None:
        """When a server dies its dashboards are answered by others, and the others' stay."""
        mpp = self.start("--affinity-options", self.CHAIN)
        homes = {f"dash-{number}": self.served(mpp, X_Dashboard_Uid=f"dash-{number}") for number in range(12)}
        lost = self.servers[0]
        lost.kill()
        for uid, home in homes.items():
            served = self.served(mpp, X_Dashboard_Uid=uid)
            self.assertTrue(served == home or (home == lost.address and served != home), uid)
