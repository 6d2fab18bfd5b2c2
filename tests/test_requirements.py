"""What mpp needs: that the lowest releases it says it works with are those it is tested with."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints-lowest.txt"

_FLOOR = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?>=(?P<version>[0-9.]+)(?:; .*)?")


def required() -> tuple[list[str], list[str]]:
    """Return what setup.py requires, always and for the tests."""
    (call,) = [node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())) if _is_setup(node)]
    values = {keyword.arg: keyword.value for keyword in call.keywords}
    return ast.literal_eval(values["install_requires"]), ast.literal_eval(values["extras_require"])["test"]


def _is_setup(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setup"


class RequirementsTests(SynchronousTestCase):
    """The floors in setup.py."""

    def test_each_requirement_has_a_floor_and_nothing_else(self) -> None:
        """All that mpp needs has a lowest release, and no highest one: a library must not hold others back."""
        for requirement in required()[0]:
            self.assertIsNotNone(_FLOOR.fullmatch(requirement), requirement)

    def test_constraints_are_exactly_the_floors(self) -> None:
        """The constraints are exactly the floors, so that what is tested is what is promised."""
        floors = [floor for each in required() for requirement in each if (floor := _FLOOR.fullmatch(requirement))]
        expected = "".join(f"{floor['name']}=={floor['version']}\n" for floor in floors)
        lines = [line for line in CONSTRAINTS.read_text().splitlines(keepends=True) if not line.startswith("#")]
        self.assertEqual("".join(lines), expected, f"{CONSTRAINTS.name} does not fit setup.py")

    def test_tox_uses_the_constraints(self) -> None:
        """The run with the lowest releases takes them from that file."""
        self.assertIn(f"lowest: PIP_CONSTRAINT = {{tox_root}}{{/}}{CONSTRAINTS.name}\n", (ROOT / "tox.ini").read_text())

    def test_mpp_is_built_with_what_its_tests_use(self) -> None:
        """What builds mpp is what the tests build it with."""
        build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
        self.assertEqual(build, [requirement for requirement in required()[1] if requirement.startswith("setuptools")])
