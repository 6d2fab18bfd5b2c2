"""Endpoints on the command line."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mpp.core.errors import ConfigError
from mpp.core.interfaces import ILocator
from mpp.core.model import Backend, DiscoveredBackend
from mpp.discovery.static import StaticLocator

A, B = (Backend("http", name, 9090) for name in ("prom-a", "prom-b"))


class StaticLocatorTests(SynchronousTestCase):
    """What the command line gives."""

    def refused(self, text: str) -> str:
        """Return the error about an endpoint."""
        return str(self.assertRaises(ConfigError, StaticLocator, ["prom-a:9090", text]))

    def test_provides_the_interface(self) -> None:
        """It is a locator that shows what it was told, and watches nothing."""
        locator = StaticLocator(["prom-a:9090"])
        self.assertTrue(verifyObject(ILocator, locator))
        self.assertEqual((locator.name, repr(locator)), ("endpoint", "<StaticLocator http://prom-a:9090>"))
        locator.start(lambda: self.fail("told of a change"))
        locator.stop()

    def test_given_order(self) -> None:
        """Endpoints are listed as they were given, each once, in whatever spelling."""
        locator = StaticLocator(["prom-b:9090", "http://prom-a:9090/", "HTTP://PROM-B:9090"])
        self.assertEqual(self.successResultOf(locator.locate()), (DiscoveredBackend(B), DiscoveredBackend(A)))

    def test_no_endpoints_are_no_backends(self) -> None:
        """No endpoints are no backends."""
        self.assertEqual(self.successResultOf(StaticLocator([]).locate()), ())

    def test_bad_endpoint(self) -> None:
        """A bad endpoint is an error at start that names the option, the value and what was expected."""
        expected = "--endpoint: 'prom-b': no port given: expected host:port, like prom-a:9090, or a URL"
        self.assertEqual(self.refused("prom-b"), expected)

    def test_password_is_not_repeated(self) -> None:
        """A password is not repeated, whatever is wrong with the endpoint."""
        for text in ("http://me:s3cret@prom:9090", "me:s3cret@prom", "ftp://me:s3cret@prom:9", "htp:/me:s3@/s3cret@prom"):
            said = self.refused(text)
            self.assertNotIn("s3", said)
            self.assertIn("***@prom", said)

    def test_query_is_not_repeated(self) -> None:
        """What stands in a query may be a token, and is not repeated."""
        self.assertNotIn("s3cret", self.refused("http://prom:9090/?token=s3cret"))

    def test_several_endpoints_in_one_value(self) -> None:
        """Several endpoints in one value are an error that says how to write them; an invalid one is reported as such."""
        hint = (
            "several endpoints in one value; expected --endpoint once for each, a list [a, b] in a file, or blanks in a variable"
        )
        for text in ("a:1,b:2", "a:1, b:2", "http://a:1,http://b:2/x", "a:1 b:2", "[::1]:1,[::2]:2"):
            with self.subTest(text=text):
                self.assertEqual(self.refused(text), f"--endpoint: {text!r}: {hint}")
        for text in ("a:1,b", "2001:db8::5", "me:s3cret@a:1,b:2", "http://a:1/x y"):
            with self.subTest(text=text):
                self.assertNotIn("several", self.refused(text))
