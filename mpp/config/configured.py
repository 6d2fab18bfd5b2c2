"""
The values of a configuration with their origins, for the page ``/mpp/config``.

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
    A configuration value and its origin.

    :ivar name: the key in a configuration file: the name of an option, or the path of keys to the value.
    :ivar value: a JSON value: seconds, bytes, a fraction from 0 to 1, text, or a list of texts; None if the option has no value.
    :ivar written: the value as it is written in a configuration file; empty if the option has no value.
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
