"""The URLs of APIs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import DiscoveryError
from mpp.core.urls import basic, origin, redirected, shown, take_credentials

URL = "http://user:hush@api.example/list?token=hush"


class URLTests(SynchronousTestCase):
    """URLs with secrets in them."""

    def test_secrets_of_urls_are_hidden(self) -> None:
        """User, password, query and fragment are not shown."""
        self.assertEqual(shown(URL), "http://api.example/list")
        self.assertEqual(shown("https://u:p@ss@[::1]:6443/a#b"), "https://[::1]:6443/a")
        # A password with a slash.
        self.assertEqual(shown("https://u:1/s3cret@sd.example/list"), "https://...@sd.example/list")

    def test_take_credentials(self) -> None:
        """User and password are taken out, and unquoted."""
        self.assertEqual(take_credentials(URL), ("http://api.example/list?token=hush", basic("user", "hush")))
        self.assertEqual(take_credentials("http://a%40b:c%3Ad@e/"), ("http://e/", basic("a@b", "c:d")))
        self.assertEqual(take_credentials("http://token@e"), ("http://e", basic("token", "")))
        self.assertEqual(take_credentials("http://e/@"), ("http://e/@", ""))

    def test_basic_credentials_follow_rfc_7617(self) -> None:
        """HTTP basic as in RFC 7617, section 2."""
        self.assertEqual(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")

    def test_default_port_of_a_scheme_may_be_omitted(self) -> None:
        """The port of a scheme need not be written."""
        self.assertEqual(origin("https://a/b"), origin("https://a:443/c"))
        self.assertNotEqual(origin("https://a/"), origin("http://a/"))

    def test_redirect_leads_elsewhere_without_credentials(self) -> None:
        """A redirect leads somewhere else, without anybody's password."""
        self.assertEqual(redirected("http://a/b/c", "../d"), "http://a/d")
        self.assertEqual(redirected("http://a/b", "https://u:p@e/"), "https://e/")
        self.assertRaises(DiscoveryError, redirected, "http://a/", "http://[")
