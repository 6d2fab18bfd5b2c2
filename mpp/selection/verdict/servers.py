"""Clauses and sentences about servers, for the verdict and the report. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from mpp.core.model import Backend, Observation, Standing
from mpp.core.text.humanize import listing, noun, number

UNREADABLE = "cannot read a part of its storage"
_UNPROVEN = "rejects the probe's query"
_LACKS = "lacks newest data"
_PLURALS = (
    ("replays its", "replay their"),
    ("rejects", "reject"),
    ("lacks", "lack"),
    ("cannot read a part of its", "cannot read a part of their"),
    ("is ", "are "),
)


def serving(backends: Sequence[Backend]) -> str:
    """Return a clause such as ``prom-a:9090 serves.`` that names the selected servers; there has to be at least one."""
    return f"{listing([backend.name for backend in backends])} {'serves' if len(backends) == 1 else 'serve'}."


def kinds_of_trouble(observations: Sequence[Observation]) -> str:
    """Return a sentence such as ``One server is down, two servers are busy.``; empty when all are healthy."""
    kinds: dict[str, int] = {}
    for observation in observations:
        kind = trouble_of(observation)
        kinds[kind] = kinds.get(kind, 0) + 1
    kinds.pop("", None)
    said = [f"{number(count)} {noun(count, 'server')} {_plural(kind, count)}" for kind, count in kinds.items()]
    return f"{', '.join([*said[:1], *(_lower(each) for each in said[1:])])}." if said else ""


def trouble_of(observation: Observation) -> str:
    """Return the trouble of one server as the predicate of a sentence, such as ``is ejected``; empty when it is healthy."""
    if observation.replay is not None:
        return "replays its WAL"
    if observation.ejected_at:
        return "is ejected"
    if observation.leaving:
        return "is being stopped"
    if observation.standing is Standing.VIABLE and observation.unreadable:
        return UNREADABLE
    if observation.standing <= Standing.BUSY and observation.lack is not None:
        return _LACKS
    if observation.standing is Standing.BUSY and observation.unproven:
        return _UNPROVEN
    return {
        Standing.VIABLE: "",
        Standing.BUSY: "is busy",
        Standing.SUSPECT: "is suspect",
        Standing.NOT_READY: "is not ready",
        Standing.DOWN: "is down",
    }[observation.standing]


def _plural(kind: str, count: int) -> str:
    if count > 1:
        for one, several in _PLURALS:
            if kind.startswith(one):
                return several + kind.removeprefix(one)
    return kind


def sentence(text: str) -> str:
    """Return a clause as a sentence, with a capital letter and a full stop."""
    text = capital(text)
    return text if text.endswith((".", "!", "?")) else text + "."


def capital(text: str) -> str:
    """
    Return a clause with a capital letter at its beginning, unless it begins with a name.

    Names of hosts, pods and locators keep their spelling; they are recognized by a character that no English word has in the
    middle.
    """
    first = text.split(" ", 1)[0].rstrip(".,:;")
    return text[:1].upper() + text[1:] if first.isalpha() or first.replace("'", "").isalpha() else text


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
