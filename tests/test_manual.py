"""The manual's table of options."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mpp.manual import options_table, with_table
from mpp.options import OPTIONS

README = Path(__file__).resolve().parent.parent / "README.rst"


class ManualTests(SynchronousTestCase):
    """The manual says what the program does."""

    def test_is_up_to_date(self) -> None:
        """The table in the manual is that of the program; ``python -m mpp.manual`` makes it so."""
        manual = README.read_text(encoding="utf-8")
        self.assertEqual(with_table(manual), manual)

    def test_chapters_exist(self) -> None:
        """Where the table sends its readers there is something."""
        lines = README.read_text(encoding="utf-8").splitlines()
        headings = {line for line, below in pairwise(lines) if below and set(below) <= {"=", "-", "~"}}
        self.assertEqual({option.chapter for option in OPTIONS if option.chapter} - headings, set())

    def test_every_option(self) -> None:
        """Every option is in it, with its variables."""
        table = options_table()
        for option in OPTIONS:
            self.assertIn(f"   * - ``{option.flag}", table)
            for name in option.env:
                self.assertIn(f"``{name}``", table)

    def test_no_place(self) -> None:
        """Another manual is left alone."""
        self.assertRaises(ValueError, with_table, "A manual\n")
