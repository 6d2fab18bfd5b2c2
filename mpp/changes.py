"""
What differs between two configurations, in the operator's words. Pure.
"""

from __future__ import annotations

from typing import Any

from mpp.options import CONFIG, OPTIONS
from mpp.settings import Settings


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
