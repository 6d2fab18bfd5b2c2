"""Tests of `mpp.core.text.server_name`: which certificates are good for which host."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.text.server_name import ServerName
from mpp.core.text.subject_names import read_subject_names
from tests.certificates import NAMINGS, der


class ServerNameTests(SynchronousTestCase):
    """Names of servers."""

    def test_what_is_asked_for(self) -> None:
        """A host name is sent as SNI in lower case and without its trailing dot; an address is not sent."""
        for text, host, sni in (
            ("Prom.Lab.Test", "prom.lab.test", b"prom.lab.test"),
            ("prom.lab.test.", "prom.lab.test", b"prom.lab.test"),
            ("under_score.lab.test", "under_score.lab.test", b"under_score.lab.test"),
            ("localhost", "localhost", b"localhost"),
            ("B\xdcCHER.under_score.example", "xn--bcher-kva.under_score.example", b"xn--bcher-kva.under_score.example"),
            ("127.0.0.1", "127.0.0.1", b""),
            ("::1", "::1", b""),
            ("fe80::1%eth0", "fe80::1%eth0", b""),
        ):
            name = ServerName.parse(text)
            self.assertEqual((name.host, name.sni), (host, sni))

    def test_names_no_certificate_can_be_for(self) -> None:
        """What is neither a host name nor an address is refused."""
        for text in (
            "",
            ".",
            "a..b",
            "a.b..",
            "*.a.b",
            "a b",
            "a:443",
            "[::1]",
            "a/b",
            "a\n",
            "a" * 64,
            "a." * 127 + "a",
            "\u2603_",
        ):
            self.assertRaises(ValueError, ServerName.parse, text)

    def test_certificate_is_valid_for_each_of_its_names(self) -> None:
        """A certificate is good for a host if one of its names, each by itself, is the host's."""
        for what, host, names, good in NAMINGS:
            read = read_subject_names(der(*names))
            self.assertEqual(ServerName.parse(host).is_named_by(read), good, what)
