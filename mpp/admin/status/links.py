"""Turns the names of servers in a text into links to their cards on the status page. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mpp.admin.status.html import text
from mpp.core.model import Backend

Links = Mapping[str, str]
"""The id of each server's card on the page, by the name of the server."""

_WORD = re.compile(r"(\s+)")
# The punctuation around a name in a sentence; no name begins or ends with it.
_BEFORE, _BEHIND = "(", ".,;:)!?"


def links_to(backends: Sequence[Backend]) -> Links:
    """Return the id of each server's card by the name of the server."""
    return {backend.name: place_of(backend) for backend in backends}


def place_of(backend: Backend) -> str:
    """Return the id of a server's card."""
    return f"server-{backend.id}"


def linked(plain: str, links: Links) -> str:
    """Return a text as HTML in which each name of a server is a link. The time is proportional to the length of the text."""
    return "".join(_word(word, links) for word in _WORD.split(plain))


def _word(word: str, links: Links) -> str:
    begun = word.lstrip(_BEFORE)
    name = begun.rstrip(_BEHIND)
    if name not in links:
        return text(word)
    before, behind = word[: len(word) - len(begun)], begun[len(name) :]
    return f'{text(before)}<a href="#{links[name]}">{text(name)}</a>{text(behind)}'
