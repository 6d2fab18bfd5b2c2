"""
Describes the active configuration: the value of each option and where it was written, without secrets. Pure.

`mpp.admin.status.effective` renders it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mpp.config.configured import COMMAND_LINE, DEFAULT, DERIVED, ENVIRONMENT, FILE, ConfiguredValue, EffectiveConfig
from mpp.config.loader import ParsedConfig
from mpp.config.options import OPTIONS, Option
from mpp.core.settings import Settings
from mpp.core.text.values import (
    parse_boolean,
    parse_delay,
    parse_idle_timeout,
    parse_interval,
    parse_share,
    parse_size,
    parse_timeout,
)
from mpp.core.text.written import written_boolean, written_duration, written_share, written_size

_WRITERS: Mapping[Callable[[str], Any], Callable[[Any], str]] = {
    parse_boolean: written_boolean,
    parse_delay: written_duration,
    parse_idle_timeout: written_duration,
    parse_interval: written_duration,
    parse_timeout: written_duration,
    parse_size: written_size,
    parse_share: written_share,
}
"""The formatters of values, by the parser of the option; the values of other options are formatted by `str`."""

_PLACE = re.compile(r"(?P<place>.*?:[0-9]+): .*", re.DOTALL)
_DEFAULTS = Settings()


def effective(parsed: ParsedConfig, at: float) -> EffectiveConfig:
    """
    Return the active configuration with the origin of each value.

    :param parsed: the configuration that was applied last.
    :param at: when it was applied, in seconds since the epoch.
    """
    options = (_configured(option, parsed) for option in OPTIONS if option.field)
    return EffectiveConfig((*options, *parsed.sections), at)


def _configured(option: Option, parsed: ParsedConfig) -> ConfiguredValue:
    value = option.of(parsed.settings)
    origin, place = _origin(option, parsed, value)
    shown = _masked(option, value)
    return ConfiguredValue(option.flag.removeprefix("--"), shown, written(option, shown), origin, place)


def _origin(option: Option, parsed: ParsedConfig, value: Any) -> tuple[str, str]:
    word = parsed.option_names.get(option.field)
    if word is None:
        return (DEFAULT if value == option.of(_DEFAULTS) else DERIVED), ""
    if word in (option.flag, option.short):
        return COMMAND_LINE, word
    if word in option.env:
        return ENVIRONMENT, word
    return FILE, place_in(word)


def place_in(word: str) -> str:
    """Return ``FILE:LINE`` of a key in the configuration file that is written ``FILE:LINE: KEY``."""
    found = _PLACE.fullmatch(word)
    return found["place"] if found else word


def _masked(option: Option, value: Any) -> Any:
    if isinstance(value, tuple):
        return [option.mask(each) for each in value]
    return option.mask(value) if isinstance(value, str) else value


def written(option: Option, value: Any) -> str:
    """Return a value as it is written in the configuration; empty for None."""
    if value is None:
        return ""
    if isinstance(value, list):
        return (" " if option.repeatable else ",").join(value)
    return _WRITERS.get(option.parse, str)(value)
