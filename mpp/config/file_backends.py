"""
Reads the sections ``http_config``, ``backends`` and ``locators`` of the configuration file. Pure.

The ``http_config`` of the file applies to the backends that no entry with its own fits. An entry of ``backends`` applies to the
backends whose URL matches a pattern (see `mpp.config.endpoint_patterns`), and an entry of ``locators`` to the backends that a
locator lists. Each ``http_config`` is read by `mpp.config.file_http_config`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import frozen

from mpp.config.endpoint_patterns import parse_url_pattern
from mpp.config.file_http_config import read_http_config
from mpp.core.errors import ConfigError
from mpp.core.http_config import DiscoverySource, HTTPConfig, HTTPConfigs, LocatorRule
from mpp.core.text.values import parse_parameters
from mpp.core.url_pattern import URLPattern
from mpp.core.yaml.mapping import MappingReader
from mpp.discovery.kinds.all_kinds import BY_NAME, KINDS
from mpp.discovery.kinds.source_kind import SourceKind

KEYS = ("http_config", "backends", "locators")

_PROBE_PARAMS = "probe-params"


def read_http_configs(tree: MappingReader, folder: str) -> HTTPConfigs:
    """
    Read the HTTP settings from the outermost mapping of a file. Errors are added to ``tree.errors``.

    :param folder: the folder at which relative paths start.
    """
    default = read_http_config(tree, folder) if "http_config" in tree.table else HTTPConfig()
    backends = tree.each("backends") if "backends" in tree.table else ()
    locators = tree.each("locators") if "locators" in tree.table else ()
    entries = [_backend_entry(entry, folder) for entry in backends]
    of_locators: list[LocatorRule] = []
    for entry in locators:
        mistakes = len(tree.errors)
        rule = _locator_rule(entry, folder)
        if any(earlier.fits(rule.source) for earlier in of_locators):
            entry.wrong("name", "never applies; an earlier entry applies to the same backends")
        if len(tree.errors) == mistakes:
            of_locators.append(rule)
    rules = tuple((each.pattern, each.http_config) for each in entries if each.http_config is not None)
    probe_params = tuple((each.pattern, each.probe_params) for each in entries if each.probe_params is not None)
    return HTTPConfigs(default, rules, tuple(of_locators), probe_params)


def _entry(entry: MappingReader, folder: str, name: str, *more: str, instead: str = "") -> tuple[str, HTTPConfig | None]:
    """
    Read the name or URL of an entry, and its ``http_config``.

    :param name: the key of the name or URL.
    :param more: other keys that the entry may have.
    :param instead: a key that the entry may have instead of ``http_config``; empty if ``http_config`` is required.
    """
    found = set(entry.keys((name, *more, "http_config")))
    for key in (name, "http_config"):
        if key not in found and not (key == "http_config" and instead in found):
            entry.wrong(key, f"missing; expected http_config, {instead} or both" if key != name and instead else "missing")
    text = entry.text(name) if name in found else ""
    return text, read_http_config(entry, folder) if "http_config" in found else None


@frozen
class _BackendEntry:
    """An entry of ``backends``; settings that it does not contain are None."""

    pattern: URLPattern
    http_config: HTTPConfig | None
    probe_params: str | None


def _backend_entry(entry: MappingReader, folder: str) -> _BackendEntry:
    url, config = _entry(entry, folder, "url", _PROBE_PARAMS, instead=_PROBE_PARAMS)
    pattern = URLPattern()
    try:
        # A missing URL is already an error.
        pattern = parse_url_pattern(url) if url else pattern
    except ValueError as error:
        entry.wrong("url", str(error))
    return _BackendEntry(pattern, config, _probe_params(entry))


def _probe_params(entry: MappingReader) -> str | None:
    """Read the parameters for probes; an empty text means no parameters, even if ``--probe-params`` has some."""
    if _PROBE_PARAMS not in entry.table:
        return None
    text = entry.text(_PROBE_PARAMS)
    try:
        return parse_parameters(text) if text else ""
    except ValueError as error:
        entry.wrong(_PROBE_PARAMS, str(error))
        return None


def _locator_rule(entry: MappingReader, folder: str) -> LocatorRule:
    name, config = _entry(entry, folder, "name", "source")
    config = config or HTTPConfig()
    if name and name not in BY_NAME:
        entry.wrong("name", f"no such locator; {_nearest(name)}")
    source = _source(entry, BY_NAME[name], folder) if "source" in entry.table and name in BY_NAME else ""
    return LocatorRule(DiscoverySource(name, source), config, entry.where("source" if source else "name"))


def _nearest(name: str) -> str:
    """Return a hint at the locator with the most similar name, or with an option of a similar name."""
    options = {option.flag.removeprefix("--"): kind.name for kind in KINDS for option in kind.locating}
    near = difflib.get_close_matches(name.replace("_", "-"), (*BY_NAME, *options), n=1, cutoff=0.5)
    return f"did you mean {options.get(near[0], near[0])}?" if near else f"expected one of {', '.join(BY_NAME)}"


def _source(entry: MappingReader, kind: SourceKind[Any], folder: str) -> str:
    """Return the ``source`` of an entry in its normal form; add an error and return an empty text if it is invalid."""
    option = kind.locating[0]
    text = entry.text("source")
    if kind.source is None:
        named = ", ".join(each.name for each in KINDS if each.source is not None)
        entry.wrong("source", f"only for {named}; single servers have their place in backends")
    elif text and option.secret(text):
        entry.wrong("source", "a user and password (an @) have no place in this file; give the URL without them")
    elif text:
        try:
            return kind.source(str(option.anchored(option.parse(text), folder)))
        except ValueError as error:
            entry.wrong("source", str(error))
    return ""


def not_configured(rules: Iterable[LocatorRule], values: Mapping[str, Any]) -> Iterator[ConfigError]:
    """
    Yield an error for each entry of ``locators`` whose locator or source is not configured.

    :param values: the configured values by the names of the settings' fields.
    """
    for rule in rules:
        kind = BY_NAME[rule.source.locator]
        texts = next((values[option.field] for option in kind.locating if values.get(option.field)), None)
        if not texts:
            flags = " or ".join(option.flag.removeprefix("--") for option in kind.locating)
            yield ConfigError(rule.place, f"the locator {kind.name} is not configured; expected {flags}, too")
        elif rule.source.source and kind.source is not None and rule.source.source not in map(kind.source, texts):
            yield ConfigError(rule.place, f"there is no such {kind.name}; expected a configured one, written in the same way")
