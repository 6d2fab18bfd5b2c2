"""Which backend a client belongs on."""

import ipaddress

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mpp.core.interfaces import IAffinity
from mpp.core.model import Backend, Choice, RequestInfo, Selection
from mpp.proxy.decisions.affinity import AffinityChain, CookieAffinity, HeaderAffinity, SourceIPAffinity, rendezvous
from mpp.proxy.decisions.client_address import PRIVATE

BACKENDS = tuple(Backend("http", f"prom-{n}", 9090) for n in range(5))
A, B = BACKENDS[:2]
BOTH = Selection(1, Choice((A, B)))
ONLY_A = Selection(2, Choice((A,), (B,)))
TRUSTED = [ipaddress.ip_network(text) for text in PRIVATE]


def request(*fields: tuple[bytes, bytes], peer: str = "203.0.113.9", secure: bool = False) -> RequestInfo:
    return RequestInfo(b"GET", b"/", fields, peer=peer, secure=secure)


def cookie(value: str) -> tuple[bytes, bytes]:
    return b"Cookie", value.encode()


class CookieTests(SynchronousTestCase):
    """Affinity by cookie."""

    def setUp(self) -> None:
        self.affinity = CookieAffinity()

    def test_is_an_affinity(self) -> None:
        """It can be put in a chain."""
        self.assertTrue(verifyObject(IAffinity, self.affinity))

    def test_client_stays_where_its_cookie_says(self) -> None:
        """A browser that returns the cookie is kept on its backend."""
        self.assertEqual(self.affinity.preferred(request(cookie(f"x=1; MPP.Route={B.id}")), BOTH, 0), B)

    def test_cookie_of_a_backend_that_is_not_selected_is_ignored(self) -> None:
        """Nobody is kept on a backend that takes no traffic, or can choose one by forging a cookie."""
        for value in (f"MPP.Route={B.id}", "MPP.Route=http://evil:9090", "MPP.Route=", "MPP.Route", "nothing"):
            self.assertIsNone(self.affinity.preferred(request(cookie(value)), ONLY_A, 0), value)
        self.assertIsNone(self.affinity.preferred(request(), BOTH, 0))

    def test_cookie_is_set_when_it_changes(self) -> None:
        """The client learns who answered it, once."""
        expected = f"MPP.Route={A.id}; Path=/; HttpOnly; SameSite=Lax".encode()
        self.assertEqual(self.affinity.remember(request(), A, 0), expected)
        self.assertEqual(self.affinity.remember(request(cookie(f"MPP.Route={B.id}")), A, 0), expected)
        self.assertIsNone(self.affinity.remember(request(cookie(f"MPP.Route={A.id}")), A, 0))

    def test_cookie_is_secure_under_tls(self) -> None:
        """A cookie given over TLS does not travel without."""
        self.assertTrue((self.affinity.remember(request(secure=True), A, 0) or b"").endswith(b"; Secure"))

    def test_value_is_opaque_and_the_same_everywhere(self) -> None:
        """Several mpp understand each other's cookies, and the value does not tell a backend's address."""
        self.assertEqual(Backend("http", "prom-a", 9090).id, "7dd6ebed671b900d")
        self.assertNotEqual(Backend("https", "prom-a", 9090).id, Backend("http", "prom-a", 9090).id)


class SourceIPTests(SynchronousTestCase):
    """Affinity by source address."""

    def setUp(self) -> None:
        self.affinity = SourceIPAffinity(TRUSTED, memory=3, idle=1800.0)

    def test_is_an_affinity(self) -> None:
        """It can be put in a chain."""
        self.assertTrue(verifyObject(IAffinity, self.affinity))

    def test_instances_agree_on_a_client_they_have_not_seen(self) -> None:
        """Two mpp send the same new client to the same backend."""
        other = SourceIPAffinity(TRUSTED)
        for n in range(20):
            facts = request(peer=f"203.0.113.{n}")
            self.assertEqual(self.affinity.preferred(facts, BOTH, 0), other.preferred(facts, BOTH, 0))

    def test_memory_wins_until_it_has_been_idle(self) -> None:
        """A client stays where it was last answered, as long as it comes at least every 30 minutes."""
        facts = request()
        hashed = self.affinity.preferred(facts, BOTH, 0)
        moved = B if hashed == A else A
        self.affinity.remember(facts, moved, 0.0)
        self.assertEqual(self.affinity.preferred(facts, BOTH, 1799.0), moved)
        self.assertEqual(self.affinity.preferred(facts, BOTH, 1800.0), hashed)
        self.affinity.remember(facts, moved, 1799.0)
        self.assertEqual(self.affinity.preferred(facts, BOTH, 1800.0), moved)

    def test_memory_of_a_backend_that_is_not_selected_does_not_count(self) -> None:
        """Nobody is kept on a backend that takes no traffic."""
        self.affinity.remember(request(), B, 0.0)
        self.assertEqual(self.affinity.preferred(request(), ONLY_A, 1.0), A)

    def test_memory_is_bounded(self) -> None:
        """The address that was idle longest is forgotten first."""
        clients = [request(peer=f"203.0.113.{n}") for n in range(4)]
        moved = [B if self.affinity.preferred(c, BOTH, 0) == A else A for c in clients]
        for client, backend in zip(clients[:3], moved[:3], strict=True):
            self.affinity.remember(client, backend, 0.0)
        self.affinity.remember(clients[0], moved[0], 0.0)
        self.affinity.remember(clients[3], moved[3], 0.0)
        kept = [self.affinity.preferred(c, BOTH, 0) == m for c, m in zip(clients, moved, strict=True)]
        self.assertEqual(kept, [True, False, True, True])

    def test_client_without_an_address(self) -> None:
        """Clients of a Unix socket that tell no address are not all taken for one."""
        self.affinity.remember(request(peer=""), B, 0.0)
        self.assertIsNone(self.affinity.preferred(request(peer=""), BOTH, 0.0))

    def test_nobody_selected(self) -> None:
        """Without a selection there is nothing to prefer."""
        self.assertIsNone(self.affinity.preferred(request(), Selection(), 0))


class HeaderTests(SynchronousTestCase):
    """Affinity by the value of a header field."""

    def setUp(self) -> None:
        self.affinity = HeaderAffinity("X-Dashboard-Uid")

    def test_is_an_affinity(self) -> None:
        """It can be put in a chain, under the name that the operator gave it."""
        self.assertTrue(verifyObject(IAffinity, self.affinity))
        self.assertEqual(self.affinity.name, "header:X-Dashboard-Uid")

    def test_same_value_same_backend_on_every_instance(self) -> None:
        """All panels of a dashboard ask the same server, whoever looks at it, and whichever mpp they come through."""
        other = HeaderAffinity("x-dashboard-uid")
        seen = set()
        for n in range(20):
            field = (b"X-DASHBOARD-UID", b"dash-%d" % n)
            placed = self.affinity.preferred(request(field), BOTH, 0)
            self.assertEqual(other.preferred(request(field, peer="198.51.100.1"), BOTH, 9e9), placed)
            seen.add(placed)
        self.assertEqual(seen, {A, B})

    def test_only_the_dashboards_of_a_lost_backend_move(self) -> None:
        """When a server leaves, the dashboards of the others stay; when it is back, its own return."""
        fields = [(b"X-Dashboard-Uid", b"dash-%d" % n) for n in range(100)]
        all_five, without = Selection(1, Choice(BACKENDS)), Selection(2, Choice(BACKENDS[1:]))
        before = [self.affinity.preferred(request(each), all_five, 0) for each in fields]
        for backend, field in zip(before, fields, strict=True):
            after = self.affinity.preferred(request(field), without, 0)
            self.assertTrue(after == backend or backend == BACKENDS[0], field)
            self.assertIn(after, without.selected)

    def test_without_the_field(self) -> None:
        """A request without the field, or with an empty one, is left to the next in the chain."""
        for fields in ((), ((b"X-Dashboard-Uid", b" "),), ((b"X-Panel-Id", b"1"),)):
            self.assertIsNone(self.affinity.preferred(request(*fields), BOTH, 0), fields)
        chain = AffinityChain((self.affinity, HeaderAffinity("X-Grafana-User"), CookieAffinity()))
        self.assertEqual(chain.preferred(request((b"X-Grafana-User", b"ada")), BOTH, 0)[1], "header:X-Grafana-User")
        self.assertEqual(chain.preferred(request(cookie(f"MPP.Route={B.id}")), BOTH, 0), (B, "cookies"))

    def test_nobody_selected(self) -> None:
        """Without a selection there is nothing to prefer."""
        self.assertIsNone(self.affinity.preferred(request((b"X-Dashboard-Uid", b"1")), Selection(), 0))

    def test_any_bytes(self) -> None:
        """A value is bytes, and a field may be repeated."""
        repeated = request((b"X-Dashboard-Uid", b"\xff\xfe"), (b"X-Dashboard-Uid", b"1"))
        joined = request((b"X-Dashboard-Uid", b"\xff\xfe, 1"))
        self.assertEqual(self.affinity.preferred(repeated, BOTH, 0), self.affinity.preferred(joined, BOTH, 0))

    def test_remembers_nothing(self) -> None:
        """It sets no cookie, and where a request was answered does not change where the next one goes."""
        facts = request((b"X-Dashboard-Uid", b"1"))
        placed = self.affinity.preferred(facts, BOTH, 0)
        self.assertIsNone(self.affinity.remember(facts, B if placed == A else A, 0))
        self.assertEqual(self.affinity.preferred(facts, BOTH, 0), placed)

    def test_name_of_no_field(self) -> None:
        """What cannot be a field's name is refused with what was expected."""
        for name in ("X Dashboard", "X-Dashboard:", "X-D\u00e4sh", "X-Dash\n"):
            error = self.assertRaises(ValueError, HeaderAffinity, name)
            self.assertEqual(str(error), f"{name!r} is not the name of a header field such as X-Dashboard-Uid")
        error = self.assertRaises(ValueError, HeaderAffinity, "")
        self.assertEqual(str(error), "expected the name of a header field, like header:X-Dashboard-Uid")


class RendezvousTests(SynchronousTestCase):
    """Highest random weight hashing."""

    def test_only_the_clients_of_a_lost_backend_move(self) -> None:
        """When one of five backends goes, the clients of the four others stay."""
        keys = [f"198.51.100.{n}" for n in range(200)]
        before = {key: rendezvous(key, BACKENDS) for key in keys}
        after = {key: rendezvous(key, BACKENDS[1:]) for key in keys}
        self.assertTrue(all(after[key] == before[key] for key in keys if before[key] != BACKENDS[0]))

    def test_clients_are_spread(self) -> None:
        """No backend gets more than twice its share."""
        placed = [rendezvous(f"198.51.100.{n}", BACKENDS) for n in range(200)]
        self.assertLess(max(placed.count(b) for b in BACKENDS), 80)


class ChainTests(SynchronousTestCase):
    """Several affinities."""

    def test_first_that_knows_decides(self) -> None:
        """A cookie, where there is one, comes before the source address when it is configured first."""
        source = SourceIPAffinity(TRUSTED)
        chain = AffinityChain((CookieAffinity(), source))
        hashed = source.preferred(request(), BOTH, 0)
        other = B if hashed == A else A
        self.assertEqual(chain.preferred(request(), BOTH, 0), (hashed, "sourceip"))
        self.assertEqual(chain.preferred(request(cookie(f"MPP.Route={other.id}")), BOTH, 0), (other, "cookies"))

    def test_all_are_told_who_answered(self) -> None:
        """The cookie is set, and the address remembered."""
        source = SourceIPAffinity(TRUSTED)
        chain = AffinityChain((CookieAffinity(), source))
        moved = B if source.preferred(request(), BOTH, 0) == A else A
        self.assertEqual(len(chain.remember(request(), moved, 0)), 1)
        self.assertEqual(source.preferred(request(), BOTH, 0), moved)

    def test_nothing_is_preferred_without_an_affinity(self) -> None:
        """Without any affinity nothing is preferred and nothing is set."""
        chain = AffinityChain(())
        self.assertEqual(chain.preferred(request(), BOTH, 0), (None, ""))
        self.assertEqual(chain.remember(request(), A, 0), ())
