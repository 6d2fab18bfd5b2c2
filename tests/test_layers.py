"""Imports go downwards only. The layers are those that the docstring of ``mpp`` lists: it is kept true by this."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import mpp

PACKAGE = Path(mpp.__file__).parent

SIDEWAYS = {
    ("forward", "wire"),
    ("forward", "metrics"),
    ("metrics", "tally"),
    ("locators", "tls"),
    ("locators", "addresses"),
    ("addresses", "pacing"),
}
"""The only imports between two different parts of L2."""

EVERYWHERE = {"__init__", "_version"}
"""Parts that belong to no layer: they know nothing, and everyone may know them."""


def layers() -> dict[str, int]:
    """Give the layer of each part of mpp (a module, or a whole subpackage)."""
    found = {}
    for number, names in re.findall(r"^- L(\d)[^:]*:\s*((?:``[^`]*``[\s.;,]*)+)", mpp.__doc__ or "", re.MULTILINE):
        for name in re.findall(r"[\w]+", names):
            found[name] = int(number)
    return found


def part(module: str) -> str:
    """Give the part of mpp that a module belongs to: ``wire`` for ``mpp.wire.pool``."""
    return [*module.split("."), "__init__"][1]


def imported(path: Path) -> set[str]:
    """Give the parts of mpp that a file imports, at its top or anywhere else, for types or for real."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {part(alias.name) for alias in node.names if alias.name.split(".")[0] == "mpp"}
        elif isinstance(node, ast.ImportFrom) and node.module == "mpp":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mpp."):
            found.add(part(node.module))
    return found


def modules() -> dict[Path, str]:
    """Give every file of mpp, with the part it belongs to."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path: path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in paths}


def allowed(importer: str, target: str, layer: dict[str, int]) -> bool:
    """Tell whether one part may import another."""
    if importer == target or target in EVERYWHERE:
        return True
    if layer[importer] == layer[target] == 2:
        return (importer, target) in SIDEWAYS
    return layer[importer] >= layer[target]


class LayersTests(SynchronousTestCase):
    """The order among the modules of mpp."""

    def test_every_module_has_a_layer(self) -> None:
        """Each module is listed in the docstring of ``mpp``, and nothing else is."""
        self.assertEqual(set(modules().values()) - EVERYWHERE, set(layers()))

    def test_downwards_only(self) -> None:
        """No module imports from a layer above its own, nor sideways among those that act."""
        layer = layers()
        wrong = [
            f"{path.relative_to(PACKAGE.parent)} imports mpp.{target}"
            for path, importer in modules().items()
            if importer not in EVERYWHERE
            for target in sorted(imported(path))
            if importer in layer and target in layer and not allowed(importer, target, layer)
        ]
        self.assertEqual(wrong, [])

    def test_no_relative_imports(self) -> None:
        """No relative imports, which would pass the other tests unseen."""
        for path in modules():
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    self.assertEqual(node.level, 0, path)
