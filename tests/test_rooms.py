"""The layout of mpp, see `tests.rooms`."""

from __future__ import annotations

import ast

from twisted.trial.unittest import SynchronousTestCase

from tests import rooms


class ImportsTests(SynchronousTestCase):
    """What imports what."""

    def test_no_cycle(self) -> None:
        """Neither modules nor directories nor the packages in ``mpp/`` import each other in a circle."""
        for kind, graph in rooms.GRAPHS.items():
            with self.subTest(kind=kind):
                self.assertEqual(rooms.cycle(graph(), rooms.arrows(kind)), [])

    def test_downwards_only(self) -> None:
        """No import goes up in the order of packages."""
        self.assertEqual(rooms.upward() - rooms.arrows("upward"), set())

    def test_everything_in_mpp_has_a_place_in_the_order(self) -> None:
        """All that lies in ``mpp/`` has a place in the order."""
        self.assertEqual(rooms.unplaced() - rooms.listed("unplaced"), set())

    def test_no_relative_imports(self) -> None:
        """Every import is absolute, so that it means the same wherever it stands."""
        for module in rooms.modules().values():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ImportFrom):
                    self.assertEqual(node.level, 0, module.name)


class SizesTests(SynchronousTestCase):
    """How large things are."""

    def test_none_grows(self) -> None:
        """No module, function or directory is larger than it may be; the exceptions do not grow."""
        allowed = {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in rooms.exceptions() if line[-1].isdigit()}
        grown = {name: size for name, size in rooms.sizes().items() if size > allowed.get(name, 0)}
        self.assertEqual(grown, {})

    def test_packages_hold_no_code(self) -> None:
        """An ``__init__.py`` holds a docstring and nothing else, so that importing a module loads only what it needs."""
        self.assertEqual(rooms.packages_with_code() - rooms.listed("code-in-package"), set())

    def test_class_names(self) -> None:
        """No two classes have the same name."""
        self.assertEqual(rooms.classes_of_one_name() - rooms.listed("class"), set())


class ExceptionsTests(SynchronousTestCase):
    """The list of what is allowed although it should not be."""

    def test_only_shrinks(self) -> None:
        """What is mended is struck from the list."""
        graphs = {kind: {(name, target) for name, targets in graph().items() for target in targets} for kind, graph in GRAPHS}
        stale = {(kind, arrow) for kind, arrows in graphs.items() for arrow in rooms.arrows(kind) - arrows}
        stale |= {("upward", arrow) for arrow in rooms.arrows("upward") - rooms.upward()}
        names = {
            "unplaced": rooms.unplaced(),
            "code-in-package": rooms.packages_with_code(),
            "class": rooms.classes_of_one_name(),
            "lines": {name.partition(" ")[2] for name in rooms.sizes()},
            "modules": {name.partition(" ")[2] for name in rooms.sizes()},
        }
        gone = {line for kind, there in names.items() for line in rooms.listed(kind) if line.partition(" ")[0] not in there}
        self.assertEqual((stale, gone), (set(), set()))


GRAPHS = tuple(rooms.GRAPHS.items())
