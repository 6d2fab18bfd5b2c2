"""
Describes the active configuration: the value of each option and where it was written, without secrets. Pure.

`mpp.admin.status.effective` renders it.
"""

from __future__ import annotations

import re
from typing import Any

from mpp.config.configured import COMMAND_LINE, DEFAULT, DERIVED, ENVIRONMENT, FILE, ConfiguredValue, EffectiveConfig
from mpp.config.loader import ParsedConfig
from mpp.config.options import OPTIONS
from mpp.core.settings import Settings
from mpp.discovery.kinds.option import Option

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
    return ConfiguredValue(option.flag.removeprefix("--"), shown, option.written(shown), origin, place)


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
    """Return ``FILE:LINE`` of a text ``FILE:LINE: KEY`` about a key of the configuration file; any other text as it is."""
    found = _PLACE.fullmatch(word)
    return found["place"] if found else word


def _masked(option: Option, value: Any) -> Any:
    if isinstance(value, tuple):
        return [option.mask(each) for each in value]
    return option.mask(value) if isinstance(value, str) else value
