"""
The layout of mpp: what may import what, and how large things may be. ``python -m tests.rooms`` writes the exceptions again.

Reads source only, so that it holds for imports inside functions and for those that only types need.
"""

from __future__ import annotations

import ast
import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from attrs import frozen

import mpp

PACKAGE = Path(mpp.__file__).parent
EXCEPTIONS = Path(__file__).parent / "rooms.txt"

ORDER = (
    *("_version", "core", "promql", "wire", "discovery", "config", "coverage", "cache", "selection", "proxy", "security"),
    *("admin", "app", "tap", "client", "__main__"),
)
"""What lies directly in ``mpp/``, from the bottom to the top: each may import what stands before it."""

MOST_MODULES = 15
"""Modules directly in one directory."""

MOST_LINES = 300
MOST_LINES_OF_A_FUNCTION = 40

Graph = Mapping[str, set[str]]


@frozen
class Module:
    """One file of mpp, by its dotted name; that of an ``__init__.py`` is its package."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    @property
    def is_package(self) -> bool:
        """Whether it is an ``__init__.py``."""
        return self.path.name == "__init__.py"

    @property
    def directory(self) -> str:
        """The dotted name of the folder that it lies in."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @property
    def top(self) -> str:
        """The module or package directly in ``mpp/`` that it belongs to; empty for ``mpp/__init__.py``."""
        return self.name.partition(".")[2].partition(".")[0]


@functools.cache
def modules() -> Mapping[str, Module]:
    """Return all modules by name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        found[name] = Module(name, path, ast.parse(text), text.count("\n"))
    return found


@functools.cache
def imports() -> Graph:
    """Return for each module those that it imports, wherever in the module that is; what a package imports is its own."""
    return {module.name: set(_imported(module)) - {module.name} for module in modules().values()}


def _imported(module: Module) -> Iterator[str]:
    known = modules()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            assert node.module is not None
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & known.keys()
            yield from inner
            # The root's docstring is nothing that can be imported.
            if len(inner) < len(node.names) and node.module != "mpp":
                yield node.module


def directories() -> Graph:
    """Return for each folder those whose modules its own modules import."""
    graph: dict[str, set[str]] = {}
    for name, targets in imports().items():
        place = modules()[name].directory
        # Everything may know the version, and it knows nothing: it would only tie all to the root.
        graph.setdefault(place, set()).update(modules()[target].directory for target in targets - {"mpp._version"})
    return {place: targets - {place} for place, targets in graph.items()}


def tops() -> Graph:
    """Return for each module or package directly in ``mpp/`` those that it imports."""
    graph: dict[str, set[str]] = {}
    for name, targets in imports().items():
        place = modules()[name].top
        graph.setdefault(place, set()).update(modules()[target].top for target in targets)
    return {place: targets - {place} for place, targets in graph.items()}


GRAPHS = {"module": imports, "directory": directories, "top": tops}


def cycle(graph: Graph, without: set[tuple[str, str]]) -> list[str]:
    """Return a cycle in a graph without some of its arrows; none if there is none."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name in sorted(graph):
        sorter.add(name, *sorted(target for target in graph[name] if (name, target) not in without))
    try:
        sorter.prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def upward() -> set[tuple[str, str]]:
    """Return the imports, from module to module, that go up in `ORDER`."""
    place = {name: number for number, name in enumerate(ORDER)}
    found = set()
    for name, targets in imports().items():
        here = place.get(modules()[name].top)
        for target in targets:
            there = place.get(modules()[target].top)
            if here is not None and there is not None and there > here:
                found.add((name, target))
    return found


def unplaced() -> set[str]:
    """Return what lies directly in ``mpp/`` and has no place in `ORDER`."""
    return {module.top for module in modules().values()} - {*ORDER, ""}


def sizes() -> dict[str, int]:
    """Return all modules, functions and folders that are larger than they should be, by ``kind name``."""
    found = {}
    for module in modules().values():
        # The table of options is one value, and grows with what can be configured.
        if module.lines > MOST_LINES and module.name.rpartition(".")[2] != "options":
            found[f"lines {module.name}"] = module.lines
        for name, lines in _functions(module.tree, module.name):
            if lines > MOST_LINES_OF_A_FUNCTION:
                found[f"lines {name}"] = lines
    for place, count in Counter(module.directory for module in modules().values() if not module.is_package).items():
        if count > MOST_MODULES:
            found[f"modules {place}"] = count
    return found


def _functions(node: ast.AST, name: str) -> Iterator[tuple[str, int]]:
    """Return the length of each function in lines; of one within another, by the names of both."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            assert child.end_lineno is not None
            yield f"{name}.{child.name}", child.end_lineno - child.lineno + 1
        inner = getattr(child, "name", "") if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) else ""
        yield from _functions(child, f"{name}.{inner}" if inner else name)


def packages_with_code() -> set[str]:
    """Return the packages whose ``__init__.py`` has more than a docstring."""
    return {module.name for module in modules().values() if module.is_package and len(module.tree.body) > 1}


def classes_of_one_name() -> set[str]:
    """Return the names that more than one class has."""
    names = Counter(
        node.name for module in modules().values() for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)
    )
    return {name for name, count in names.items() if count > 1}


def exceptions() -> list[str]:
    """Return what is allowed although it should not be, a line each."""
    lines = EXCEPTIONS.read_text(encoding="utf-8").splitlines() if EXCEPTIONS.exists() else []
    return [line for line in lines if line and not line.startswith("#")]


def arrows(kind: str) -> set[tuple[str, str]]:
    """Return the arrows of one kind that are allowed: ``module``, ``directory``, ``top`` or ``upward``."""
    found = set()
    for line in exceptions():
        first, _, rest = line.partition(" ")
        if first == kind:
            source, _, target = rest.partition(" -> ")
            found.add((source, target))
    return found


def listed(kind: str) -> set[str]:
    """Return what is allowed of a kind that is no arrow."""
    return {line.partition(" ")[2] for line in exceptions() if line.startswith(f"{kind} ")}


def _all_exceptions() -> Iterator[str]:
    for kind, graph in GRAPHS.items():
        without: set[tuple[str, str]] = set()
        while found := cycle(graph(), without):
            pairs = list(itertools.pairwise(found))
            without.add(max(pairs, key=lambda pair: (_climb(pair), pair)))
        yield from (f"{kind} {source} -> {target}" for source, target in sorted(without))
    yield from (f"upward {source} -> {target}" for source, target in sorted(upward()))
    yield from (f"unplaced {name}" for name in sorted(unplaced()))
    yield from (f"code-in-package {name}" for name in sorted(packages_with_code()))
    yield from (f"class {name}" for name in sorted(classes_of_one_name()))
    yield from (f"{name} {count}" for name, count in sorted(sizes().items()))


def _climb(pair: tuple[str, str]) -> int:
    """Return how far up an arrow goes: that of a cycle which goes furthest is the one to remove."""
    place = {name: number for number, name in enumerate(ORDER)}
    here, there = (place.get(name.removeprefix("mpp.").partition(".")[0], -1) for name in pair)
    return there - here


_HEAD = """\
# What the layout should not have, and has: see tests/rooms.py, which writes this by python -m tests.rooms.
# Lines may go, and numbers may shrink. None may be added but by the move of a module.
"""

if __name__ == "__main__":
    EXCEPTIONS.write_text(_HEAD + "".join(f"{line}\n" for line in _all_exceptions()), encoding="utf-8")
