"""
The check of the settings for Marathon before the first request to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from mpp.core.errors import ConfigError, DiscoveryError
from mpp.core.urls import shown, take_credentials
from mpp.discovery.marathon.login import read_credentials_file, read_principal, secret_reader
from mpp.discovery.marathon.settings import MarathonSettings


def check(settings: MarathonSettings) -> None:
    """
    Reject settings that can never work. Sends no request, but reads the files.

    :raise ConfigError: names the option and what was expected; never contains a secret.
    """
    if not settings.urls:
        raise ConfigError("--marathon-url", "missing; the URL of Marathon, such as http://marathon.mesos:8080")
    if not settings.apps:
        raise ConfigError("--marathon-apps", "missing; the ids of the apps that run Prometheus, such as /monitoring/prometheus")
    if not re.fullmatch(r"[0-9]{1,4}|(?![0-9]+\Z)[A-Za-z0-9_.-]+", settings.port):
        raise ConfigError("--marathon-port", f"{settings.port!r} is neither an index such as 0 nor a port's name")
    ways = [option for option, given in _ways_to_authenticate(settings).items() if given]
    if len(ways) > 1:
        raise ConfigError(ways[0], f"given together with {' and '.join(ways[1:])}; only one of them can be used")
    for url in settings.urls:
        if urlsplit(url).query or urlsplit(url).fragment:
            raise ConfigError("--marathon-url", f"{shown(url)}: a query (?) or fragment (#) has no place in it")
    if settings.principal_secret:
        read = secret_reader(settings.principal_secret)
        _check_secret("--marathon-principal-secret", lambda: read_principal(read(), settings.auth_endpoint))
    elif settings.auth_endpoint:
        raise ConfigError("--marathon-auth-endpoint", "of no use without --marathon-principal-secret")
    if settings.credentials_file:
        _check_secret("--marathon-credentials-file", lambda: read_credentials_file(settings.credentials_file))


def _ways_to_authenticate(settings: MarathonSettings) -> dict[str, bool]:
    return {
        "--marathon-principal-secret": bool(settings.principal_secret),
        "--marathon-credentials-file": bool(settings.credentials_file),
        "user and password in --marathon-url": any(take_credentials(url)[1] for url in settings.urls),
    }


def _check_secret(option: str, read: Callable[[], object]) -> None:
    try:
        read()
    except (ValueError, DiscoveryError) as error:
        raise ConfigError(option, str(error)) from None
