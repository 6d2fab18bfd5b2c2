"""What is refused before Marathon is asked."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import ConfigError
from mpp.discovery.marathon.locator import build
from mpp.discovery.marathon.login import expiry, read_principal
from mpp.discovery.marathon.settings import MarathonSettings
from mpp.discovery.marathon.settings_check import check
from tests.fake_marathon import key, principal_secret

SECRET, AUTH, CREDENTIALS = "--marathon-principal-secret", "--marathon-auth-endpoint", "--marathon-credentials-file"


def configured(**settings: Any) -> MarathonSettings:
    """Return settings that are in order but for what is given."""
    return MarathonSettings(**{"urls": ("http://marathon.mesos:8080",), "apps": ("/prometheus",), **settings})


class CheckTests(SynchronousTestCase):
    """The settings."""

    def refused(self, **settings: Any) -> str:
        """Return why settings are refused."""
        error = self.assertRaises(ConfigError, check, configured(**settings))
        self.assertNotIn("hush", str(error))
        return str(error)

    def written(self, text: str) -> str:
        """Return the path of a file with this text."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write(text)
        return path

    def test_sound_settings_are_accepted(self) -> None:
        """What can work is accepted."""
        for settings in (
            {},
            {"port": "12"},
            {"port": "http-web"},
            {"urls": ("https://user:password@a/service/marathon", "https://b:8443")},
            {"principal_secret": principal_secret()},
            {"principal_secret": "@" + self.written(principal_secret() + "\n")},
            {"principal_secret": principal_secret(login_endpoint=None), "auth_endpoint": "https://a/login"},
            {"principal_secret": principal_secret(scheme=None, private_key=None, password="p")},
            {"credentials_file": self.written("user:pass:word\n")},
        ):
            check(configured(**settings))

    def test_url_and_apps_need_one_another(self) -> None:
        """URL and apps need one another."""
        self.assertRegex(self.refused(urls=()), r"\A--marathon-url: missing; ")
        self.assertRegex(self.refused(apps=()), r"\A--marathon-apps: missing; ")

    def test_port_is_an_index_or_a_name(self) -> None:
        """The port is an index or a name."""
        for port in ("", "-1 ", "99999", "web port"):
            self.assertRegex(self.refused(port=port), r"\A--marathon-port: .* is neither an index such as 0 nor a port's name\Z")

    def test_url_with_a_query_or_password_is_rejected(self) -> None:
        """A URL with a query would lose it, or its password."""
        why = self.refused(urls=("http://u:hush@a/marathon?token=hush",))
        self.assertEqual(why, "--marathon-url: http://a/marathon: a query (?) or fragment (#) has no place in it")

    def test_one_way_to_authenticate(self) -> None:
        """Of several credentials only one could be used."""
        why = self.refused(principal_secret="hush", credentials_file="c", urls=("http://u:hush@a",))
        expected = f"{SECRET}: given together with {CREDENTIALS} and user and password in --marathon-url; only one of them"
        self.assertEqual(why, f"{expected} can be used")

    def test_useless_auth_endpoint(self) -> None:
        """An endpoint for logins is of no use without a secret."""
        self.assertEqual(self.refused(auth_endpoint="https://a"), f"{AUTH}: of no use without {SECRET}")

    def test_unreadable_file_is_named(self) -> None:
        """A file that cannot be read is named."""
        self.assertEqual(self.refused(principal_secret="@/nowhere"), f"{SECRET}: /nowhere: No such file or directory")
        self.assertEqual(self.refused(credentials_file="/nowhere"), f"{CREDENTIALS}: /nowhere: No such file or directory")
        path = self.written("hush")
        self.assertEqual(self.refused(credentials_file=path), f"{CREDENTIALS}: {path}: expected one line, user:password")

    def test_unusable_secret_is_named_not_quoted(self) -> None:
        """A secret that can never work is refused, with what is wrong, but not with what it says."""
        elliptic = ec.generate_private_key(ec.SECP256R1())
        pem = elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        locked = key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hush")).decode()
        for secret, expected in (
            ("hush", "not JSON; expected the principal's secret, or @ and the path of a file that holds it"),
            ("[" * 100_000, "not JSON; expected the principal's secret, or @ and the path of a file that holds it"),
            ('["hush"]', "not a JSON object"),
            (principal_secret(uid=None), "it has no uid"),
            (principal_secret(uid=7), "its uid is not a text"),
            (principal_secret(login_endpoint=None), f"it has no login_endpoint, and there is no {AUTH}"),
            (principal_secret("hush/login"), "its login_endpoint is no http or https URL"),
            (
                principal_secret("https://u:hush@a/"),
                "its login_endpoint has a user or password in it",
            ),
            (principal_secret(scheme="HS256"), "its scheme is not RS256, the only one supported"),
            (principal_secret(private_key=None), "it has neither a private_key nor a password"),
            (principal_secret(private_key="hush"), "its private_key is no PEM of an RSA key, neither PKCS#1 nor PKCS#8"),
            (principal_secret(private_key=pem), "its private_key is not an RSA key"),
            (principal_secret(private_key=locked), "its private_key is encrypted; expected one without a password"),
        ):
            self.assertEqual(self.refused(principal_secret=secret), f"{SECRET}: {expected}")

    def test_secret_in_no_repr(self) -> None:
        """Neither the key nor the password is in a repr."""
        read = read_principal(principal_secret(private_key=None, password="hush"))
        self.assertNotIn("hush", repr(read))
        self.assertNotIn("RSA", repr(read_principal(principal_secret())))

    def test_locator_is_built_of_sound_settings_only(self) -> None:
        """The locator is made of sound settings only, and opens nothing."""
        reactor = MemoryReactorClock()
        locator = build(configured(), reactor, insecure=False)
        self.assertEqual(repr(locator), "<MarathonLocator http://marathon.mesos:8080: /prometheus>")
        locator.stop()
        self.assertEqual((reactor.tcpClients, reactor.getDelayedCalls()), ([], []))
        self.assertRaises(ConfigError, build, MarathonSettings(), reactor, insecure=False)


class ExpiryTests(SynchronousTestCase):
    """When a token says that it expires."""

    def test_what_says_nothing(self) -> None:
        """A token need not be a JSON Web Token; then it says nothing."""
        for token in ("", "opaque", "a.b.c", "a.e30.c", "a.W10.c", "a.\u00e9.c", "a." + "bnVsbA" + ".c"):
            self.assertIsNone(expiry(token), token)

    def test_claim_exp_is_read(self) -> None:
        """The claim exp is a point in time, with or without a fraction."""
        for expires in (1_700_000_000, 1_700_000_000.5):
            claims = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).rstrip(b"=").decode()
            self.assertEqual(expiry(f"a.{claims}.c"), expires)
