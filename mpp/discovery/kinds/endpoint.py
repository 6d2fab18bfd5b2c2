"""The option and settings for endpoints that are given one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from mpp.discovery.kinds.option import DISCOVERY, Option
from mpp.discovery.kinds.source_kind import SourceContext, SourceKind

if TYPE_CHECKING:
    from mpp.core.interfaces import ILocator


@frozen
class EndpointSettings:
    """The endpoints, a URL or ``host:port`` each."""

    urls: tuple[str, ...] = ()


def _make(name: str, own: EndpointSettings, context: SourceContext) -> ILocator:
    from mpp.discovery.static import StaticLocator

    return StaticLocator(own.urls, name)


ENDPOINT = SourceKind(
    "endpoint",
    EndpointSettings,
    (
        Option(
            "--endpoint",
            DISCOVERY,
            "An endpoint to use: a URL or host:port; may be repeated (in the environment: separated by spaces)",
            field="urls",
            repeatable=True,
            locates=True,
            metavar="URL",
        ),
    ),
    _make,
)
