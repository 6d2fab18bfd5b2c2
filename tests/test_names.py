"""Tests that what docstrings and documents mention exists."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.names import OTHER, ROOT, mentioned, resolves

_FILE = re.compile(r"``(mpp/[\w/.]+)``")


class NamesTests(SynchronousTestCase):
    """Dotted names of modules and of what is in them."""

    def test_in_code(self) -> None:
        """Each name in a docstring or comment is that of something."""
        for path in (*(ROOT / "mpp").rglob("*.py"), *(ROOT / "bench").rglob("*.py"), *(ROOT / "tests").rglob("*.py")):
            for name in mentioned(path.read_text(encoding="utf-8")):
                self.assertTrue(resolves(name) or OTHER.match(name), f"{path.relative_to(ROOT)}: {name}")

    def test_in_documents(self) -> None:
        """So is each name in the documents for developers, and each file."""
        pages = [page for page in (ROOT / "docs" / "development").glob("*.rst") if page.name != "moved.rst"]
        pages += [ROOT / "docs" / "guides" / "extending.rst", ROOT / "CONTRIBUTING.rst"]
        for page in pages:
            text = page.read_text(encoding="utf-8")
            for name in mentioned(text):
                self.assertTrue(resolves(name) or OTHER.match(name), f"{page.name}: {name}")
            for file in _FILE.findall(text):
                self.assertTrue((ROOT / file).exists(), f"{page.name}: {file}")

    def test_name_resolves_to_a_definition(self) -> None:
        """A name resolves up to what a module defines; a former name does not."""
        self.assertTrue(resolves("mpp.core"))
        self.assertTrue(resolves("mpp.core.errors.ConfigError"))
        self.assertTrue(resolves("mpp.proxy.exchanges.exchange.Exchange.begin"))
        for name in ("mpp.roster", "mpp.core.errors.Nothing", "mpp.core.nothing.ConfigError"):
            self.assertFalse(resolves(name), name)
