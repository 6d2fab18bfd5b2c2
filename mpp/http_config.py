"""
How backends are spoken to, as Prometheus' ``http_config`` says it: credentials and TLS. Values; files are named, not read.

This module knows no other module of mpp but its words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import field, frozen

from mpp.model import Backend


@frozen
class HTTPConfig:
    """
    How one or more backends are spoken to. What is empty is not configured.

    :ivar auth_type: the scheme of ``Authorization``, with ``credentials_file``.
    :ivar insecure_skip_verify: None: as for everything else.
    :ivar min_version: ``TLS12`` or ``TLS13``.
    :ivar places: where each of these stands, for messages.
    """

    username: str = ""
    username_file: str = ""
    password_file: str = ""
    auth_type: str = "Bearer"
    credentials_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    insecure_skip_verify: bool | None = None
    min_version: str = "TLS12"
    places: Mapping[str, str] = field(factory=dict, eq=False, repr=False)

    @property
    def authorizes(self) -> bool:
        """Whether there are credentials to be sent."""
        return bool(self.username or self.username_file or self.credentials_file)


@frozen
class HTTPConfigs:
    """
    How all backends are spoken to.

    :ivar default: those that no rule is for.
    :ivar rules: URLs, in which ``*`` stands for anything, each with what counts for the backends it fits; the first one does.
    """

    default: HTTPConfig = HTTPConfig()
    rules: tuple[tuple[str, HTTPConfig], ...] = ()

    @property
    def all(self) -> tuple[HTTPConfig, ...]:
        """Each of them."""
        return self.default, *(config for _, config in self.rules)

    def of(self, backend: Backend) -> HTTPConfig:
        """Give what counts for a backend."""
        return next((config for url, config in self.rules if fits(url, backend)), self.default)


def fits(url: str, backend: Backend) -> bool:
    """Tell whether a backend's URL is this one, ``*`` standing for anything."""
    return re.fullmatch(".*".join(map(re.escape, url.split("*"))), backend.url) is not None
