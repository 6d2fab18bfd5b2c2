"""The parts of mpp as the log names them."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.log_components import COMPONENTS, PROGRAM, TWISTED, component_of
from mpp.proxy.decisions import access_fields as access
from tests.contract import source

MANUAL = Path(__file__).parents[3] / "docs/reference/logs.rst"


class ComponentTests(SynchronousTestCase):
    """What ``component`` says of a line."""

    def test_every_module_that_logs_has_one(self) -> None:
        """Each module with a logger belongs to a component by a decision, not for want of one."""
        for module in source.loggers_of_modules():
            inner = module.removeprefix("mpp.")
            with self.subTest(module=module):
                self.assertTrue(inner in COMPONENTS or inner.partition(".")[0] in COMPONENTS)

    def test_every_entry_is_a_module(self) -> None:
        """No entry has outlived its module."""
        known = {part for module in source.modules() for part in _prefixes(module.name.removeprefix("mpp."))}
        self.assertEqual(set(COMPONENTS) - known, {"access"})

    def test_component_is_that_of_the_nearest_entry(self) -> None:
        """A module's component is that of the nearest entry; Twisted's is one for all; extensions keep their names."""
        expected = {
            "mpp.discovery.merged": "mpp.discovery",
            "mpp.app.reload": "mpp.config",
            access.COMPONENT: access.COMPONENT,
            "mpp": PROGRAM,
            "mpp.something.new": PROGRAM,
            "log_legacy": TWISTED,
            "twisted.web.client._HTTP11ClientFactory": TWISTED,
            "acme.strategies": "acme.strategies",
        }
        self.assertEqual({namespace: component_of(namespace) for namespace in expected}, expected)

    def test_manual_lists_exactly_the_components(self) -> None:
        """The manual lists exactly the components there are."""
        _, _, rest = MANUAL.read_text(encoding="utf-8").partition("``component``\n")
        table = rest.split("   ==")[1]
        listed = {line.split("``")[1] for line in table.splitlines() if line.startswith("   ``")}
        self.assertEqual(listed, {*COMPONENTS.values(), PROGRAM, TWISTED})


def _prefixes(name: str) -> tuple[str, str]:
    return name, name.partition(".")[0]
