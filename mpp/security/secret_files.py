"""
The check whether every local user can read a file with secrets. This module knows where the configuration may name such a file,
and looks at the modes of these files; it does not open them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

from mpp.core.http_config import HTTPConfig
from mpp.core.settings import Settings
from mpp.discovery.kinds.all_kinds import KINDS
from mpp.security.web_config.values import WebConfig

_SECRET = ("password_file", "credentials_file", "key_file")
"""The attributes of `HTTPConfig` that name a file with a secret; user names and certificates are not secret."""

# The arguments of a Twisted endpoint string, separated by colons; a backslash escapes a colon or an equals sign.
_ARGUMENTS = re.compile(r"(?:\\.|[^:\\])+").findall
_NAMED = re.compile(r"(\w+)=(.*)", re.DOTALL).fullmatch


def warning_of(settings: Settings, web_config: WebConfig | None) -> str:
    """Return a warning that names all files with secrets that every local user can read; empty if there is none."""
    exposed = [path for path in dict.fromkeys(secret_files(settings, web_config)) if is_readable_by_all(path)]
    if not exposed:
        return ""
    return f"every user of this machine can read files with secrets: {', '.join(exposed)}; expected mode 0640 or less"


def secret_files(settings: Settings, web_config: WebConfig | None) -> Iterator[str]:
    """
    Yield the path of each file that holds a secret. Pure.

    :param web_config: the active web configuration; None without one. Its password hashes count as secrets, because they let an
        attacker try passwords offline.
    """
    configs = settings.http.all
    if settings.config is not None and any(header.secrets for config in configs for header in config.headers):
        yield settings.config
    if settings.web_config is not None and web_config is not None:
        yield from _of_web_config(settings.web_config, web_config)
    for config in configs:
        yield from _of_http_config(config)
    for kind in KINDS:
        yield from kind.secret_files(settings.discovery[kind.settings])
    yield from map(_private_key, (each for each in (*settings.listen, *settings.admin_listen) if each.startswith("ssl:")))


def _of_web_config(path: str, config: WebConfig) -> Iterator[str]:
    key = None if config.tls is None else config.tls.key
    if config.users or (key is not None and not key.path):
        yield path
    if key is not None and key.path:
        yield key.path


def _of_http_config(config: HTTPConfig) -> Iterator[str]:
    yield from filter(None, (getattr(config, name) for name in _SECRET))
    for header in config.headers:
        yield from header.files


def _private_key(endpoint: str) -> str:
    """Return the path of the private key of an ``ssl:`` endpoint: a keyword, or the second argument, or Twisted's default."""
    named, by_position = {}, []
    for argument in _ARGUMENTS(endpoint)[1:]:
        found = _NAMED(argument)
        if found is None:
            by_position.append(argument)
        else:
            named[found[1]] = found[2]
    path = named.get("privateKey") or (by_position[1] if len(by_position) > 1 else "server.pem")
    return re.sub(r"\\(.)", r"\1", path)


def is_readable_by_all(path: str) -> bool:
    """Return whether every local user may read a file and enter all directories above it; False if that is not known."""
    try:
        path = os.path.realpath(path)
        if not os.stat(path).st_mode & stat.S_IROTH:
            return False
        while path != (above := os.path.dirname(path)):
            path = above
            if not os.stat(path).st_mode & stat.S_IXOTH:
                return False
    except (OSError, ValueError):
        return False
    return True
