"""
What can be known to be wrong with a configuration before anything is opened, and before anybody is asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve

from mpp.app.listen.endpoints import endpoint, is_inherited
from mpp.core.errors import ConfigError, ConfigErrors
from mpp.core.files import UnreadableFile, read_small
from mpp.discovery.file import MAX_BYTES

if TYPE_CHECKING:
    from mpp.config.loader import ConfigSources
    from mpp.core.settings import Settings


def check_config(sources: ConfigSources, reactor: Any) -> str:
    """
    Look for everything that is wrong with what is configured.

    :return: one line to print when it is nothing.
    :raise ConfigError: all of it.
    """
    # Here and not above: a start needs it only after the reactor.
    from mpp.app.components import build
    from mpp.discovery.kinds import LocatorPlanner

    parsed = sources.read()
    # What systemd hands over is there for the service only, and not for who checks its file.
    listen, admin_listen = map(_not_inherited, (parsed.settings.listen, parsed.settings.admin_listen))
    settings = evolve(parsed.settings, listen=listen, admin_listen=admin_listen)
    found = _errors(partial(check, settings, reactor))
    if settings.web_config:
        found += _errors(partial(_check_front, settings, reactor))
    found += _errors(lambda: build(settings, LocatorPlanner(reactor, sources.environ)).discard())
    # Who was told that a value is wrong need not be told that it is missing.
    told = {error.option for error in parsed.errors}
    # A start only warns of these: they keep mpp from nothing. Here the operator is there to correct them.
    unknown = (error for error in parsed.unknown if error not in parsed.errors)
    errors = [*parsed.errors, *unknown, *(error for error in map(parsed.with_option_name, found) if error.option not in told)]
    if errors:
        raise ConfigErrors(errors)
    return f"{parsed.name}: ok"


def check(settings: Settings, reactor: Any) -> None:
    """
    Look for what can never work, before anything is built.

    :raise ConfigError: everything that was found.
    """
    errors = [error for text in settings.listen for error in _errors(partial(endpoint, reactor, text))]
    errors += [error for text in settings.admin_listen for error in _errors(partial(endpoint, reactor, text, "--admin-listen"))]
    if settings.workers > 1 and not hasattr(os, "memfd_create"):
        errors.append(ConfigError("--workers", f"{settings.workers} workers need Linux; expected 1 here"))
    if settings.endpoints_file is not None:
        errors += _errors(partial(_check_readable, "--endpoints-file", settings.endpoints_file))
    if errors:
        raise ConfigErrors(errors)


def _check_front(settings: Settings, reactor: Any) -> None:
    # Here and not above, as in `check_config`.
    from prometheus_client import CollectorRegistry

    from mpp.core.instance import Instance
    from mpp.core.metrics import Metrics
    from mpp.security.web_config.service import WebConfigService

    WebConfigService(settings, reactor, Metrics(CollectorRegistry()), Instance.random()).check(settings)


def _not_inherited(endpoints: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text for text in endpoints if not is_inherited(text))


def _errors(look: Callable[[], object]) -> list[ConfigError]:
    try:
        look()
    except ConfigError as error:
        return list(error.all)
    return []


def _check_readable(option: str, path: str) -> None:
    try:
        read_small(path, MAX_BYTES, "an endpoints file")
    except UnreadableFile as error:
        raise ConfigError(option, f"{path!r} cannot be read ({error}); expected a file") from None
