"""
Reads the prose of the project without importing anything: docstrings, comments, and the texts that users read.

A text in code is a string constant with at least two words, which includes log messages, errors, help texts, the HELP of metrics
and the texts of pages. `tests.prose_rules` judges what is found here.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

ROOT = Path(__file__).parent.parent

_TWO_WORDS = re.compile(r"[A-Za-z]{2,}\b[^A-Za-z]*\s[^a-z]*[a-z]{2,}")
_TAG = re.compile(r"<[^<>\n]*>")
# Five times as fast as `tokenize`. Right for Python 3.11, in which the quotes of an f-string do not occur within it.
_STRING_OR_COMMENT = re.compile(
    r'''"""(?:\\.|[^\\])*?"""|\'{3}(?:\\.|[^\\])*?\'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\#[^\n]*''', re.DOTALL
)
_SHELL_COMMENT = re.compile(r"^\s*#(?!!) ?(.*)")

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@frozen
class Prose:
    """
    One text, and where it was found.

    :ivar file: relative to the root of the checkout.
    :ivar line: of its beginning, from 1 on.
    :ivar kind: that of a docstring is ``function``, ``attribute`` (properties included), ``class`` or ``module``; others are
        ``comment`` and ``text``.
    """

    file: str
    line: int
    kind: str
    text: str


@functools.cache
def all_prose() -> Sequence[Prose]:
    """Return the prose of the program, its scripts, the simulated server, and the rules and dashboards in ``contrib/``."""
    return tuple(_all_prose())


def _all_prose() -> Iterator[Prose]:
    for folder in ("mpp", "twisted/plugins", "script", "tests/simulated", "tests/contract"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from in_python(_name(path), path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "script").iterdir()):
        if path.is_file() and path.suffix != ".py":
            yield from _lines(_name(path), path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "contrib").rglob("*.y*ml")):
        yield from in_yaml(_name(path), path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "contrib").rglob("*.json")):
        yield from in_dashboard(_name(path), path.read_text(encoding="utf-8"))


def in_python(file: str, source: str) -> Iterator[Prose]:
    """Yield the docstrings, comments and texts of a module."""
    nodes = list(ast.walk(ast.parse(source)))
    described = {id(statement): _kind(node) for node in nodes if isinstance(node, _Documented) for statement in node.body[:1]}
    seen = set()
    for node in nodes:
        # A statement comes before the constant in it.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            seen.add(node.value)
            if isinstance(node.value.value, str):
                yield Prose(file, node.lineno, described.get(id(node), "attribute"), node.value.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in seen:
            text = _TAG.sub(" ", node.value)
            if _TWO_WORDS.search(text):
                yield Prose(file, node.lineno, "text", text)
    yield from _comments(file, list(_comments_of(source)))


def _comments_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments of a module with their lines."""
    line, counted = 1, 0
    for match in _STRING_OR_COMMENT.finditer(source):
        if match.group().startswith("#"):
            line, counted = line + source.count("\n", counted, match.start()), match.start()
            yield line, match.group()


def in_yaml(file: str, source: str) -> Iterator[Prose]:
    """Yield the comments of a YAML file and the annotations of its alerts; these with the line 1."""
    yield from _lines(file, source)
    for document in yaml.safe_load_all(source):
        yield from (Prose(file, 1, "text", text) for text in _values(document, ("summary", "description")))


def in_dashboard(file: str, source: str) -> Iterator[Prose]:
    """Yield the titles and descriptions of a dashboard, with the line 1."""
    yield from (Prose(file, 1, "text", text) for text in _values(json.loads(source), ("title", "description", "content")))


def _kind(node: _Documented) -> str:
    if isinstance(node, ast.Module):
        return "module"
    if isinstance(node, ast.ClassDef):
        return "class"
    decorators = [ast.unparse(each) for each in node.decorator_list]
    return "attribute" if any("property" in each or each.endswith(".setter") for each in decorators) else "function"


def _lines(file: str, source: str) -> Iterator[Prose]:
    """Yield the comments that have a line of their own."""
    found = ((number, _SHELL_COMMENT.match(line)) for number, line in enumerate(source.splitlines(), 1))
    yield from _comments(file, [(number, match.group(1)) for number, match in found if match])


def _comments(file: str, comments: Sequence[tuple[int, str]]) -> Iterator[Prose]:
    """Yield the comments on consecutive lines as one text, since their sentences go on."""
    block: list[str] = []
    for number, (line, comment) in enumerate(comments):
        block.append(comment.lstrip("#").strip())
        if number + 1 == len(comments) or comments[number + 1][0] != line + 1:
            yield Prose(file, line - len(block) + 1, "comment", "\n".join(block))
            block = []


def _values(data: Any, keys: Sequence[str]) -> Iterator[str]:
    """Yield the texts that stand under one of the keys, at any depth."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key in keys and isinstance(value, str):
                yield value
            else:
                yield from _values(value, keys)
    elif isinstance(data, list):
        for value in data:
            yield from _values(value, keys)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))
