"""
Checks of a configuration that need no open socket and no request to another server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve

from mpp.app.listen.endpoints import endpoint, is_inherited
from mpp.app.listen.inherited import SystemdEndpoint
from mpp.core.errors import ConfigError, ConfigErrors
from mpp.core.files import UnreadableFile, read_small
from mpp.discovery.file import MAX_BYTES
from mpp.discovery.kinds.endpoints_file import EndpointsFileSettings

if TYPE_CHECKING:
    from mpp.config.loader import ConfigSources
    from mpp.core.settings import Settings


def check_config(sources: ConfigSources, reactor: Any) -> str:
    """
    Check the whole configuration, for ``mpp --check-config``.

    :return: the text to print when there are no errors: the problems in the files that list servers, of which a running mpp uses
        the rest, and one line that says that the configuration is valid.
    :raise ConfigError: all errors together.
    """
    # Imported here because at a start these modules are imported only after the reactor.
    from mpp.app.components import build
    from mpp.discovery.kinds.planner import LocatorPlanner

    parsed = sources.read()
    # Sockets from systemd exist in the service only, and not for the command that checks its file.
    listen, admin_listen = map(_not_inherited, (parsed.settings.listen, parsed.settings.admin_listen))
    settings = evolve(parsed.settings, listen=listen, admin_listen=admin_listen)
    found = _errors(partial(check, settings, reactor))
    if settings.web_config:
        found += _errors(partial(_check_front, settings, reactor))
    found += _errors(lambda: build(settings, LocatorPlanner(reactor, sources.environ)).discard())
    # An option whose value is invalid is not reported as missing as well.
    reported = {error.option for error in parsed.errors}
    # Unknown keys are only a warning at a start, but an error here, where the operator can correct them.
    unknown = (error for error in parsed.unknown if error not in parsed.errors)
    errors = [*parsed.errors, *unknown, *(each for each in map(parsed.with_option_name, found) if each.option not in reported)]
    if errors:
        raise ConfigErrors(errors)
    problems = [f"{parsed.with_option_name(error)}; mpp uses the rest" for error in _file_problems(settings)]
    return "\n".join((*problems, f"{parsed.name}: ok"))


def _file_problems(settings: Settings) -> Iterator[ConfigError]:
    """Yield the problems in the content of the files that list servers; a running mpp logs them, and uses the rest."""
    # Imported here for the reason given in `check_config`.
    from mpp.discovery.kinds.all_kinds import KINDS

    for kind in KINDS:
        option = kind.locating[0].flag
        yield from (ConfigError(option, problem) for problem in kind.file_problems(settings.discovery[kind.settings]))


def check(settings: Settings, reactor: Any) -> None:
    """
    Check the settings that can be checked before anything is built.

    :raise ConfigError: all errors together.
    """
    errors = list(_endpoint_errors(settings, reactor))
    if settings.workers > 1 and not hasattr(os, "memfd_create"):
        errors.append(ConfigError("--workers", f"{settings.workers} workers need Linux; expected 1 here"))
    errors += _cache_errors(settings)
    endpoints_file = settings.discovery[EndpointsFileSettings].path
    if endpoints_file is not None:
        errors += _errors(partial(_check_readable, "--endpoints-file", endpoints_file))
    if errors:
        raise ConfigErrors(errors)


def _endpoint_errors(settings: Settings, reactor: Any) -> Iterator[ConfigError]:
    """Yield the invalid endpoints, and the ones that want a socket from systemd that another one has."""
    configured = [("--listen", text) for text in dict.fromkeys(settings.listen)]
    configured += [("--admin-listen", text) for text in dict.fromkeys(settings.admin_listen)]
    owners: dict[int, str] = {}
    for option, text in configured:
        try:
            described = endpoint(reactor, text, option)
        except ConfigError as error:
            yield error
            continue
        if isinstance(described, SystemdEndpoint):
            owner = owners.setdefault(described.descriptor, f"{option} {text}")
            if owner != f"{option} {text}":
                yield ConfigError(option, f"{text!r} is the same socket as {owner}; expected one endpoint for each socket")


def _cache_errors(settings: Settings) -> Iterator[ConfigError]:
    if settings.cache_memory and settings.no_coverage:
        why = "the cache needs the comparison of the servers' data; expected 0 with --no-coverage"
        yield ConfigError("--cache-memory", why)
    for name in settings.cache_neutral:
        if name in settings.cache_vary:
            yield ConfigError("--cache-neutral", f"{name!r} is also a value of --cache-vary; expected it in one of the two")


def _check_front(settings: Settings, reactor: Any) -> None:
    # Imported here for the reason given in `check_config`.
    from prometheus_client import CollectorRegistry

    from mpp.core.metrics.registry import Metrics
    from mpp.security.web_config.service import WebConfigService

    WebConfigService(settings, reactor, Metrics(CollectorRegistry())).check(settings)


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
