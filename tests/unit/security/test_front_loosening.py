"""Which web configurations protect less than others."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.security.web_config.loosening import loosened
from mpp.security.web_config.values import ClientAuth, PEMSource, RateLimit, TLSServer, WebConfig

CA = PEMSource("client_ca_file", "ca.pem")
TLS = TLSServer(PEMSource("cert_file", "c"), PEMSource("key_file", "k"))
STRICT = evolve(TLS, client_auth=ClientAuth.REQUIRE_AND_VERIFY, client_ca=CA, allowed_sans=("a", "b"))
TWO = WebConfig(users={b"a": b"1", b"b": b"2"})
WEAKER = {
    ClientAuth.NONE: set(),
    ClientAuth.REQUEST: {ClientAuth.NONE},
    ClientAuth.REQUIRE_ANY: {ClientAuth.NONE, ClientAuth.REQUEST, ClientAuth.VERIFY_IF_GIVEN},
    ClientAuth.VERIFY_IF_GIVEN: {ClientAuth.NONE, ClientAuth.REQUEST, ClientAuth.REQUIRE_ANY},
    ClientAuth.REQUIRE_AND_VERIFY: set(ClientAuth) - {ClientAuth.REQUIRE_AND_VERIFY},
}
"""What asks less than each; of RequireAny and VerifyIfGiven each asks something that the other one does not."""


class LooseningTests(SynchronousTestCase):
    """What a change asks less of clients."""

    def keys(self, before: WebConfig, after: WebConfig) -> list[str]:
        """Return the keys that are blamed."""
        return [each.partition(": ")[0] for each in loosened(before, after)]

    def test_removing_the_last_users_loosens(self) -> None:
        """The last users gone is less; one of two, other hashes and the first users are not."""
        one, other = WebConfig(users={b"a": b"1"}), WebConfig(users={b"c": b"3"})
        self.assertEqual(self.keys(TWO, WebConfig()), ["basic_auth_users"])
        for before, after in ((TWO, one), (one, other), (WebConfig(), one), (WebConfig(), WebConfig())):
            self.assertEqual(loosened(before, after), ())

    def test_removing_tls_loosens(self) -> None:
        """TLS gone is less, whatever was asked of certificates; TLS that comes is not."""
        self.assertEqual(self.keys(WebConfig(STRICT), WebConfig()), ["tls_server_config"])
        self.assertEqual(loosened(WebConfig(), WebConfig(STRICT)), ())

    def test_all_loosenings_are_named(self) -> None:
        """Everything that is less is told."""
        self.assertEqual(self.keys(WebConfig(TLS, TWO.users), WebConfig()), ["basic_auth_users", "tls_server_config"])

    def test_weaker_client_authentication_loosens(self) -> None:
        """Of any two types of client authentication it is known which asks less."""
        for before in ClientAuth:
            for after in ClientAuth:
                with self.subTest(before=before, after=after):
                    found = self.keys(WebConfig(evolve(TLS, client_auth=before)), WebConfig(evolve(TLS, client_auth=after)))
                    self.assertEqual(found, ["tls_server_config.client_auth_type"] if after in WEAKER[before] else [])

    def test_allowing_any_name_loosens(self) -> None:
        """Any name in place of some is less; other names, and none at all, are not."""
        self.assertEqual(
            self.keys(WebConfig(STRICT), WebConfig(evolve(STRICT, allowed_sans=None))), ["tls_server_config.client_allowed_sans"]
        )
        for names in (("a",), ("c",), ()):
            self.assertEqual(loosened(WebConfig(STRICT), WebConfig(evolve(STRICT, allowed_sans=names))), ())

    def test_system_authorities_loosen(self) -> None:
        """The system's authorities in place of one is less; another one is not."""
        gone = evolve(STRICT, client_ca=PEMSource("client_ca_file"))
        self.assertEqual(self.keys(WebConfig(STRICT), WebConfig(gone)), ["tls_server_config.client_ca_file"])
        self.assertEqual(loosened(WebConfig(STRICT), WebConfig(evolve(STRICT, client_ca=PEMSource("client_ca_file", "x")))), ())
        self.assertEqual(loosened(WebConfig(gone), WebConfig(STRICT)), ())

    def test_headers_and_rate_limits_do_not_loosen(self) -> None:
        """Headers and rate limits let nobody in."""
        limited = evolve(TWO, rate_limit=RateLimit(1.0, 1), headers=((b"X-Frame-Options", b"deny"),))
        self.assertEqual(loosened(limited, TWO), ())
