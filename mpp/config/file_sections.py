"""
Lists what a configuration file says beyond the options (``http_config``, ``backends``, ``locators``) as single values, each with
its line and without secrets. Pure.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from mpp.config.configured import FILE, ConfiguredValue
from mpp.core.http_config import FILES
from mpp.core.text.written import SECRET
from mpp.core.text.yaml_events import Table
from mpp.core.yaml_mapping import PlainScalar

Path = tuple[str, ...]
"""The keys that lead to a value; an element of a list has its number behind the list's key."""


def sections(table: Table, keys: Iterable[str], name: str, folder: str) -> Iterator[ConfiguredValue]:
    """
    Return the single values below some keys of the outermost mapping.

    They are as they were written, so they are in force only if nothing is wrong with the file.

    :param name: the file's, as the operator wrote it.
    :param folder: where relative paths begin.
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
    Return a scalar as it is shown.

    Only ``secrets`` of ``http_headers`` hold secrets: elsewhere in the file they are errors.
    """
    text = value.text if isinstance(value, PlainScalar) else str(value)
    if path[-1] == "secrets":
        return SECRET
    of_header = path[-3:-2] == ("http_headers",) and path[-1] == "files"
    return os.path.join(folder, text) if text and (path[-1] in FILES or of_header) else text
