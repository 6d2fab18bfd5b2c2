"""The option and settings for URLs that return backends in the format of Prometheus' HTTP service discovery."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import frozen

from mpp.core.errors import ConfigError, DiscoveryError
from mpp.core.text.secrets import mask_url, secret_in_url_or_file
from mpp.core.text.values import parse_url_or_file
from mpp.discovery.kinds.option import DISCOVERY, Option
from mpp.discovery.kinds.source_kind import SourceContext, SourceKind

if TYPE_CHECKING:
    from mpp.core.interfaces import ILocator

_USERINFO = re.compile(r"(?<=://)[^/?#]*@")


@frozen
class HTTPSDSettings:
    """The URLs of HTTP service discovery, each as it is, or as ``@`` and the path of a file that holds it."""

    urls: tuple[str, ...] = ()


def _make(name: str, own: HTTPSDSettings, context: SourceContext) -> ILocator:
    from mpp.discovery.http_api.json_api import JSONClient
    from mpp.discovery.http_sd import HTTPSDLocator, url_reader
    from mpp.wire.tls import TLSPolicy

    (url,) = own.urls
    read = url_reader(url)
    try:
        read()
    except DiscoveryError as error:
        raise ConfigError("--http-sd", str(error)) from None
    api = JSONClient.connecting(context.reactor, TLSPolicy(insecure=context.settings.insecure))
    return HTTPSDLocator(read, api, name, interval=context.interval)


HTTP_SD = SourceKind(
    "http-sd",
    HTTPSDSettings,
    (
        Option(
            "--http-sd",
            DISCOVERY,
            "A URL that returns targets in the format of Prometheus' HTTP service discovery, or @ and the path of a file that"
            " holds the URL (to hide a password in it); may be repeated",
            parse_url_or_file,
            field="urls",
            repeatable=True,
            locates=True,
            secret=secret_in_url_or_file,
            mask=mask_url,
            unseen="as @ and the path of a file that holds the URL",
            chapter="Files and HTTP",
        ),
    ),
    _make,
    several="urls",
    source=lambda url: _USERINFO.sub("", url),
    depends_on=("insecure",),
    secret_files=lambda own: (url[1:] for url in own.urls if url.startswith("@")),
)
