"""
Reads untrusted YAML with bounded depth, and with memory bounded by the length of the text. Pure.

The results are lists, mappings with line numbers (`Table`), and scalars, which the caller gets as text or by their type. Merge
keys, tags and dates are not supported, and keys are always text.

# Note [YAML]

PyYAML's composer follows nested collections recursively; with libyaml that is recursion in C, and 100 KB of "[" end the
process with a segmentation fault. Its constructor copies merge keys ("<<"), so that a few lines can make gigabytes. Therefore
this module reads the events of the parser: without recursion, with bounded depth, without merge keys, and aliases share one
value. A caller that walks through the result visits a shared value at each alias, so the nodes of aliases are counted and
limited, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml
from attrs import define, field, frozen
from yaml.resolver import Resolver

# The parser in C is ten times as fast, and may be missing, which the typed stubs do not express.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = Resolver()
# Scalars, lists and mappings, counted again at each alias; a text of 1 MiB without aliases has at most half as many.
MAX_NODES = 1_000_000
# Numbers as in JSON, with a length that can be parsed quickly.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FRACTION = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_TOO_DEEP = "nested too deeply"
# A key that may be shown in a message: an address could contain a password.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")


class PlainYAMLError(ValueError):
    """
    A text is not YAML, or not the supported part of YAML. The message begins with the line, if it is known.

    :ivar problem: the error, without any part of the text, which may hold secrets.
    :ivar line: the line, beginning with 1, or None.
    :ivar detail: the parser's message, or a name from the text, with a colon in front; empty for none.
    """

    def __init__(self, problem: str, line: int | None = None, detail: str = "") -> None:
        super().__init__(f"{'' if line is None else f'line {line}: '}{problem}{detail}")
        self.problem = problem
        self.line = line
        self.detail = detail


class Table(dict[str, object]):
    """
    A mapping of YAML with its line numbers.

    :ivar lines: the line of each key, beginning with 1; for a mapping behind an alias, the lines of the original.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


@frozen
class OtherScalar:
    """A scalar that is neither text nor a value of JSON: a date, a number in base 8 or 60, infinity."""

    text: str

    def __str__(self) -> str:
        return self.text


def as_text(scalar: str) -> object:
    """Return a scalar without quotes as text, even if it is a number in YAML (10:30 is 630); an empty or null one as None."""
    return None if scalar in ("", "~", "null", "Null", "NULL") else scalar


def as_typed(scalar: str) -> object:
    """Return the value of a scalar without quotes, by its type in YAML 1.1."""
    tag = _RESOLVER.resolve(yaml.ScalarNode, scalar, (True, False))  # type: ignore[no-untyped-call]
    kind = str(tag).rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return scalar.lower() in ("yes", "true", "on")
    if _INTEGER.fullmatch(scalar):
        return int(scalar)
    if _FRACTION.fullmatch(scalar):
        return float(scalar)
    return scalar if kind == "str" else OtherScalar(scalar)


def read_yaml(
    text: str, *, depth: int, scalar: Callable[[str], object] = as_text, repeated: Callable[[str, int], None] | None = None
) -> object:
    """
    Return the value of a text with one document, or None for an empty text or document. Empty documents may follow, such as
    the one that a final ``---`` begins.

    :param depth: the maximum nesting depth of lists and mappings.
    :param scalar: returns the value of a scalar without quotes; a scalar with quotes is text.
    :param repeated: called with each repeated key and its line; the last value counts. None: a repeated key is an error.
    :raises PlainYAMLError: the text is not YAML, or not the supported part of YAML.
    """
    document = _Document(depth, scalar, repeated)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            document.take(event)
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text) from None
    except yaml.YAMLError as error:
        raise PlainYAMLError("not YAML", None, f": {str(error).splitlines()[0]}") from None
    return document.roots[0] if document.roots else None


def _not_yaml(error: yaml.MarkedYAMLError, text: str) -> PlainYAMLError:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    # The limit of libyaml since PyYAML 6.0.4, which may be reached before `depth`, because libyaml looks ahead.
    if error.problem == "exceeded maximum nesting depth":
        return PlainYAMLError(_TOO_DEEP, line)
    problem = str(error.problem or error.context)
    lines = text.split("\n")
    # The parser calls a tab a character that cannot start any token, or a violation of indentation.
    if mark and mark.line < len(lines) and lines[mark.line][mark.column :].startswith("\t"):
        problem = "found a tab; expected blanks, as YAML permits no tab there"
    return PlainYAMLError("not YAML", line, f": {problem}")


def _is_empty(event: Any) -> bool:
    """Return whether a document with this event as its root is empty."""
    return isinstance(event, yaml.ScalarEvent) and event.implicit[0] and not event.value


class _Wrong(Exception):
    """An error in an event. Its arguments are the problem, and optionally a detail, see `PlainYAMLError`."""


@define(eq=False)
class _Open:
    """A list or a mapping whose end has not been read yet."""

    value: list[object] | Table
    anchor: str | None = None
    key: str | None = None
    nodes: int = 1

    def add(self, value: object, nodes: int, line: int, repeated: Callable[[str, int], None] | None) -> None:
        """Add the next value or key to the list or mapping."""
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise _Wrong("aliases expand to too many values")
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is not None:
            self.value[self.key] = value
            self.key = None
        elif value == "<<":
            raise _Wrong("merge keys (<<) are not supported")
        elif not isinstance(value, str):
            raise _Wrong("a key must be plain text")
        else:
            if value in self.value and repeated is None:
                raise _Wrong("a repeated key", f": {value}" if _NAME.fullmatch(value) else "")
            if value in self.value and repeated is not None:
                repeated(value, line)
            self.key = value
            self.value.lines[value] = line


@define(eq=False)
class _Document:
    """The part of a text that has been read."""

    _depth: int
    _scalar: Callable[[str], object]
    _repeated: Callable[[str, int], None] | None = None
    roots: list[object] = field(factory=list)
    _open: list[_Open] = field(factory=list)
    _anchors: dict[str, tuple[object, int]] = field(factory=dict)
    _document_line: int = 0

    def take(self, event: Any) -> None:
        """Process the next event of the parser."""
        line = event.start_mark.line + 1
        try:
            self._take(event, line)
        except _Wrong as error:
            problem, *detail = error.args
            raise PlainYAMLError(problem, line, "".join(detail)) from None

    def _take(self, event: Any, line: int) -> None:
        if self.roots and not self._open and isinstance(event, yaml.NodeEvent):
            if not _is_empty(event):
                raise PlainYAMLError("a second document begins; expected one", self._document_line)
        elif isinstance(event, yaml.ScalarEvent):
            self._add((self._value(event), 1), event.anchor, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(self._open) >= self._depth:
                raise _Wrong(_TOO_DEEP)
            self._open.append(_Open([] if isinstance(event, yaml.SequenceStartEvent) else Table(), event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = self._open.pop()
            self._add((ended.value, ended.nodes), ended.anchor, line)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._document_line = line
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _Wrong("an alias without an anchor", f": *{event.anchor:.40}")
            self._add(self._anchors[event.anchor], None, line)

    def _value(self, event: Any) -> object:
        # A key is always text: `on` in `on: 1` does not mean true.
        is_key = bool(self._open) and isinstance(self._open[-1].value, Table) and self._open[-1].key is None
        return self._scalar(event.value) if event.implicit[0] and not is_key else event.value

    def _add(self, counted: tuple[object, int], anchor: str | None, line: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = counted
        if self._open:
            self._open[-1].add(*counted, line, self._repeated)
        else:
            self.roots.append(counted[0])
