"""
Reads the mappings, lists and scalars of a YAML text, and collects all errors in it with their lines. Pure.

`mpp.config.file` reads options with it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator

from attrs import define, frozen

from mpp.core.errors import ConfigError
from mpp.core.yaml.events import PlainYAMLError, Table, as_typed, read_yaml

# An option, a list, an entry, http_config, tls_config, a value: no valid configuration nests deeper.
_MAX_DEPTH = 10
_MAX_SHOWN = 60
_MAX_ERRORS = 50


@frozen
class PlainScalar:
    """The text of a scalar without quotes."""

    text: str


def what_is(value: object) -> str:
    """Return a description of a value, for a message; it quotes the value, unlike `kind_of`."""
    if isinstance(value, Table):
        return "keys and values"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, PlainScalar) and as_typed(value.text) is not None:
        kind = "the text " if isinstance(as_typed(value.text), str) else ""
        return f"{kind}{_short(value.text)!r}" if kind else _short(value.text)
    return f"the text {_short(value)!r}" if isinstance(value, str) else "nothing"


def _short(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def kind_of(value: object) -> str:
    """Return a description of the kind of a value, for a message that must not show the value itself."""
    shown = what_is(value)
    return shown if shown in ("keys and values", "a list", "nothing") else "a scalar"


def read_tree(text: str, name: str) -> tuple[MappingReader | None, list[ConfigError]]:
    """
    Parse a text that consists of one mapping.

    :param name: the name of the file, for messages.
    :return: a reader of the mapping, or None if the text is no mapping; and the list of errors, to which the reader adds.
    """
    errors: list[ConfigError] = []

    def repeated(key: str, line: int) -> None:
        errors.append(ConfigError(f"{name}:{line}", f"the key {_short(key)!r} is repeated"))

    try:
        value = read_yaml(text, depth=_MAX_DEPTH, scalar=PlainScalar, repeated=repeated)
    except PlainYAMLError as error:
        # The parser's message holds no secret; other details may: the name of an alias may be a password without quotes.
        detail = error.detail if error.problem == "not YAML" else ""
        return None, [*errors, ConfigError(name if error.line is None else f"{name}:{error.line}", error.problem + detail)]
    if value is None or (isinstance(value, PlainScalar) and as_typed(value.text) is None):
        value = Table()
    if not isinstance(value, Table):
        return None, [ConfigError(f"{name}:1", f"expected keys and values such as 'port: 9090', found {what_is(value)}")]
    return MappingReader(value, name, errors), errors


@define(eq=False)
class MappingReader:
    """
    A reader of one mapping, which collects the errors in it.

    :ivar errors: the list of errors, shared with the readers of inner mappings.
    :ivar path: the keys that lead to the mapping, such as ``backends: http_config: ``; empty for the outermost mapping.
    :ivar name: the name of the file, for messages.
    :ivar line: the line of the mapping.
    :ivar found: returns the description of an unexpected value for a message.
    """

    table: Table
    name: str
    errors: list[ConfigError]
    path: str = ""
    line: int = 1
    found: Callable[[object], str] = what_is

    def where(self, key: str) -> str:
        """Return the file, the line and the path of a key, for a message."""
        return f"{self.name}:{self.table.lines.get(key, self.line)}: {self.path}{key}"

    def wrong(self, key: str, problem: str) -> None:
        """Add an error about the value of a key."""
        if len(self.errors) < _MAX_ERRORS:
            self.errors.append(ConfigError(self.where(key), problem))

    def keys(self, known: Collection[str], hints: dict[str, str] | None = None) -> Iterator[str]:
        """Yield the known keys in the mapping; add an error for each other key."""
        for key in self.table:
            if key in known:
                yield key
            elif hints and key in hints:
                self.wrong(_short(key), hints[key])
            else:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                self.wrong(_short(key), f"no such key; did you mean {near[0]}?" if near else "no such key")

    def inside(self, key: str) -> MappingReader | None:
        """Return a reader of the mapping under a key; add an error and return None if the value is no mapping."""
        value = self.table[key]
        if isinstance(value, Table):
            return MappingReader(value, self.name, self.errors, f"{self.path}{key}: ", self.table.lines[key], self.found)
        self.wrong(key, f"expected keys and values, found {self.found(value)}")
        return None

    def each(self, key: str) -> Iterator[MappingReader]:
        """Yield readers of the mappings in the list under a key; add an error for every element that is no mapping."""
        value = self.table[key]
        if not isinstance(value, list):
            self.wrong(key, f"expected a list, found {what_is(value)}")
            return
        for number, element in enumerate(value, start=1):
            if isinstance(element, Table):
                line = min(element.lines.values(), default=self.table.lines[key])
                yield MappingReader(element, self.name, self.errors, f"{self.path}{key} {number}: ", line)
            else:
                self.wrong(key, f"entry {number}: expected keys and values, found {what_is(element)}")

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the texts in the list under a key; add an error for every element that is no text."""
        value = self.table[key]
        if not isinstance(value, list) or not value:
            self.wrong(key, f"expected a list, found {'an empty one' if value == [] else self.found(value)}")
            return ()
        texts = []
        for element in value:
            try:
                texts.append(text_of(element, self.found))
            except ValueError as error:
                self.wrong(key, str(error))
        return tuple(texts)

    def text(self, key: str) -> str:
        """Return the text under a key; add an error and return an empty text if the value is no text."""
        return self._checked(key, text_of)

    def boolean(self, key: str) -> bool:
        """Return the boolean under a key; add an error and return False if the value is no boolean."""
        return self._checked(key, boolean_of) == "true"

    def _checked(self, key: str, check: Callable[[object], str]) -> str:
        try:
            return check(self.table[key])
        except ValueError as error:
            self.wrong(key, str(error))
            return ""


def text_of(value: object, found: Callable[[object], str] = what_is) -> str:
    """
    Return the text of a scalar; numbers and dates are texts as they were written.

    :param found: returns the description of a value for the message.
    :raise ValueError: the value is no text.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, PlainScalar) and not isinstance(as_typed(value.text), bool | None):
        return value.text
    hint = "; put it in quotes if it is meant as text" if isinstance(value, PlainScalar) and value.text else ""
    raise ValueError(f"expected text, found {found(value)}{hint}")


def boolean_of(value: object) -> str:
    """Return ``true`` or ``false`` for a boolean scalar; raise ValueError for another value."""
    typed = as_typed(value.text) if isinstance(value, PlainScalar) else None
    if not isinstance(typed, bool):
        raise ValueError(f"expected true or false, found {what_is(value)}")
    return "true" if typed else "false"


def number_of(value: object) -> str:
    """Return the text of a scalar that is a whole number; raise ValueError for another value."""
    typed = as_typed(value.text) if isinstance(value, PlainScalar) else None
    if isinstance(typed, bool) or not isinstance(typed, int):
        raise ValueError(f"expected a whole number, found {what_is(value)}")
    return str(typed)
