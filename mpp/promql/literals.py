"""
String literals and comments of PromQL: takes them out of a query, and decodes what is needed of them. Pure; knows no other module
of mpp.

# Note [Placeholders]

Literals never reach the parser: each is replaced by its number, ``".0"``, and that of ``=~`` or ``!~`` by ``"~0"`` behind ``=``
or ``!=``. No name that stands in a query without quotation marks looks like that. So a regular expression is not compiled (a
small one can take 70 ms), an expression that only RE2 understands is no obstacle, and whatever counts characters and operators is
not misled by what stands in quotes.

Source: Prometheus documentation, "Querying basics", string literals; they are Go's.
"""

from __future__ import annotations

import re

from attrs import frozen

# All repetitions are possessive, and a literal without an end matches, too, by an empty group: so the time is proportional to the
# text. Each way begins with a certain character, by which the search is fast.
_LITERAL = re.compile(
    r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+(?:"|())'
    r"|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+(?:'|())"
    r"|`[^`]*+(?:`|())"
    r"|#[^\n]*+"
)
_EXPRESSION = re.compile(r'([=!])~[ \t\r\n]*+"\.')
_QUOTES = ('"', "'", "`")
MOST_QUOTES = 1000
"""Quotation marks and comments in a query: each literal takes half a microsecond."""

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}


@frozen
class Bare:
    """
    A query without its literals and comments.

    :ivar text: the query with placeholders.
    :ivar literals: what they stand for, as written, with the quotation marks.
    """

    text: str
    literals: tuple[str, ...]

    def literal(self, placeholder: str) -> str:
        """Return what a placeholder stands for, as written; a text that is no placeholder stands for itself, in backquotes."""
        return self.literals[int(placeholder[1:])] if placeholder[:1] in (".", "~") else f"`{placeholder}`"


def bare(query: str) -> Bare | None:
    """Return a query with placeholders; None if it has too many literals, or quotation marks that do not fit."""
    if sum(map(query.count, _QUOTES)) + query.count("#") > MOST_QUOTES:
        return None
    literals: list[str] = []
    endless: list[str] = []

    def placeholder(found: re.Match[str]) -> str:
        if found[0][0] == "#":
            return " "
        if found.lastindex is not None:
            endless.append(found[0])
        literals.append(found[0])
        return f'".{len(literals) - 1}"'

    text = _LITERAL.sub(placeholder, query)
    if endless:
        return None
    return Bare(_EXPRESSION.sub(_as_equal, text), tuple(literals))


def _as_equal(found: re.Match[str]) -> str:
    return f'{"=" if found[1] == "=" else "!="}"~'


def decoded(literal: str) -> str | None:
    """Return the text that a literal stands for; None if it is not valid, or has bytes instead of characters."""
    inner = literal[1:-1]
    if literal[0] == "`" or "\\" not in inner:
        return inner
    try:
        return _ESCAPE.sub(_character, inner)
    except (KeyError, ValueError, OverflowError):
        return None


def _character(found: re.Match[str]) -> str:
    escape = found[1]
    if len(escape) == 1:
        return _ESCAPED[escape]
    character = chr(int(escape[1:], 16))
    character.encode()
    return character
