"""Problems that come and go become events."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.selection.problems import Problems


class ProblemsTests(SynchronousTestCase):
    """One event when a problem begins or changes, and one when it is over."""

    def setUp(self) -> None:
        self.noted: list[tuple[str, str]] = []
        self.problems = Problems(lambda kind, text: self.noted.append((kind, text)), "discovery")

    def test_comes_and_goes(self) -> None:
        """A problem that lasts is told once, another one in its place anew, and the end of it."""
        for problem in ("", "refused", "refused", "404", "", ""):
            self.problems.look({"dns": problem, "file": ""})
        self.assertEqual(self.noted, [("discovery", "dns: refused"), ("discovery", "dns: 404"), ("return", "dns works again")])

    def test_removed_configuration_is_no_problem(self) -> None:
        """What is not configured any more is neither broken nor well."""
        for problems in ({"dns": "refused"}, {}, {"dns": ""}):
            self.problems.look(problems)
        self.assertEqual(self.noted, [("discovery", "dns: refused")])
