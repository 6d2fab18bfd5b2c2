"""How single values are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.text import values

GOOD: list[tuple[Callable[[str], Any], str, Any]] = [
    (values.parse_duration, "10s", 10.0),
    (values.parse_duration, "0", 0.0),
    (values.parse_duration, "0s", 0.0),
    (values.parse_duration, "250ms", 0.25),
    (values.parse_duration, "1h30m", 5400.0),
    (values.parse_duration, "1.5h", 5400.0),
    (values.parse_duration, ".5h", 1800.0),
    (values.parse_duration, "1.h", 3600.0),
    (values.parse_duration, "15d", 15 * 86400.0),
    (values.parse_duration, "1w", 7 * 86400.0),
    (values.parse_duration, "1y", 365 * 86400.0),
    (values.parse_duration, "1d12h", 1.5 * 86400),
    (values.parse_duration, "2m0.5s", 120.5),
    (values.parse_duration, "500us", 0.0005),
    (values.parse_duration, "500\u00b5s", 0.0005),
    (values.parse_duration, "500\u03bcs", 0.0005),
    (values.parse_duration, "1000000000ns", 1.0),
    (values.parse_interval, "10s", 10.0),
    (values.parse_interval, "100ms", 0.1),
    (values.parse_timeout, "10ms", 0.01),
    (values.parse_timeout, "2m", 120.0),
    (values.parse_share, "20%", 0.2),
    (values.parse_share, "0.2", 0.2),
    (values.parse_share, "0", 0.0),
    (values.parse_share, "100%", 1.0),
    (values.parse_positive, "1", 1),
    (values.parse_size, "0", 0),
    (values.parse_size, "1048576", 1048576),
    (values.parse_size, "512KiB", 524288),
    (values.parse_size, "1MiB", 1048576),
    (values.parse_size, "1.5MiB", 1572864),
    (values.parse_size, "2GiB", 2147483648),
    (values.parse_size, "1KB", 1000),
    (values.parse_size, "10 MB", 10_000_000),
    (values.parse_size, "1gb", 10**9),
    (values.parse_size, "12B", 12),
    (values.parse_count, "0", 0),
    (values.parse_count, "12", 12),
    (values.parse_port, "1", 1),
    (values.parse_port, "65535", 65535),
    (values.parse_path, "/etc/mpp/endpoints", "/etc/mpp/endpoints"),
    (values.parse_word, " random ", "random"),
    (values.parse_parameters, "namespace=monitoring&tenant=a%20b&x", "namespace=monitoring&tenant=a%20b&x"),
    (values.parse_affinity_options, "cookies", ("cookies",)),
    (values.parse_affinity_options, "sourceip, cookies", ("sourceip", "cookies")),
    (values.parse_affinity_options, "cookies,cookies", ("cookies",)),
    (values.parse_affinity_options, "none", ()),
    (values.parse_networks, "10.0.0.0/8", ("10.0.0.0/8",)),
    (values.parse_networks, "10.1.2.3/8, 192.0.2.1", ("10.0.0.0/8", "192.0.2.1/32")),
    (values.parse_networks, "fc00::/7,::1", ("fc00::/7", "::1/128")),
    (values.parse_networks, "none", ()),
    (values.parse_endpoint, "tcp:9090", "tcp:9090"),
    (values.parse_endpoint, "systemd:domain=INET6:name=mpp", "systemd:domain=INET6:name=mpp"),
    *[(values.parse_boolean, text, True) for text in ("true", "TRUE", "True", "1", "yes", "Yes")],
    *[(values.parse_boolean, text, False) for text in ("false", "False", "0", "no", "NO")],
]

BAD: list[tuple[Callable[[str], Any], str, str]] = [
    *[
        (values.parse_duration, text, f"{text!r} is not a duration such as 10s, 1h30m or 15d")
        for text in (
            "",
            "10",
            "s",
            "-1s",
            "+1s",
            "1s ",
            "1 s",
            "1x",
            "1h30",
            "h1",
            "1_0s",
            "\u0661s",
            "1e3s",
            ".s",
            "9" * 400 + "s",
        )
    ],
    *[
        (values.parse_interval, text, f"{text!r} is not a duration such as 10s or 1m30s (100ms to 1h)")
        for text in ("", "0", "0s", "99ms", "10", "often")
    ],
    *[
        (values.parse_size, text, f"{text!r} is not a size such as 1048576, 512KiB or 10MiB")
        for text in ("", "-1", "1.", "big", "1TiB", "1 0", "MiB", "0x10", "9" * 400)
    ],
    *[
        (values.parse_count, text, f"{text!r} is not a whole number (0 or more)")
        for text in ("", "-1", "+1", "1.5", "two", "1_0", "\u0662", "1" * 30)
    ],
    *[
        (values.parse_port, text, f"{text!r} is not a port number (1 to 65535)")
        for text in ("", "abc", "0", "65536", "-1", "99999999", ":9090", "9090 ", "tcp://10.0.0.1:9090", "\u0661")
    ],
    *[
        (values.parse_boolean, text, f"{text!r} is neither true nor false (true, 1, yes, false, 0, no)")
        for text in ("", "maybe", "2", "on", "t")
    ],
    (values.parse_path, "", "'' is not the path of a file"),
    (values.parse_path, "a\0b", "'a\\x00b' is not the path of a file"),
    (values.parse_word, " ", "' ' is empty"),
    (
        values.parse_parameters,
        "a=b c",
        "'a=b c' is no query string; expected name=value, several with & between them, percent-encoded",
    ),
    (
        values.parse_parameters,
        "a=b%2",
        "'a=b%2' is no query string; expected name=value, several with & between them, percent-encoded",
    ),
    (values.parse_parameters, "a&time=1", "'a&time=1' has 'time', which probes set themselves; expected other parameters"),
    (
        values.parse_parameters,
        "%71uery=up",
        "'%71uery=up' has '%71uery', which probes set themselves; expected other parameters",
    ),
    *[
        (
            values.parse_affinity_options,
            text,
            f"{text!r} is not a comma-separated list of 'cookies', 'sourceip' and 'header:NAME', or 'none' alone",
        )
        for text in ("", ",", "cookies,", "cookies,none", "none,none")
    ],
    *[
        (values.parse_networks, text, f"{text!r} is not a network such as 10.0.0.0/8 or an address such as 192.0.2.1")
        for text in ("", "localhost", "10.0.0.0/33", "10.0.0", "::g")
    ],
    (values.parse_networks, "10.0.0.0/8,none", "'none' is not a network such as 10.0.0.0/8 or an address such as 192.0.2.1"),
    *[
        (values.parse_endpoint, text, f"{text!r} is not a Twisted server endpoint such as tcp:9090:interface=127.0.0.1")
        for text in ("", "9090", "tcp", "tcp:", ":9090", "127.0.0.1:9090", "[::]:9090")
    ],
]


class ValuesTests(SynchronousTestCase):
    """Every way to write a value, right and wrong."""

    def test_valid_value_is_parsed(self) -> None:
        """A value that is written right is understood."""
        for parse, text, expected in GOOD:
            with self.subTest(parse=parse.__name__, text=text):
                self.assertEqual(parse(text), expected)

    def test_invalid_value_is_quoted_with_what_was_expected(self) -> None:
        """A value that is written wrong is quoted, and what was expected is said."""
        for parse, text, message in BAD:
            with self.subTest(parse=parse.__name__, text=text):
                with self.assertRaises(ValueError) as caught:
                    parse(text)
                self.assertEqual(str(caught.exception), message)

    @given(st.sampled_from(sorted({parse for parse, _, _ in GOOD}, key=lambda parse: parse.__name__)), st.text())
    def test_any_text(self, parse: Callable[[str], Any], text: str) -> None:
        """Any text is either understood or refused in one line, never anything else."""
        try:
            parse(text)
        except ValueError as error:
            self.assertEqual(len(str(error).splitlines()), 1)
