"""Makes the names of servers in a text links to what the page says of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mpp.admin.status.html import text
from mpp.core.model import Backend

Links = Mapping[str, str]
"""For each name of a server its place on the page."""

_WORD = re.compile(r"(\s+)")
# What a sentence puts around a name, and what no name begins or ends with.
_BEFORE, _BEHIND = "(", ".,;:)!?"


def links_to(backends: Sequence[Backend]) -> Links:
    """Return the place of each server's card by the server's name."""
    return {backend.name: place_of(backend) for backend in backends}


def place_of(backend: Backend) -> str:
    """Return the id of a server's card."""
    return f"server-{backend.id}"


def linked(plain: str, links: Links) -> str:
    """Return a text as markup in which each name of a server is a link; takes time proportional to the text."""
    return "".join(_word(word, links) for word in _WORD.split(plain))


def _word(word: str, links: Links) -> str:
    begun = word.lstrip(_BEFORE)
    name = begun.rstrip(_BEHIND)
    if name not in links:
        return text(word)
    before, behind = word[: len(word) - len(begun)], begun[len(name) :]
    return f'{text(before)}<a href="#{links[name]}">{text(name)}</a>{text(behind)}'
