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

# A literal with the matcher before it, or a comment. All repetitions are possessive: the time is proportional to the text.
_LITERAL = re.compile(
    r"(?:(=~|!~)[ \t\r\n]*+)?"
    r'("[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"'
    r"|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'"
    r"|`[^`]*+`)"
    r"|#[^\n]*+"
)
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

    def value(self, placeholder: str) -> tuple[str | None, bool]:
        """
        Return what a placeholder stands for, None if that cannot be decoded, and whether it is a regular expression.

        A text that is no placeholder stands for itself.
        """
        if placeholder[:1] not in (".", "~"):
            return placeholder, False
        return decoded(self.literals[int(placeholder[1:])]), placeholder[0] == "~"


def bare(query: str) -> Bare | None:
    """Return a query with placeholders; None if it has too many literals, or quotation marks that do not fit."""
    if sum(map(query.count, _QUOTES)) + query.count("#") > MOST_QUOTES:
        return None
    literals: list[str] = []

    def placeholder(found: re.Match[str]) -> str:
        literal = found[2]
        if literal is None:
            return " "
        literals.append(literal)
        number = len(literals) - 1
        matcher = found[1]
        return f'".{number}"' if matcher is None else f'{"=" if matcher == "=~" else "!="}"~{number}"'

    text = _LITERAL.sub(placeholder, query)
    # The placeholders have two quotation marks each.
    if "'" in text or "`" in text or text.count('"') != 2 * len(literals):
        return None
    return Bare(text, tuple(literals))


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
