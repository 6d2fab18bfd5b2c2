"""
What differs between two configurations, in the operator's words, and what of that needs a restart. Pure.
"""

from __future__ import annotations

from typing import Any

from mpp.config.options import CONFIG, OPTIONS
from mpp.core.errors import ConfigError
from mpp.core.settings import Settings


def changes(before: Settings, after: Settings) -> tuple[str, ...]:
    """Name the options that differ, as a configuration file would; never what they say, which may be a secret."""
    http = (
        ("http_config", before.http.default, after.http.default),
        ("backends", before.http.rules, after.http.rules),
        ("locators", before.http.locators, after.http.locators),
    )
    return tuple(
        option.flag.removeprefix("--")
        for option in OPTIONS
        if option.field and option is not CONFIG and _of(before, option.field) != _of(after, option.field)
    ) + tuple(key for key, old, new in http if old != new)


def _of(settings: Settings, field: str) -> Any:
    value: Any = settings
    for name in field.split("."):
        value = getattr(value, name)
    return value


def check_lasting(last: Settings, new: Settings) -> None:
    """
    See that what was built once and for all is to stay.

    :raise ConfigError: it is not.
    """
    if new.web_config != last.web_config:
        raise _needs_restart("--web-config", "another file needs a restart; what is in it is read again by itself")
    if bool(new.admin_listen) is not bool(last.admin_listen):
        raise _needs_restart("--admin-listen", "to put mpp's own pages elsewhere, or back, needs a restart")
    if new.workers != last.workers:
        raise _needs_restart("--workers", "another number of workers needs a restart")
    if new.reuse_port is not last.reuse_port and new.workers > 1:
        raise _needs_restart("--reuse-port", "with workers, to share the port or not to share it any more needs a restart")


def _needs_restart(option: str, problem: str) -> ConfigError:
    return ConfigError(option, problem, needs_restart=True)
