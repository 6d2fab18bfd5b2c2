"""Finds the dotted names of mpp that docstrings, comments and documents mention, and resolves them without importing anything."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

_NAME = re.compile(r"`+~?((?:mpp|tests)(?:\.[A-Za-z_]\w*)+)(?:\(\))?`+")
OTHER = re.compile(r"mpp\.(?:strategies|affinities|access|workers|service|socket|yaml)$")
"""What looks like a module and is an entry point group, a component of the log or a file."""


def mentioned(text: str) -> Iterator[str]:
    """Return the dotted names in backticks that a text mentions."""
    for match in _NAME.finditer(text):
        yield match.group(1)


def resolves(name: str) -> bool:
    """Return whether a dotted name is that of a package, of a module, or of something at the top of a module."""
    path, parts = ROOT, name.split(".")
    while parts and (path / parts[0]).is_dir():
        path /= parts.pop(0)
    if not parts:
        return True
    module = path / f"{parts[0]}.py"
    return module.exists() and (len(parts) == 1 or parts[1] in _defined(module))


@functools.cache
def _defined(module: Path) -> frozenset[str]:
    return frozenset(name for node in ast.parse(module.read_text(encoding="utf-8")).body for name in _names(node))


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))
