"""
The values of a configuration, each with its origin: what ``/mpp/config`` shows.

Secrets are masked when a `ConfiguredValue` is made.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

DEFAULT, DERIVED, FILE, ENVIRONMENT, COMMAND_LINE = "default", "derived", "file", "environment", "command line"
"""The origins of values. A derived value is not configured itself: it follows from another value."""


@frozen
class ConfiguredValue:
    """
    One configuration value.

    :ivar name: the key in a configuration file: that of an option, or the path of keys to it.
    :ivar value: a value of JSON's: seconds, bytes, a share of 1, text, a list of texts; None when there is none.
    :ivar written: the value as a configuration file has it; empty when there is none.
    :ivar origin: one of `DEFAULT`, `DERIVED`, `FILE`, `ENVIRONMENT`, `COMMAND_LINE`.
    :ivar place: file and line, the environment variable, or the option as it was written; empty for defaults.
    """

    name: str
    value: Any
    written: str
    origin: str
    place: str = ""


@frozen
class EffectiveConfig:
    """
    All values of the active configuration.

    :ivar read_at: when they became active, in seconds since the epoch.
    """

    values: tuple[ConfiguredValue, ...] = ()
    read_at: float = 0.0
