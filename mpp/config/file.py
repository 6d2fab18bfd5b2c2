"""
Reads the configuration file: YAML, with a key for each option of `mpp.config.options`, which is the option without its dashes.

Everything that is wrong is found at once, each with its line. A path in the file begins where the file is, so that the file
means the same wherever mpp is started. Secrets are not in it, only the paths of files that hold them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from mpp.config import file_backends as config_backends
from mpp.config.configured import ConfiguredValue
from mpp.config.file_sections import sections
from mpp.config.options import CONFIG, OPTIONS, Option
from mpp.core.errors import ConfigError
from mpp.core.files import UnreadableFile, read_small
from mpp.core.http_config import HTTPConfigs
from mpp.core.text.values import (
    parse_affinity_options,
    parse_apps,
    parse_boolean,
    parse_count,
    parse_networks,
    parse_port,
    parse_positive,
    parse_urls,
    parse_workers,
)
from mpp.core.yaml_mapping import MappingReader, boolean_of, number_of, read_tree, text_of

# Reading YAML takes a second per MiB; this is room for some thousand lines.
MAX_BYTES = 256 * 1024

_TYPES: Mapping[Callable[[str], Any], Callable[[object], str]] = {
    parse_boolean: boolean_of,
    parse_count: number_of,
    parse_positive: number_of,
    parse_workers: number_of,
    parse_port: number_of,
}
"""Options whose values have a type of their own in YAML; all others are text."""

_WITH_COMMAS = (parse_affinity_options, parse_apps, parse_networks, parse_urls)
"""What takes several values, separated by commas elsewhere: here a list will do as well."""

KEYS: Mapping[str, Option] = {
    option.flag.removeprefix("--"): option for option in OPTIONS if option.field and option is not CONFIG
}


@frozen
class ParsedFile:
    """
    What a configuration file says.

    :ivar given: the value of each option that makes sense.
    :ivar option_names: where each option stands, also those that make none.
    :ivar errors: what is wrong with it.
    :ivar http: how backends are spoken to.
    :ivar sections: the same as single values, for people.
    """

    given: Mapping[Option, Any] = field(factory=dict)
    option_names: Mapping[Option, str] = field(factory=dict)
    errors: tuple[ConfigError, ...] = ()
    http: HTTPConfigs = field(factory=HTTPConfigs)
    sections: tuple[ConfiguredValue, ...] = ()


def read_file(path: str, word: str, folder: str = "") -> ParsedFile:
    """
    Read a configuration file.

    :param path: as the operator wrote it; in messages it stays like that.
    :param word: what gave the path, to blame when there is no such file.
    :param folder: where a relative path begins.
    """
    absolute = os.path.abspath(os.path.join(folder, path))
    try:
        text = read_small(absolute, MAX_BYTES, "a configuration file").decode("utf-8-sig")
    except (UnreadableFile, UnicodeDecodeError) as error:
        why = error if isinstance(error, UnreadableFile) else "not UTF-8 text"
        return ParsedFile(errors=(ConfigError(word, f"{path!r} cannot be read ({why}); expected a file"),))
    return read_text(text, path, os.path.dirname(absolute))


def read_text(text: str, name: str, folder: str = "") -> ParsedFile:
    """Read the text of a configuration file. Pure."""
    tree, errors = read_tree(text, name)
    if tree is None:
        return ParsedFile(errors=tuple(errors))
    if not tree.table:
        # One that was emptied by accident may have named the web configuration: without it everybody would be let in.
        return ParsedFile(errors=(ConfigError(name, "has no key at all; expected options by name, such as 'port: 9090'"),))
    given, words = {}, {}
    hints = {CONFIG.flag.removeprefix("--"): "a configuration file cannot name another one"}
    for key in tree.keys((*KEYS, *config_backends.KEYS), hints):
        if key in config_backends.KEYS:
            continue
        option = KEYS[key]
        words[option] = tree.where(key)
        try:
            given[option] = _value(option, tree, key, folder)
        except ValueError as error:
            tree.wrong(key, str(error))
    http = config_backends.read_http_configs(tree, folder)
    shown = tuple(sections(tree.table, config_backends.KEYS, name, folder))
    return ParsedFile(given, words, tuple(sorted(errors, key=_line)), http, shown)


def _value(option: Option, tree: MappingReader, key: str, folder: str) -> Any:
    value = tree.table[key]
    of_type = _TYPES.get(option.parse, text_of)
    several = option.repeatable or option.parse in _WITH_COMMAS
    if not isinstance(value, list) or not several:
        texts = [of_type(value)]
    elif not value:
        raise ValueError("an empty list; leave the key out instead")
    else:
        texts = [of_type(element) for element in value]
    for text in texts:
        problem = option.secret(text)
        if problem:
            raise ValueError(f"{problem} by the variable {option.env[0]}")
    if not option.repeatable:
        return option.anchored(option.parse(",".join(texts)), folder)
    return tuple(option.anchored(option.parse(text), folder) for text in texts)


def _line(error: ConfigError) -> int:
    number = error.option.partition(": ")[0].rpartition(":")[2]
    return int(number) if number.isdecimal() else 0
