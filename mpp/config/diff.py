"""Names the differences between two configurations, and rejects the ones that need a restart. Pure."""

from __future__ import annotations

from typing import Any

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
        if option.field and option is not CONFIG and _of(before, option.field) != _of(after, option.field)
    ) + tuple(key for key, old, new in http if old != new)


def _of(settings: Settings, field: str) -> Any:
    value: Any = settings
    for name in field.split("."):
        value = getattr(value, name)
    return value


def check_lasting(last: Settings, new: Settings) -> None:
    """
    Check that a reload changes no option that only a restart can change.

    :raise ConfigError: it does.
    """
    if new.web_config != last.web_config:
        raise _needs_restart("--web-config", "another file needs a restart; changes of its content do not")
    if bool(new.admin_listen) is not bool(last.admin_listen):
        raise _needs_restart(
            "--admin-listen", "a separate listener for mpp's own pages can only be added or removed by a restart"
        )
    if new.workers != last.workers:
        raise _needs_restart("--workers", "another number of workers needs a restart")
    if new.reuse_port is not last.reuse_port and new.workers > 1:
        raise _needs_restart("--reuse-port", "with workers, a change of this option needs a restart")


def _needs_restart(option: str, problem: str) -> ConfigError:
    return ConfigError(option, problem, needs_restart=True)
