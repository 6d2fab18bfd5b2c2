"""
Reads the configuration file: YAML whose keys are the names of the options in `mpp.config.options` without the dashes.

It reports all errors at once, each with its line. Relative paths in the file start at the folder of the file, wherever mpp is
started. The file contains no secrets, only the paths of files with secrets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from mpp.config import file_backends as config_backends
from mpp.config.configured import ConfiguredValue
from mpp.config.file_sections import sections
from mpp.config.options import CONFIG, OPTIONS
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
from mpp.core.yaml.mapping import MappingReader, boolean_of, number_of, read_tree, text_of
from mpp.discovery.kinds.option import Option

# Parsing YAML takes a second per MiB; this is enough for some thousand lines.
MAX_BYTES = 256 * 1024

_TYPES: Mapping[Callable[[str], Any], Callable[[object], str]] = {
    parse_boolean: boolean_of,
    parse_count: number_of,
    parse_positive: number_of,
    parse_workers: number_of,
    parse_port: number_of,
}
"""
The functions that check a YAML value of another type than text (a boolean, a number) and return its text, by the parser of the
option.
"""

_WITH_COMMAS = (parse_affinity_options, parse_apps, parse_networks, parse_urls)
"""The parsers of values with commas; in a configuration file the value may also be a list."""

KEYS: Mapping[str, Option] = {
    option.flag.removeprefix("--"): option for option in OPTIONS if option.field and option is not CONFIG
}


@frozen
class ParsedFile:
    """
    The parsed content of a configuration file.

    :ivar given: the values of all options in the file whose value is valid.
    :ivar option_names: the place (file, line and key) of each option in the file, also if its value is invalid.
    :ivar errors: the errors in the file.
    :ivar http: the HTTP settings for requests to backends.
    :ivar sections: the single values from which ``http`` was made, as ``/mpp/config`` shows them.
    """

    given: Mapping[Option, Any] = field(factory=dict)
    option_names: Mapping[Option, str] = field(factory=dict)
    errors: tuple[ConfigError, ...] = ()
    http: HTTPConfigs = field(factory=HTTPConfigs)
    sections: tuple[ConfiguredValue, ...] = ()


def read_file(path: str, word: str, folder: str = "") -> ParsedFile:
    """
    Read a configuration file.

    :param path: the path as the operator wrote it; messages contain it unchanged.
    :param word: the option or variable that gave the path; named in the error if the file cannot be read.
    :param folder: the folder at which a relative path starts.
    """
    absolute = os.path.abspath(os.path.join(folder, path))
    try:
        text = read_small(absolute, MAX_BYTES, "a configuration file").decode("utf-8-sig")
    except (UnreadableFile, UnicodeDecodeError) as error:
        why = error if isinstance(error, UnreadableFile) else "not UTF-8 text"
        return ParsedFile(errors=(ConfigError(word, f"{path!r} cannot be read ({why}); expected a file"),))
    return read_text(text, path, os.path.dirname(absolute))


def read_text(text: str, name: str, folder: str = "") -> ParsedFile:
    """Parse the text of a configuration file. Pure."""
    tree, errors = read_tree(text, name)
    if tree is None:
        return ParsedFile(errors=tuple(errors))
    if not tree.table:
        # An empty file is an error: if it was emptied by accident, mpp would lose its web configuration and accept every client.
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
