"""Nothing that a user holds on to changes unnoticed: see `tests.contract`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.contract import source
from tests.contract.recorded import FILE, SECTIONS, current, recorded, text


class ContractTests(SynchronousTestCase):
    """The code against the recorded contract."""

    maxDiff = None

    def test_nothing_is_missing_or_new(self) -> None:
        """Names and values are the recorded ones; ``python -m tests.contract`` records a change that is meant."""
        for section in SECTIONS:
            with self.subTest(section=section):
                now, before = current(section), recorded(section)
                self.assertEqual({"gone": sorted(before - now), "new": sorted(now - before)}, {"gone": [], "new": []})

    def test_as_written(self) -> None:
        """The file is as the command writes it."""
        self.assertEqual(FILE.read_text(encoding="utf-8"), text())

    def test_every_source_is_found(self) -> None:
        """A function that is not there any more is an error, not an empty set that goes unnoticed."""
        self.assertRaises(LookupError, source.passed, "no_such_function", 0)
        self.assertRaises(LookupError, source.returned, "no_such_function")
        self.assertRaises(LookupError, source.assigned, "no_such_variable")
