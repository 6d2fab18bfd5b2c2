"""Names the differences between two configurations, and rejects the ones that need a restart. Pure."""

from __future__ import annotations

from mpp.config.options import CONFIG, OPTIONS
from mpp.core.errors import ConfigError
from mpp.core.settings import Settings


def changes(before: Settings, after: Settings) -> tuple[str, ...]:
    """Return the keys, as in a configuration file, of the options that differ. Values are left out: they may be secrets."""
    http = (
        ("http_config", before.http.default, after.http.default),
        ("backends", before.http.rules, after.http.rules),
        ("locators", before.http.locators, after.http.locators),
    )
    return tuple(
        option.flag.removeprefix("--")
        for option in OPTIONS
        if option.field and option is not CONFIG and option.of(before) != option.of(after)
    ) + tuple(key for key, old, new in http if old != new)


def check_lasting(last: Settings, new: Settings) -> None:
    """
    Check that a reload changes no option that only a restart can change.

    :raise ConfigError: it changes such an option.
    """
    for option in OPTIONS:
        if option.restart and option.of(last) != option.of(new) and option.restart_if(last, new):
            raise ConfigError(option.flag, option.restart, needs_restart=True)
