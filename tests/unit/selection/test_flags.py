"""Which flags of a server are compared with those of the other."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.prometheus.runtimeinfo import ProbeResponse
from mpp.selection.probing.flags import read_flags

RECORDED = Path(__file__).parents[2] / "recorded"


def answer(flags: object) -> ProbeResponse:
    """Return a response with these flags."""
    return ProbeResponse(200, json.dumps({"status": "success", "data": flags}).encode())


class ReadFlagsTests(SynchronousTestCase):
    """What is made of a response to /api/v1/status/flags."""

    def test_flags_without_addresses_and_paths_are_recorded(self) -> None:
        """All flags are there but addresses, paths, and the retention by time."""
        for version, number in (("2.42.0", 41), ("3.5.3", 54)):
            page = (RECORDED / f"prometheus-{version}-flags.json").read_bytes()
            read, all_of_them = dict(read_flags(ProbeResponse(200, page))), json.loads(page)["data"]
            self.assertEqual(read["query.lookback-delta"], all_of_them["query.lookback-delta"])
            self.assertEqual(len(read), number)
            for name in set(all_of_them) - set(read):
                self.assertRegex(name, r"file$|path$|address$|url$|prefix$|assets$|console\.|tsdb\.retention(\.time)?$")

    def test_order_of_features_makes_no_difference(self) -> None:
        """The order of features makes no difference."""
        self.assertEqual(read_flags(answer({"enable-feature": "b,a"})), read_flags(answer({"enable-feature": "a,b"})))

    def test_nothing_reported(self) -> None:
        """A server that does not report its flags has none that are compared."""
        refused = UpstreamError(Phase.CONNECT, Cause.REFUSED)
        for outcome in (
            ProbeResponse(404),
            ProbeResponse(200, b"no"),
            answer([]),
            answer(None),
            answer({"a": 1, "b": None}),
            refused,
        ):
            self.assertEqual(read_flags(outcome), ())

    def test_hostile_flags_are_bounded_and_printable(self) -> None:
        """Whatever a server reports is bounded, and fit to be shown; long values are told apart all the same."""
        read = read_flags(answer({f"flag-{number}": "x" for number in range(5000)}))
        self.assertEqual(len(read), 300)
        self.assertEqual(read_flags(answer({"a b": "x", "<b>": "x", "x" * 101: "x", "": "x"})), ())
        (first, second) = (read_flags(answer({"a": "x" * 5000 + end})) for end in "yz")
        self.assertNotEqual(first, second)
        self.assertLess(len(first[0][1]), 220)
        ((_, value),) = read_flags(answer({"a": "1\x1b[31m\u202e2\ud800"}))
        self.assertTrue(value.startswith("1[31m2... ("), value)
        self.assertTrue(value.isprintable())
