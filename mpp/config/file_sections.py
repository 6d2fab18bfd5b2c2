"""
Lists the single values in a configuration file's sections ``http_config``, ``backends`` and ``locators``, each with its line and
without secrets. Pure.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from mpp.config.configured import FILE, ConfiguredValue
from mpp.core.http_config import FILES
from mpp.core.text.secrets import SECRET
from mpp.core.yaml.events import Table
from mpp.core.yaml.mapping import PlainScalar

Path = tuple[str, ...]
"""The keys that lead to a value; the key of a list is followed by the number of the element."""


def sections(table: Table, keys: Iterable[str], name: str, folder: str) -> Iterator[ConfiguredValue]:
    """
    Yield the single values below the given keys of a file's outermost mapping, whether they are valid or not.

    :param name: the path of the file as the operator wrote it.
    :param folder: the folder at which relative paths start.
    """
    for key in keys:
        if key in table:
            yield from _leaves(table[key], (key,), f"{name}:{table.lines[key]}", name, folder)


def _leaves(value: object, path: Path, place: str, name: str, folder: str) -> Iterator[ConfiguredValue]:
    if isinstance(value, Table):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key), f"{name}:{value.lines[key]}", name, folder)
    elif isinstance(value, list) and any(isinstance(each, Table) for each in value):
        for number, inner in enumerate(value, start=1):
            yield from _leaves(inner, (*path[:-1], f"{path[-1]} {number}"), place, name, folder)
    elif isinstance(value, list):
        texts = [_text(each, path, folder) for each in value]
        yield ConfiguredValue(": ".join(path), texts, ", ".join(texts), FILE, place)
    else:
        text = _text(value, path, folder)
        yield ConfiguredValue(": ".join(path), text, text, FILE, place)


def _text(value: object, path: Path, folder: str) -> str:
    """
    Return the text of a scalar as ``/mpp/config`` shows it.

    Only ``secrets`` of ``http_headers`` are masked: secrets elsewhere in the file are errors.
    """
    text = value.text if isinstance(value, PlainScalar) else str(value)
    if path[-1] == "secrets":
        return SECRET
    of_header = path[-3:-2] == ("http_headers",) and path[-1] == "files"
    return os.path.join(folder, text) if text and (path[-1] in FILES or of_header) else text
