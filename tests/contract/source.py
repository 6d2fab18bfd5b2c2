"""Reads the source of mpp: which constants stand in it, and which values are passed to a function."""

from __future__ import annotations

import ast
import enum
import functools
import importlib
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

import mpp

PACKAGE = Path(mpp.__file__).parent


@frozen(eq=False)
class Module:
    """
    One module of mpp.

    :ivar nodes: all of its syntax tree.
    :ivar documentation: its docstrings, which hold no values.
    """

    name: str
    nodes: tuple[ast.AST, ...]
    documentation: frozenset[ast.AST]


@functools.cache
def modules() -> tuple[Module, ...]:
    """Return all modules of the program."""
    return tuple(_read(path) for path in sorted(PACKAGE.rglob("*.py")))


def _read(path: Path) -> Module:
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    nodes = tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    # A string that stands alone is a docstring, of a module, a class, a function or a variable.
    alone = (node.value for node in nodes if isinstance(node, ast.Expr))
    return Module(name, nodes, frozenset(value for value in alone if isinstance(value, ast.Constant)))


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else None


def constants(pattern: str, kind: type = object) -> set[str]:
    """
    Return all that a regular expression finds in texts that are no documentation.

    :param kind: ``str`` or ``bytes`` to look at texts of characters or of bytes only.
    """
    found: set[str] = set()
    for module in modules():
        for node in module.nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, kind) and node not in module.documentation:
                found |= {match[0] for match in re.finditer(pattern, _text(node.value) or "")}
    return found


def _calls(function: str) -> Iterator[tuple[Module, ast.Call]]:
    """Return all calls of a function; an underscore before a name makes no difference."""
    names = _names(function)
    for module, node, called in _all_calls():
        if called[-len(names) :] == names:
            yield module, node


@functools.cache
def _all_calls() -> tuple[tuple[Module, ast.Call, list[str]], ...]:
    return tuple(
        (module, node, _names(ast.unparse(node.func)))
        for module in modules()
        for node in module.nodes
        if isinstance(node, ast.Call)
    )


def _names(dotted: str) -> list[str]:
    return [name.lstrip("_") for name in dotted.split(".")]


def pairs(first: type, second: type) -> set[tuple[Any, Any]]:
    """Return the first two elements of all tuples in which they are constants of these types."""
    return {
        (node.elts[0].value, node.elts[1].value)
        for module in modules()
        for node in module.nodes
        if isinstance(node, ast.Tuple) and len(node.elts) > 1
        if isinstance(node.elts[0], ast.Constant) and isinstance(node.elts[0].value, first)
        if isinstance(node.elts[1], ast.Constant) and isinstance(node.elts[1].value, second)
    }


def passed(function: str, position: int, keyword: str = "") -> set[str]:
    """
    Return the texts that stand as one argument of a function in all its calls.

    :param function: its name; with a dot, also the name of what it is an attribute of.
    :param position: of the argument; -1 for all arguments.
    :param keyword: the argument's name.
    :raise LookupError: no call passes a text: the function has another name now, and this has to follow.
    """
    found: set[str] = set()
    for module, call in _calls(function):
        arguments = list(call.args) if position < 0 else call.args[position : position + 1]
        arguments += [each.value for each in call.keywords if each.arg == keyword and keyword]
        for argument in arguments:
            found |= set(_values(argument, module))
    if not found:
        raise LookupError(f"no call of {function} passes a text as argument {position} {keyword}; has it another name?")
    return found


def returned(function: str) -> set[str]:
    """
    Return the texts that a function returns as they stand in it.

    :raise LookupError: there is none.
    """
    found: set[str] = set()
    for module in modules():
        for node in module.nodes:
            if isinstance(node, ast.FunctionDef) and node.name == function:
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Return) and inner.value is not None:
                        found |= set(_values(inner.value, module))
    if not found:
        raise LookupError(f"no function {function} returns a text")
    return found


def assigned(variable: str) -> set[str]:
    """
    Return the texts that are assigned to a variable as they stand.

    :raise LookupError: there is none.
    """
    found: set[str] = set()
    for module in modules():
        for node in module.nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(isinstance(target, ast.Name) and target.id == variable for target in targets):
                    found |= set(_values(node.value, module))
    if not found:
        raise LookupError(f"no text is assigned to {variable}")
    return found


def keys_of(function: str, key: str) -> set[str]:
    """
    Return the paths of all keys of the mappings with a given key that stand as first argument of a function.

    :raise LookupError: there is none.
    """
    found = set()
    for _, call in _calls(function):
        paths = set(_paths(call.args[0]))
        if any(key in path.split(".") for path in paths):
            found |= paths
    if not found:
        raise LookupError(f"no call of {function} passes a mapping with the key {key}")
    return found


def _paths(node: ast.expr) -> Iterator[str]:
    for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
        name = getattr(key, "value", "*")
        yield from (f"{name}.{inner}" for inner in _paths(value))
        if not isinstance(value, ast.Dict):
            yield str(name)


def numbers_passed(functions: Collection[str]) -> set[int]:
    """Return the numbers that are the first argument of these functions."""
    found = set()
    for module, call in (each for function in functions for each in _calls(function)):
        value = _resolved(call.args[0], module) if call.args else None
        if isinstance(value, int):
            found.add(value)
    return found


def keywords(functions: Iterable[str]) -> set[str]:
    """Return the names of the keyword arguments in all calls of these functions."""
    return {each.arg for name in functions for _, call in _calls(name) for each in call.keywords if each.arg is not None}


def loggers_of_modules() -> set[str]:
    """Return the names of all modules that log under their own name."""
    return {
        module.name
        for module in modules()
        for node in module.nodes
        if isinstance(node, ast.Call) and _names(ast.unparse(node.func))[-1] == "make_logger"
    }


def loggers() -> Iterator[tuple[Module, ast.Call]]:
    """Return each call that writes to the log."""
    for module in modules():
        names = {"_log"}
        for node in module.nodes:
            # As in: write = _log.warn if it_matters else _log.info
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and "_log." in ast.unparse(node.value):
                names.add(node.targets[0].id)
        for node in module.nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[0] in names:
                yield module, node


def _values(node: ast.expr, module: Module) -> Iterator[str]:
    """Return the texts that an expression may have; of parts that are computed, none."""
    if isinstance(node, ast.Constant):
        text = _text(node.value)
        if text is not None:
            yield text
    elif isinstance(node, ast.IfExp):
        yield from _values(node.body, module)
        yield from _values(node.orelse, module)
    elif isinstance(node, ast.BoolOp | ast.Tuple | ast.List | ast.Set):
        for each in node.values if isinstance(node, ast.BoolOp) else node.elts:
            yield from _values(each, module)
    elif isinstance(node, ast.Starred):
        yield from _values(node.value, module)
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("tuple", "frozenset"):
        for each in node.args:
            yield from _values(each, module)
    elif isinstance(node, ast.Name | ast.Attribute):
        yield from _flat(_resolved(node, module))
    elif isinstance(node, ast.Subscript):
        # A table by key: all that it holds.
        yield from _flat(_resolved(node.value, module))


def _flat(value: object) -> Iterator[str]:
    """Return the texts in a value; of a mapping its keys, and what tuples of texts they lead to."""
    if isinstance(value, enum.Enum):
        value = value.value
    text = _text(value)
    if text is not None:
        yield text
    elif isinstance(value, dict):
        yield from (text for key in value for text in _flat(key))
        yield from (text for inner in value.values() if isinstance(inner, tuple) for text in _flat(inner))
    elif isinstance(value, tuple | list | frozenset | set):
        yield from (text for each in value for text in _flat(each))


def _resolved(node: ast.expr, module: Module) -> Any:
    """Return what a constant or a name of a module stands for; None if that is only known when it runs."""
    if isinstance(node, ast.Constant):
        return node.value
    *rest, root = _chain(node)
    if not root or not hasattr(imported := importlib.import_module(module.name), root):
        return None
    value = getattr(imported, root)
    for name in reversed(rest):
        value = getattr(value, name, None)
    return value


def _chain(node: ast.expr) -> list[str]:
    """Return the names of ``a.b.c``, the last one first; an empty one at the end if it is something else."""
    if isinstance(node, ast.Attribute):
        return [node.attr, *_chain(node.value)]
    return [node.id if isinstance(node, ast.Name) else ""]
